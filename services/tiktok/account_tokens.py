"""Accounts connected with TikTok: their encrypted tokens, and the data that these allow us to read.

A refresh token works once, so over all instances only one caller at a time refreshes an account's tokens. A claim
in the database ensures that (db/queries/social/tiktok_tokens.py).
"""

import asyncio
from contextlib import suppress

import structlog

from db.errors import Conflict
from db.queries.social.tiktok_tokens import HeldTokens, SealedTokens, TikTokTokens
from services.errors import AccessTokenRefused, NeedsReconnect, VendorError, VendorUnavailable
from services.security.encryption import DecryptionFailed, Encryption, UnknownKey
from services.social.profiles import SocialProfile
from services.tiktok.oauth import VENDOR, GrantedTokens, TikTokOAuth
from services.tiktok.profiles import read_own_profile

CLOSE_SECONDS = 10.0  # for tokens that are being refreshed when the server stops

log = structlog.get_logger()


class RefreshUnderWay(Conflict):
    """Another caller is refreshing this account's tokens."""

    error = "The account is being synchronised; please try again in a moment"


def identity(account_id: str, column: str) -> str:
    """Return the identity of an envelope, which can be decrypted in its own row and column only."""
    return f"social_media_accounts:{account_id}:{column}"


class TikTokAccounts:
    def __init__(self, oauth: TikTokOAuth, encryption: Encryption, stored: TikTokTokens) -> None:
        self.oauth = oauth
        self.encryption = encryption
        self.stored = stored
        self._renewals: set[asyncio.Task[str]] = set()

    def seal(self, account_id: str, tokens: GrantedTokens) -> SealedTokens:
        """Encrypt for the row of this account."""
        return SealedTokens(
            self.encryption.encrypt(tokens.access_token, identity(account_id, "access_token")),
            self.encryption.encrypt(tokens.refresh_token, identity(account_id, "refresh_token")),
            tokens.expires_at,
            tokens.refresh_expires_at,
        )

    async def read(self, tokens: GrantedTokens) -> SocialProfile:
        """Return the profile of a user who has just connected."""
        return await self._read(tokens.access_token)

    async def fetch(self, account_id: str) -> SocialProfile:
        """Return the current profile of the account; refresh its token if that has expired.

        Raises NeedsReconnect if only the owner can help, RefreshUnderWay, and the errors of services/errors.py.
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
        """Refresh and store the tokens of the account; return the access token.

        Cancelling this loses nothing: the new tokens are stored anyway, because the old ones no longer work.
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
            await self.stored.release(account_id)
            raise
        if not stored:
            # The account was disconnected meanwhile, so the new grant must end too.
            await self.discard(tokens)
            raise NeedsReconnect(VENDOR, "disconnected while its tokens were refreshed")
        return tokens.access_token

    def _renewed(self, renewal: asyncio.Task[str]) -> None:
        self._renewals.discard(renewal)
        if not renewal.cancelled():
            renewal.exception()  # retrieved here, because the caller may have disconnected

    async def close(self) -> None:
        """Let tokens that are being refreshed be stored, then release the connections."""
        if self._renewals:
            _, late = await asyncio.wait(self._renewals, timeout=CLOSE_SECONDS)
            for renewal in late:
                renewal.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        await self.oauth.close()

    async def revoke(self, account_id: str, access_token: bytes, refresh_token: bytes | None) -> None:
        """Revoke our access, if it still exists. Raises VendorError if TikTok cannot be asked."""
        try:
            await self.oauth.revoke(self._open(account_id, "access_token", access_token))
        except AccessTokenRefused:
            if refresh_token is None:
                return
            # It may only have expired: the grant is valid as long as the refresh token, and a new token can end it.
            with suppress(AccessTokenRefused):  # the grant has ended already
                tokens = await self.oauth.refresh(self._open(account_id, "refresh_token", refresh_token))
                await self.oauth.revoke(tokens.access_token)

    async def discard(self, tokens: GrantedTokens) -> None:
        """Revoke a grant that cannot be used. Best effort."""
        try:
            await self.oauth.revoke(tokens.access_token)
        except VendorError as error:
            log.info("tiktok tokens not revoked", error=str(error))

    async def _read(self, access_token: str) -> SocialProfile:
        user = await self.oauth.user_info(access_token)
        return read_own_profile(user, await self.oauth.videos(access_token))

    def _open(self, account_id: str, column: str, envelope: bytes) -> str:
        try:
            return self.encryption.decrypt(envelope, identity(account_id, column))
        except UnknownKey:
            # The operator can add the missing key, so users are not asked to connect again.
            log.error("a TikTok token is encrypted with a key that is not configured", account=account_id)
            raise VendorUnavailable(VENDOR, "a stored token is encrypted with a key that is not configured") from None
        except DecryptionFailed as error:
            log.error("a TikTok token cannot be decrypted", account=account_id, reason=str(error))
            raise NeedsReconnect(VENDOR, "a stored token cannot be decrypted") from None
