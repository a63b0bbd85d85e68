"""Connecting TikTok with TikTok's own consent: sending the person there, and taking them back."""

import asyncio
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlencode
from uuid import uuid4

import structlog

from db.pool import DatabaseUnavailable
from db.social_accounts import (
    HandleTaken,
    check_handle,
    connect_account,
    end_claims,
    lock_handle,
    lock_owner,
    lock_rivals,
)
from db.tiktok_tokens import queue_revocations, revoke_now
from handlers.base import Handler
from handlers.endpoint import INFLUENCER, PUBLIC, endpoint
from handlers.errors import ApiError
from realtime.events import NotificationReceived
from services.errors import NeedsReconnect, NotConfigured, VendorError, VendorRefused
from services.oauth_states import STATE_SECONDS, State, StateError, StateExpired, verifier_identity
from services.ownership import new_code
from services.profiles import Profile
from services.tiktok_oauth import Tokens, new_pkce_pair

log = structlog.get_logger()

OPEN_STATES = 5  # of a user; a sixth sign-in that has begun ends the oldest
EXCHANGE_SECONDS = 45.0  # a token, a profile and two pages of videos; somebody looks at an empty page meanwhile
PAGE = "/social-media"  # of the web client
MAX_PARAMETER = 4096

MAKE_ROOM = """
    delete from oauth_states where user_id = $1 and id in (
        select id from oauth_states where user_id = $1 order by created_at desc offset $2
    )
"""

BEGIN = """
    insert into oauth_states (id, user_id, session_id, verifier, expires_at)
    values ($1, $2, $3, $4, now() + make_interval(secs => $5))
"""


class Begin(Handler):
    @endpoint(INFLUENCER, returns=dict[str, str], top=("authUrl",), acts=True)
    async def get(self) -> None:
        """Where to send the person, to let TikTok ask whether we may read their numbers; good for ten minutes."""
        oauth, state_id = self.services.tiktok.oauth, str(uuid4())
        pkce = new_pkce_pair(oauth.redirect_uri)
        state = self.services.oauth_states.sign(State(state_id, self.caller.id, self.caller.session_id))
        auth_url = oauth.authorize_url(state, pkce.challenge)
        verifier = self.services.encryption.encrypt(pkce.verifier, verifier_identity(state_id))
        async with self.db.transaction() as tx:
            await tx.execute(MAKE_ROOM, self.caller.id, OPEN_STATES - 1)
            await tx.execute(BEGIN, state_id, self.caller.id, self.caller.session_id, verifier, float(STATE_SECONDS))
        self.reply({"authUrl": auth_url}, message="Please continue at TikTok", authUrl=auth_url)


# Whoever comes first uses it up, whatever becomes of it then.
TAKE_STATE = """
    delete from oauth_states where id = $1 and user_id = $2 and session_id = $3 and expires_at > now()
    returning verifier
"""


class Refused(Exception):
    """The sign-in ends here; says why, in a word for the web client."""


class Callback(Handler):
    """Whatever happens, the person lands on a page of the web client that says so."""

    @endpoint(PUBLIC, statuses=(302,), acts=True)
    async def get(self) -> None:
        """TikTok sends people back to this; always a redirect to the web client."""
        given = self.read_parameters()
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS) as deadline:
                await self.complete(given, deadline)
        except Refused as refusal:
            return self.send_back("error", str(refusal))
        except (HandleTaken, VendorError, TimeoutError, DatabaseUnavailable) as error:
            log.warning("tiktok sign-in failed", error=f"{type(error).__name__} {error}")
            return self.send_back("error", reason_of(error))
        return self.send_back("connected")

    async def complete(self, given: dict[str, str], deadline: asyncio.Timeout) -> None:
        state, verifier = await self.take_state(given.get("state", ""))
        if "error" in given or "code" not in given:
            raise Refused("denied" if given.get("error") == "access_denied" else "refused")
        tiktok = self.services.tiktok
        tokens = await tiktok.oauth.exchange(given["code"], verifier)
        try:
            if tokens.missing_scopes:
                raise Refused("missing_permissions")
            profile = await tiktok.read(tokens)
            deadline.reschedule(
                None
            )  # what stands in the database is not given back; its waits have bounds of their own
            await self.store(state.user_id, profile, tokens)
        except BaseException:
            await tiktok.discard(tokens)
            raise

    async def take_state(self, text: str) -> tuple[State, str]:
        """The state and its PKCE verifier, used up; its session must still be alive."""
        try:
            state = self.services.oauth_states.read(text)
        except StateExpired:
            raise Refused("expired") from None
        except StateError:
            raise Refused("invalid_state") from None
        verifier = await self.db.fetchval(TAKE_STATE, *state)
        if verifier is None:
            raise Refused("invalid_state")
        caller = await self.application.sessions.caller(state.session_id, state.user_id)
        if caller is None or caller.role != "INFLUENCER":
            raise Refused("session_ended")
        return state, self.services.encryption.decrypt(verifier, verifier_identity(state.id))

    async def store(self, user_id: str, profile: Profile, tokens: Tokens) -> None:
        handle = profile.username
        async with self.db.transaction() as tx:
            await lock_handle(tx, "TIKTOK", handle)
            owner = await lock_owner(tx, user_id, "TIKTOK")
            if owner is None:
                raise Refused("session_ended")
            await check_handle(tx, "TIKTOK", handle, owner.influencer_id)
            rivals = await lock_rivals(tx, "TIKTOK", handle, owner.influencer_id)
            if owner.account_id and owner.changes_to(handle):
                revocations = await queue_revocations(tx, user_id, owner.account_id)
                tx.after_commit(revoke_now, self.db, self.services.tiktok, revocations)
            account_id = owner.account_id or str(uuid4())
            sealed = self.services.tiktok.seal(account_id, tokens)
            now = datetime.now(UTC)
            await connect_account(tx, owner, account_id, profile.model_dump_json(), now, new_code(), sealed)
            for notice in await end_claims(tx, "TIKTOK", handle, owner.influencer_id, rivals):
                tx.after_commit(self.publish, NotificationReceived(*notice))

    def read_parameters(self) -> dict[str, str]:
        """What came with the address, however odd."""
        try:
            given = parse_qs(self.request.query, errors="replace", max_num_fields=50)
        except ValueError:
            return {}
        return {name: values[0] for name, values in given.items() if len(values[0]) <= MAX_PARAMETER}

    def send_back(self, outcome: str, reason: str | None = None) -> None:
        query = {"tiktok": outcome} | ({"reason": reason} if reason else {})
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(f"{self.application.config.frontend_url[0].rstrip('/')}{PAGE}?{urlencode(query)}")

    def fail(self, error: ApiError) -> None:
        """What is refused before the method, and defects of ours: a redirect too."""
        self.send_back("error", error.code.lower())


def reason_of(error: BaseException) -> str:
    if isinstance(error, HandleTaken):
        return "handle_taken"
    if isinstance(error, NotConfigured):
        return "not_configured"
    if isinstance(error, NeedsReconnect):
        return "refused"
    return "misconfigured" if isinstance(error, VendorRefused) else "unavailable"


routes: list[tuple[str, Any]] = [
    ("/social-media/tiktok/auth", Begin),
    ("/social-media/tiktok/oauth/callback", Callback),
]
