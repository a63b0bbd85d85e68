"""The accounts that people have connected with TikTok: their tokens, sealed, and what those let us read.

A refresh token works once, so one caller at a time refreshes an account's tokens, over all instances: a claim
in the database ensures that (db/queries/tiktok_tokens.py).
"""

import asyncio
from contextlib import suppress

import structlog

from db.errors import Conflict
from db.queries.tiktok_tokens import HeldTokens, SealedTokens, TikTokTokens
from services.errors import AccessTokenRefused, NeedsReconnect, VendorError, VendorUnavailable
from services.security.encryption import DecryptionFailed, Encryption, UnknownKey
from services.social.profiles import SocialProfile
from services.tiktok.oauth import VENDOR, GrantedTokens, TikTokOAuth
from services.tiktok.profiles import read_own_profile

CLOSE_SECONDS = 10.0  # for tokens on their way when the server stops

log = structlog.get_logger()


class RefreshUnderWay(Conflict):
    """Another caller is refreshing this account's tokens."""

    error = "The account is being synchronised; please try again in a moment"


def identity(account_id: str, column: str) -> str:
    """What an envelope is bound to: it opens in its own row and column alone."""
    return f"social_media_accounts:{account_id}:{column}"


class TikTokAccounts:
    def __init__(self, oauth: TikTokOAuth, encryption: Encryption, stored: TikTokTokens) -> None:
        self.oauth = oauth
        self.encryption = encryption
        self.stored = stored
        self._renewals: set[asyncio.Task[str]] = set()

    def seal(self, account_id: str, tokens: GrantedTokens) -> SealedTokens:
        """For the row of this account."""
        return SealedTokens(
            self.encryption.encrypt(tokens.access_token, identity(account_id, "access_token")),
            self.encryption.encrypt(tokens.refresh_token, identity(account_id, "refresh_token")),
            tokens.expires_at,
            tokens.refresh_expires_at,
        )

    async def read(self, tokens: GrantedTokens) -> SocialProfile:
        """The profile of somebody who has just connected."""
        return await self._read(tokens.access_token)

    async def fetch(self, account_id: str) -> SocialProfile:
        """The account's profile as it is now; refreshes a token that has expired on the way.

        Raises NeedsReconnect where only the person can help, RefreshUnderWay, and the errors of services/errors.py.
        """
        held = await self.stored.load(account_id)
        if held is None:
            raise NeedsReconnect(VENDOR, "the account has no tokens")
        try:
            return await self._read(self._open(account_id, "access_token", held.access_token))
        except NeedsReconnect:
            raise
        except AccessTokenRefused:
            access_token = await self.refresh(account_id)
            held = await self.stored.load(account_id)
        try:
            return await self._read(access_token)
        except AccessTokenRefused as error:
            refusal = NeedsReconnect(VENDOR, f"new tokens are refused too: {error.detail}")
            refusal.refused = held and held.refresh_token
            raise refusal from None

    async def refresh(self, account_id: str) -> str:
        """New tokens for the account, both stored; answers the access token.

        Cancelling this loses nothing: what TikTok has granted is stored, for the old tokens are spent by then.
        """
        held = await self.stored.claim(account_id)
        if held is None:
            raise RefreshUnderWay
        renewal = asyncio.create_task(self._renew(account_id, held))
        self._renewals.add(renewal)
        renewal.add_done_callback(self._renewed)
        return await asyncio.shield(renewal)

    async def _renew(self, account_id: str, held: HeldTokens) -> str:
        try:
            tokens = await self.oauth.refresh(self._open(account_id, "refresh_token", held.refresh_token))
            stored = await self.stored.replace(account_id, held, self.seal(account_id, tokens))
        except BaseException:
            await self.stored.let_go(account_id)
            raise
        if not stored:
            # Disconnected meanwhile: what was granted just now must not outlive that.
            await self.discard(tokens)
            raise NeedsReconnect(VENDOR, "disconnected while its tokens were refreshed")
        return tokens.access_token

    def _renewed(self, renewal: asyncio.Task[str]) -> None:
        self._renewals.discard(renewal)
        if not renewal.cancelled():
            renewal.exception()  # whoever asked may have gone: nobody else would retrieve it

    async def close(self) -> None:
        """Let the tokens that are on their way be stored, then release the connections."""
        if self._renewals:
            _, late = await asyncio.wait(self._renewals, timeout=CLOSE_SECONDS)
            for renewal in late:
                renewal.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.oauth.close()

    async def revoke(self, account_id: str, access_token: bytes, refresh_token: bytes | None) -> None:
        """Withdraw our access, as far as it still exists. Raises what keeps TikTok from being asked."""
        try:
            await self.oauth.revoke(self._open(account_id, "access_token", access_token))
        except AccessTokenRefused:
            if refresh_token is None:
                return
            # Only its hours may be over: the grant lives as long as the refresh token, and a fresh token ends it.
            with suppress(AccessTokenRefused):  # dead already
                tokens = await self.oauth.refresh(self._open(account_id, "refresh_token", refresh_token))
                await self.oauth.revoke(tokens.access_token)

    async def discard(self, tokens: GrantedTokens) -> None:
        """Give back a grant that cannot be used; best effort."""
        try:
            await self.oauth.revoke(tokens.access_token)
        except VendorError as error:
            log.warning("tiktok tokens not revoked", error=str(error))

    async def _read(self, access_token: str) -> SocialProfile:
        user = await self.oauth.user_info(access_token)
        return read_own_profile(user, await self.oauth.videos(access_token))

    def _open(self, account_id: str, column: str, envelope: bytes) -> str:
        try:
            return self.encryption.decrypt(envelope, identity(account_id, column))
        except UnknownKey:
            # The operator's to mend; nobody is asked to connect again for a key that was forgotten in the settings.
            raise VendorUnavailable(VENDOR, "a stored token is encrypted with a key that is not configured") from None
        except DecryptionFailed as error:
            log.error("tiktok token cannot be decrypted", account=account_id, reason=str(error))
            raise NeedsReconnect(VENDOR, "a stored token cannot be decrypted") from None
