"""Connect TikTok by consent: redirect the person to TikTok, and handle the redirect back."""

import asyncio
import logging
from datetime import UTC, datetime
from hashlib import sha256
from typing import Annotated, Any
from urllib.parse import parse_qs, urlencode
from uuid import uuid4

import structlog
from pydantic import BaseModel, Field

from db.errors import DomainError, HandleTaken
from db.pool import DatabaseUnavailable
from db.queries.social.accounts import (
    check_handle,
    connect_account,
    end_claims,
    lock_claimants,
    lock_handle,
    lock_owner,
)
from db.queries.social.tiktok_tokens import queue_revocations
from db.schemas.facts import about
from db.schemas.social import TikTokSignIn
from handlers.http.base import Handler
from handlers.http.endpoint import INFLUENCER, PUBLIC, Query, endpoint
from realtime.events import NotificationReceived
from services.errors import NeedsReconnect, NotConfigured, VendorError, VendorRefused
from services.social.ownership import new_code
from services.social.profiles import SocialProfile
from services.tiktok.oauth import GrantedTokens, new_pkce_pair
from services.tiktok.oauth_states import STATE_SECONDS, OAuthState, StateError, StateExpired, verifier_identity
from services.tiktok.revocations import revoke_now

log = structlog.get_logger()

OPEN_STATES = 5  # sign-ins per user; a sixth one removes the oldest, used or not
EXCHANGE_SECONDS = 45.0  # for a token, a profile and two pages of videos, while the browser waits
LOST_SECONDS = 60  # after this time the first of several requests has ended, or its instance has died
POLL_SECONDS = 0.5  # between two queries for its outcome
PAGE = "/social-media"  # of the web client
MAX_PARAMETER = 4096

DELETE_OLDEST_STATES = """
    delete from oauth_states where user_id = $1 and id in (
        select id from oauth_states where user_id = $1 order by created_at desc offset $2
    )
"""

BEGIN = """
    insert into oauth_states (id, user_id, session_id, verifier, expires_at)
    values ($1, $2, $3, $4, now() + make_interval(secs => $5))
"""


class BeginOAuth(Handler):
    @endpoint(INFLUENCER, returns=TikTokSignIn, top=("authUrl",), acts=True, errors=("NOT_CONFIGURED",))
    async def get(self) -> None:
        """Return the address at TikTok where the user gives consent; it expires after ten minutes."""
        oauth, state_id = self.services.tiktok.oauth, str(uuid4())
        pkce = new_pkce_pair(oauth.redirect_uri)
        state = self.services.oauth_states.sign(OAuthState(state_id, self.caller.id, self.caller.session_id))
        auth_url = oauth.authorize_url(state, pkce.challenge)
        verifier = self.services.encryption.encrypt(pkce.verifier, verifier_identity(state_id))
        async with self.db.transaction() as tx:
            await tx.execute(DELETE_OLDEST_STATES, self.caller.id, OPEN_STATES - 1)
            await tx.execute(BEGIN, state_id, self.caller.id, self.caller.session_id, verifier, float(STATE_SECONDS))
        self.reply({"authUrl": auth_url}, message="Please continue at TikTok", authUrl=auth_url)


# The first callback uses the state, whether the sign-in succeeds or fails.
TAKE_STATE = """
    with unused as (
        select id, verifier from oauth_states
        where id = $1 and user_id = $2 and session_id = $3 and expires_at > now() and answer_hash is null
        for update
    ), taken as (
        update oauth_states s set answer_hash = $4, answered_at = now(), verifier = null
        from unused where s.id = unused.id
    )
    select verifier from unused
"""

END_STATE = "update oauth_states set outcome = $2 where id = $1 and outcome is null"

# Null while the first request runs. If its instance has died, the outcome stays unknown.
SHOW_OUTCOME = f"""
    select coalesce(outcome, case when answered_at < now() - interval '{LOST_SECONDS} seconds' then 'unavailable' end)
        as outcome
    from oauth_states
    where id = $1 and user_id = $2 and session_id = $3 and expires_at > now() and answer_hash = $4
"""

CONNECTED = "connected"


class SignInRefused(Exception):
    """The sign-in has failed. The argument is the reason, one word for the web client."""


Parameter = Annotated[str, Field(max_length=MAX_PARAMETER)]


class CallbackQuery(Query):
    """What TikTok adds to the address of the redirect."""

    state: Annotated[Parameter, about("The `state` of the sign-in's address", "eyJhbGciOi.c3RhdGU")] | None = None
    code: Annotated[Parameter, about("The code to exchange for tokens, after consent", "Qm9vfjsB")] | None = None
    error: Annotated[Parameter, about("Why the sign-in failed at TikTok", "access_denied")] | None = None


class OAuthCallback(Handler):
    """Every outcome, errors included, redirects to a page of the web client."""

    @endpoint(PUBLIC, query=CallbackQuery, statuses=(302,), acts=True, fails=False)
    async def get(self, given: CallbackQuery) -> None:
        """Finish a sign-in at TikTok and redirect to the web client; a reload is redirected like the first request."""
        try:
            state = self.read_state(given.state or "")
            outcome = await self.answer(state, given)
        except (SignInRefused, DatabaseUnavailable) as error:
            outcome = reason_of(error)
        self.send_back(outcome)

    def read_state(self, text: str) -> OAuthState:
        try:
            return self.services.oauth_states.read(text)
        except StateExpired:
            raise SignInRefused("expired") from None
        except StateError:
            raise SignInRefused("invalid_state") from None

    async def answer(self, state: OAuthState, given: CallbackQuery) -> str:
        """Sign in once per state and return the outcome; repeated requests with the same code receive it too."""
        answer_hash = sha256((given.code or given.error or "").encode()).digest()
        verifier = await self.db.fetchval(TAKE_STATE, *state, answer_hash)
        if verifier is None:
            return await self.first_outcome(state, answer_hash)
        outcome = "internal"
        try:
            async with asyncio.timeout(EXCHANGE_SECONDS) as deadline:
                await self.sign_in(state, verifier, given, deadline)
            outcome = CONNECTED
        except SignInRefused as refusal:
            outcome = reason_of(refusal)
        except (HandleTaken, VendorError, TimeoutError, DatabaseUnavailable) as error:
            outcome = reason_of(error)
            level = error.log_level if isinstance(error, VendorError) else logging.INFO
            log.log(level, "tiktok sign-in failed", error=f"{type(error).__name__} {error}")
        finally:
            if outcome != CONNECTED:
                await self.db.execute(END_STATE, state.id, outcome)
        return outcome

    async def first_outcome(self, state: OAuthState, answer_hash: bytes) -> str:
        """Wait for the request that used the state, on any instance. Raises SignInRefused for another code."""
        while True:
            row = await self.db.fetchrow(SHOW_OUTCOME, *state, answer_hash)
            if row is None:
                raise SignInRefused("invalid_state")
            outcome: str | None = row["outcome"]
            if outcome:
                return outcome
            await asyncio.sleep(POLL_SECONDS)

    async def sign_in(
        self, state: OAuthState, verifier: bytes, given: CallbackQuery, deadline: asyncio.Timeout
    ) -> None:
        caller = await self.application.sessions.caller(state.session_id, state.user_id)
        if caller is None or caller.role != "INFLUENCER":
            raise SignInRefused("session_ended")
        if given.error is not None or given.code is None:
            raise SignInRefused("denied" if given.error == "access_denied" else "refused")
        tiktok = self.services.tiktok
        pkce_verifier = self.services.encryption.decrypt(verifier, verifier_identity(state.id))
        tokens = await tiktok.oauth.exchange(given.code, pkce_verifier)
        try:
            if tokens.missing_scopes:
                raise SignInRefused("missing_permissions")
            profile = await tiktok.read(tokens)
            deadline.reschedule(None)  # cancelling could leave tokens stored in part; the database has its own timeouts
            await self.store(state, profile, tokens)
        except BaseException:
            await tiktok.discard(tokens)
            raise

    async def store(self, state: OAuthState, profile: SocialProfile, tokens: GrantedTokens) -> None:
        handle, user_id = profile.username, state.user_id
        async with self.db.transaction() as tx:
            await lock_handle(tx, "TIKTOK", handle)
            owner = await lock_owner(tx, user_id, "TIKTOK")
            if owner is None:
                raise SignInRefused("session_ended")
            await check_handle(tx, "TIKTOK", handle, owner.influencer_id)
            claimants = await lock_claimants(tx, "TIKTOK", handle, owner.influencer_id)
            if owner.account_id and owner.replaces(handle):
                revocations = await queue_revocations(tx, user_id, owner.account_id)
                tx.after_commit(revoke_now, self.db, self.services.tiktok, revocations)
            account_id = owner.account_id or str(uuid4())
            sealed = self.services.tiktok.seal(account_id, tokens)
            now = datetime.now(UTC)
            await connect_account(tx, owner, account_id, profile.model_dump_json(), now, new_code(), sealed)
            await tx.execute(END_STATE, state.id, CONNECTED)
            for notice in await end_claims(tx, "TIKTOK", handle, owner.influencer_id, claimants):
                tx.after_commit(self.publish, NotificationReceived(*notice))

    def parse_inputs(self) -> list[BaseModel]:
        """Return the query. Malformed and overlong parameters are left out, because an error must redirect too."""
        try:
            given = parse_qs(self.request.query, errors="replace", max_num_fields=50)
        except ValueError:
            given = {}
        kept = {name: values[0] for name, values in given.items() if len(values[0]) <= MAX_PARAMETER}
        return [CallbackQuery.model_validate(kept)]

    def send_back(self, outcome: str) -> None:
        query = {"tiktok": CONNECTED} if outcome == CONNECTED else {"tiktok": "error", "reason": outcome}
        self.set_header("Referrer-Policy", "no-referrer")
        self.redirect(f"{self.application.config.frontend_url[0].rstrip('/')}{PAGE}?{urlencode(query)}")

    def fail(self, error: DomainError) -> None:
        """Redirect for errors before the method and for defects, too."""
        self.send_back(error.code.lower())


def reason_of(error: BaseException) -> str:
    if isinstance(error, SignInRefused):
        return str(error)
    if isinstance(error, HandleTaken):
        return "handle_taken"
    if isinstance(error, NotConfigured):
        return "not_configured"
    if isinstance(error, NeedsReconnect):
        return "refused"
    return "misconfigured" if isinstance(error, VendorRefused) else "unavailable"


routes: list[tuple[str, Any]] = [
    ("/social-media/tiktok/auth", BeginOAuth),
    ("/social-media/tiktok/oauth/callback", OAuthCallback),
]
