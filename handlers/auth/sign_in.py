"""Sign in, refresh tokens by rotation, and sign out."""

from typing import Annotated, Any

from pydantic import Field

from db.errors import Forbidden, NotAuthenticated, RateLimited
from db.queries.otps import start_attempts
from db.queries.sessions import END_SESSION, end_sessions, open_session, remember_network
from db.queries.sign_ups import find_by_password, has_valid_code, renew_code
from db.schemas.facts import about
from db.schemas.fields import Body, Email
from db.schemas.shape import Shape
from db.schemas.shapes import SignedInUser
from handlers.auth.codes import CodeHandler
from handlers.auth.passwords import Password
from handlers.http.endpoint import PUBLIC, USER, endpoint
from services.security.tokens import RefreshClaims, TokenError, TokenForged

REFRESH_COOKIE = "refreshToken"
REFRESH_PATH = "/api/v1/auth"
REUSE_GRACE_SECONDS = 10  # so that two tabs that refresh at the same time both succeed


class LogIn(Body):
    """E-mail and password."""

    email: Email
    password: Password


RefreshToken = Annotated[
    str, Field(max_length=4096), about("For clients without cookies", "eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOi….c2ln")
]


class RefreshRequest(Body):
    """A refresh token, unless the cookie has it."""

    refresh_token: RefreshToken | None = None


class TokenPair(Shape):
    """An access token and the refresh token that renews it."""

    access_token: str = about(
        "Sign requests with it: `Authorization: Bearer …`", "eyJhbGciOiJIUzI1NiJ9.eyJyb2xlIjoi….c2ln"
    )
    refresh_token: str = about("Renews both tokens, once", "eyJhbGciOiJIUzI1NiJ9.eyJzaWQiOiIwZjllIn0.c2ln")
    expires_in: int = about("Seconds until the access token expires", 900)


class SignedIn(TokenPair):
    """Tokens and the account."""

    user: SignedInUser = about("The account that signed in")


class SignInHandler(CodeHandler):
    @property
    def cookie_path(self) -> str:
        """Return the cookie's path as browsers see it: a proxy may serve this server under a path."""
        return self.application.config.public_path + REFRESH_PATH

    def issue_tokens(
        self, user_id: str, role: str, session_id: str, generation: int, seconds_left: float
    ) -> dict[str, Any]:
        """Return the pair of tokens, and set the cookie. The session ends in `seconds_left`, and its tokens with it."""
        tokens, left = self.services.tokens, max(1, int(seconds_left))
        access_seconds, refresh_seconds = min(tokens.access_seconds, left), min(tokens.refresh_seconds, left)
        refresh_token = tokens.refresh(session_id, generation, refresh_seconds)
        self.set_cookie(
            REFRESH_COOKIE,
            refresh_token,
            path=self.cookie_path,
            httponly=True,
            samesite="Strict",
            secure=self.application.config.production,
            max_age=refresh_seconds,
        )
        return {
            "accessToken": tokens.access(user_id, role, session_id, access_seconds),
            "refreshToken": refresh_token,
            "expiresIn": access_seconds,
        }

    @property
    def session_max_seconds(self) -> float:
        return self.application.config.session_max_age.total_seconds()


# Until an address is verified, the passwords of its sign-ups count (db/queries/sign_ups.py).
FIND_LOGIN = f"""
    select u.id, u.role, u.status, u.email_verified_at is not null as verified,
        u.terms_accepted_at is not null as terms_accepted, {SignedInUser.sql("u")} as body,
        case when u.email_verified_at is not null then array_remove(array[u.password_hash], null)
            else array(select s.password_hash from sign_ups s where s.user_id = u.id) end as hashes
    from users u where lower(u.email) = $1 and u.status <> 'DELETED'
"""


# The comparison takes time, so this checks under a lock that the password was not replaced meanwhile.
LOCK_LOGIN = "select id from users where id = $1 and password_hash = $2 and status = 'ACTIVE' for update"


def wrong_credentials() -> NotAuthenticated:
    return NotAuthenticated("The e-mail or the password is wrong; please check both", code="INVALID_CREDENTIALS")


def wrong_token() -> NotAuthenticated:
    return NotAuthenticated("Please sign in again", code="INVALID_TOKEN")


class Login(SignInHandler):
    @endpoint(
        PUBLIC,
        body=LogIn,
        returns=SignedIn,
        top=("accessToken", "refreshToken", "expiresIn", "user"),
        errors=("INVALID_CREDENTIALS", "ACCOUNT_SUSPENDED", "EMAIL_NOT_VERIFIED", "TERMS_NOT_ACCEPTED", "BUSY"),
    )
    async def post(self, body: LogIn) -> None:
        """Sign in with e-mail and password."""
        async with self.count_failures(body.email):
            user = await self.db.fetchrow(FIND_LOGIN, body.email)
            password_hash = await self.services.passwords.find(body.password, user["hashes"] if user else [])
            if user is None or password_hash is None:
                raise wrong_credentials()
            if user["status"] == "SUSPENDED":
                raise Forbidden("Your account is suspended", "Please contact support.", code="ACCOUNT_SUSPENDED")
            if not user["verified"]:
                await self.remind_of_code(user["id"], password_hash, body.email)
                raise Forbidden("Please verify your e-mail address first", code="EMAIL_NOT_VERIFIED", email=body.email)
            if not user["terms_accepted"]:
                raise Forbidden("Please accept the terms of service first", code="TERMS_NOT_ACCEPTED")
        async with self.db.transaction() as tx:
            if not await tx.fetchval(LOCK_LOGIN, user["id"], password_hash):
                raise wrong_credentials()
            seconds = min(self.services.tokens.refresh_seconds, self.session_max_seconds)
            session_id = await open_session(tx, user["id"], seconds, self.ip, self.user_agent)
            await remember_network(tx, user["id"], self.services.networks.hashes(self.network)[0])
        answer = {**self.issue_tokens(user["id"], user["role"], session_id, 1, seconds), "user": user["body"]}
        self.reply(answer, **answer)

    async def remind_of_code(self, user_id: str, password_hash: str, email: str) -> None:
        """Mail a new code for the sign-up with this password if it has no valid one, within the limit of mails."""
        if await has_valid_code(self.db, user_id, password_hash):
            return
        try:
            await self.count_code_mail(email)
        except RateLimited:  # the response says that the address is not verified, with or without a mail
            return
        code, digest = self.new_code(email, "VERIFY")
        async with self.db.transaction() as tx:
            await start_attempts(tx, email, "VERIFY")
            sign_up = await find_by_password(tx, user_id, password_hash)
            if sign_up:
                await renew_code(tx, sign_up.id, digest)
                await self.mail_sign_up_code(tx, email, sign_up, code)


# A second request with the same token waits for the row lock and then finds another generation.
ROTATE = """
    update sessions s
    set generation = s.generation + 1, rotated_at = clock_timestamp(),
        expires_at = least(now() + make_interval(secs => $3), s.created_at + make_interval(secs => $4))
    from users u
    where s.id = $1 and s.generation = $2 and s.ended_at is null and s.expires_at > now()
        and s.created_at + make_interval(secs => $4) > now() and u.id = s.user_id and u.status = 'ACTIVE'
    returning s.user_id, s.generation, u.role, extract(epoch from s.expires_at - now())::float8 as seconds_left
"""

FIND_ROTATED = """
    select s.user_id, s.generation, u.role, extract(epoch from s.expires_at - now())::float8 as seconds_left,
        s.generation = $2 + 1 and s.rotated_at > clock_timestamp() - make_interval(secs => $3) as in_grace
    from sessions s join users u on u.id = s.user_id
    where s.id = $1 and s.generation > $2 and s.ended_at is null and s.expires_at > now() and u.status = 'ACTIVE'
"""


class RefreshTokens(SignInHandler):
    @endpoint(
        PUBLIC,
        body=RefreshRequest,
        returns=TokenPair,
        top=("accessToken", "refreshToken", "expiresIn"),
        reads_cookie=True,
        errors=("INVALID_TOKEN",),
    )
    async def post(self, body: RefreshRequest) -> None:
        """Exchange a refresh token, from the body or the cookie, for a new pair of tokens; each works once.

        A refresh token that is missing, malformed or expired, was used before, or belongs to an ended session gets 401
        `INVALID_TOKEN`: the user signs in again.
        """
        claims = await self.read_token(body)
        seconds = self.services.tokens.refresh_seconds
        session = await self.db.fetchrow(ROTATE, *claims, seconds, self.session_max_seconds)
        if session is None:
            session = await self.db.fetchrow(FIND_ROTATED, *claims, REUSE_GRACE_SECONDS)
            if session is None or not session["in_grace"]:
                await self.revoke(claims.session_id if session else None)
                raise wrong_token()
        answer = self.issue_tokens(
            session["user_id"], session["role"], claims.session_id, session["generation"], session["seconds_left"]
        )
        self.reply(answer, **answer)

    async def read_token(self, body: RefreshRequest) -> RefreshClaims:
        """Return the claims of the refresh token. Only a forged one counts as a failed attempt: pages of
        signed-out users send none or a stale one, and other sites can make them do so."""
        try:
            return self.services.tokens.read_refresh(body.refresh_token or self.cookie_token())
        except TokenForged:
            async with self.count_failures():
                raise wrong_token() from None
        except TokenError:
            raise wrong_token() from None

    def cookie_token(self) -> str:
        """Return the cookie for requests of our own pages only, so that another site cannot use it up."""
        origin = self.request.headers.get("Origin")
        if origin and origin.rstrip("/") not in self.application.config.origins:
            raise TokenError
        return self.get_cookie(REFRESH_COOKIE) or ""

    async def revoke(self, session_id: str | None) -> None:
        """A reused refresh token means theft, so the whole session is revoked."""
        if session_id:
            await self.db.execute(END_SESSION, session_id, "REUSED")
            await self.application.sessions.check_now()


class Logout(SignInHandler):
    @endpoint(USER)
    async def post(self) -> None:
        """Sign out: end this session and close its sockets on every instance."""
        await self.db.execute(END_SESSION, self.caller.session_id, "LOGGED_OUT")
        await self.application.sessions.check_now()
        self.clear_cookie(REFRESH_COOKIE, path=self.cookie_path)
        self.reply(message="You are signed out")


class LogoutAll(SignInHandler):
    @endpoint(USER)
    async def post(self) -> None:
        """Sign out everywhere: end all sessions of the caller, including this one."""
        await end_sessions(self.db, self.caller.id, "LOGGED_OUT")
        await self.application.sessions.check_now()
        self.clear_cookie(REFRESH_COOKIE, path=self.cookie_path)
        self.reply(message="You are signed out everywhere")


routes = [
    ("/auth/login", Login),
    ("/auth/refresh", RefreshTokens),
    ("/auth/logout", Logout),
    ("/auth/logout-all", LogoutAll),
]
