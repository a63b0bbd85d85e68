"""Sign-up, one-time codes, login, sessions and forgotten passwords."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, Field

from db.fields import BlankAsNone, Body, Email, Line
from db.otps import Purpose, otp_alive, put_otp, try_otp
from db.pool import Transaction
from db.sessions import END_SESSION, end_sessions, open_session
from db.shapes import SignedInUser
from handlers.base import Handler
from handlers.endpoint import PUBLIC, USER, endpoint
from handlers.errors import EMAIL_TAKEN, ApiError, BadRequest, Forbidden, Invalid, NotAuthenticated
from services.otps import OTP_ATTEMPTS, OTP_MINUTES
from services.passwords import weakness
from services.rate_limit import Claim
from services.tokens import TokenError

REFRESH_COOKIE = "refreshToken"
REFRESH_PATH = "/api/v1/auth"
REUSE_GRACE_SECONDS = 10  # two tabs that refresh at once both go on
FAILURES = ("INVALID_CREDENTIALS", "INVALID_OTP", "INVALID_TOKEN")

# Long passwords are refused by `weakness`, with its own sentence; this only bounds what is read.
Password = Annotated[str, Line(200)]
Code = Annotated[str, Line(20)]


class SignUp(Body):
    name: Annotated[str, Line(100)]
    email: Email
    password: Password
    phone_no: Annotated[Annotated[str, Line(30)] | None, BlankAsNone] = None
    terms_accepted: Literal[True] = Field(validation_alias=AliasChoices("termsAccepted", "acceptTerms"))


class ByEmail(Body):
    email: Email


class ByCode(ByEmail):
    otp: Code


class LogIn(Body):
    email: Email
    password: Password


class Refresh(Body):
    refresh_token: str | None = Field(None, max_length=4096)


class ResetPassword(ByCode):
    new_password: Password


class AuthHandler(Handler):
    """What the public routes share: counting failures, codes by mail, sessions."""

    @asynccontextmanager
    async def attempt(self, email: str | None = None) -> AsyncIterator[None]:
        """Count a failed try per e-mail and IP together, and per IP. It is taken beforehand, so that many tries at
        once gain nothing, and given back if the try did not fail."""
        claims = [Claim(f"auth:{self.ip}", "limit_auth_ip", self.limit("limit_auth_ip"))]
        if email:
            claims.append(Claim(f"auth:{self.ip}", f"limit_auth:{email}", self.limit("limit_auth")))
        await self.take(claims, "Too many failed attempts; please try again later")
        try:
            yield
        except ApiError as error:
            if error.code not in FAILURES:
                await self.services.rate_limits.give_back(claims)
            raise
        except Exception:
            await self.services.rate_limits.give_back(claims)
            raise
        await self.services.rate_limits.give_back(claims)

    async def count_code_mail(self, email: str) -> None:
        claim = Claim(f"mail:{email}", "limit_otp_mail", self.limit("limit_otp_mail"))
        await self.take([claim], "Too many codes were requested")

    async def send_code(self, tx: Transaction, user_id: str, email: str, purpose: Purpose, **params: str) -> None:
        """Issue a code and queue its mail; the code before it is dead."""
        code = self.services.otps.new()
        await put_otp(tx, user_id, purpose, self.services.otps.digest(email, purpose, code), OTP_MINUTES)
        template = "verify" if purpose == "VERIFY" else "reset"
        await self.mail(tx, email, template, code=code, minutes=str(OTP_MINUTES), **params)

    async def use_code(self, tx: Transaction, body: ByCode, purpose: Purpose, use: bool = True) -> str | None:
        """Whose code it is; None after a wrong one, which must be committed to count."""
        digest = self.services.otps.digest(body.email, purpose, body.otp)
        tried = await try_otp(tx, body.email, purpose, digest, OTP_ATTEMPTS, use)
        self.attempts_left = tried.attempts_left
        return tried.user_id

    def wrong_code(self) -> BadRequest:
        return BadRequest("The code is wrong or has expired", code="INVALID_OTP", attemptsLeft=self.attempts_left)

    def hand_out_tokens(self, user_id: str, role: str, session_id: str, generation: int) -> dict[str, Any]:
        tokens = self.services.tokens
        refresh_token = tokens.refresh(session_id, generation)
        self.set_cookie(
            REFRESH_COOKIE, refresh_token, path=REFRESH_PATH, httponly=True, samesite="Strict",
            secure=self.application.config.production, max_age=tokens.refresh_seconds,
        )  # fmt: skip
        return {
            "accessToken": tokens.access(user_id, role, session_id),
            "refreshToken": refresh_token,
            "expiresIn": tokens.access_seconds,
        }


# An account that was never verified gives way: nobody can squat an address.
PUT_USER = """
    insert into users (name, email, password_hash, role, terms_accepted_at) values ($1, $2, $3, $4, now())
    on conflict (lower(email)) do update
    set name = excluded.name, password_hash = excluded.password_hash, role = excluded.role,
        terms_accepted_at = excluded.terms_accepted_at, updated_at = now()
    where users.email_verified_at is null and users.status = 'ACTIVE'
    returning id
"""

DROP_PROFILES = """
    with influencer as (delete from influencers where user_id = $1)
    delete from salons where user_id = $1
"""

ADD_INFLUENCER = "insert into influencers (user_id, phone_no) values ($1, $2)"

ADD_SALON = "insert into salons (user_id, phone_no) values ($1, $2)"


class SignUpAs(AuthHandler):
    role: str
    add_profile: str

    async def sign_up(self, new: SignUp) -> None:
        fault = weakness(new.password, new.email)
        if fault:
            raise Invalid([{"field": "password", "message": fault}])
        await self.count_code_mail(new.email)
        password_hash = await self.services.passwords.hash(new.password)
        async with self.db.transaction() as tx:
            user_id = await tx.fetchval(PUT_USER, new.name, new.email, password_hash, self.role)
            if user_id is None:
                raise EMAIL_TAKEN
            await tx.execute(DROP_PROFILES, user_id)
            await tx.execute(self.add_profile, user_id, new.phone_no)
            await self.send_code(tx, user_id, new.email, "VERIFY", name=new.name, role=self.role.lower())
        self.reply(
            {"userId": user_id, "email": new.email},
            message="Account created. Please enter the code that we have mailed to you.",
            status=201,
            userId=user_id,
        )


class SignUpInfluencer(SignUpAs):
    role, add_profile = "INFLUENCER", ADD_INFLUENCER

    @endpoint(PUBLIC, body=SignUp, statuses=(201,))
    async def post(self, new: SignUp) -> None:
        """Sign up as an influencer; a code is mailed."""
        await self.sign_up(new)


class SignUpSalon(SignUpAs):
    role, add_profile = "SALON", ADD_SALON

    @endpoint(PUBLIC, body=SignUp, statuses=(201,))
    async def post(self, new: SignUp) -> None:
        """Sign up as a salon; a code is mailed."""
        await self.sign_up(new)


VERIFY_USER = """
    update users set email_verified_at = coalesce(email_verified_at, now()), updated_at = now()
    where id = $1 returning role
"""


class VerifyOtp(AuthHandler):
    @endpoint(PUBLIC, body=ByCode)
    async def post(self, body: ByCode) -> None:
        """Prove an e-mail address with the mailed code."""
        async with self.attempt(body.email):
            async with self.db.transaction() as tx:
                user_id = await self.use_code(tx, body, "VERIFY")
                role = user_id and await tx.fetchval(VERIFY_USER, user_id)
            if user_id is None:
                raise self.wrong_code()
        self.reply({"role": role}, message="Your e-mail address is verified. You can sign in now.", role=role)


FIND_UNVERIFIED = """
    select id, name, role from users
    where lower(email) = $1 and email_verified_at is null and status = 'ACTIVE'
"""


class ResendOtp(AuthHandler):
    @endpoint(PUBLIC, body=ByEmail)
    async def post(self, body: ByEmail) -> None:
        """Mail a new code where one is due; the answer is the same for every address."""
        await self.count_code_mail(body.email)
        async with self.db.transaction() as tx:
            user = await tx.fetchrow(FIND_UNVERIFIED, body.email)
            if user:
                params = {"name": user["name"], "role": user["role"].lower()}
                await self.send_code(tx, user["id"], body.email, "VERIFY", **params)
        self.reply({"email": body.email}, message="If this address awaits a code, a new one is on its way.")


FIND_LOGIN = f"""
    select u.id, u.name, u.role, u.status, u.password_hash, u.email_verified_at is not null as verified,
        u.terms_accepted_at is not null as terms_accepted, {SignedInUser.sql("u")} as body
    from users u where lower(u.email) = $1 and u.status <> 'DELETED'
"""


class Login(AuthHandler):
    @endpoint(PUBLIC, body=LogIn)
    async def post(self, body: LogIn) -> None:
        """Sign in with e-mail and password."""
        async with self.attempt(body.email):
            user = await self.db.fetchrow(FIND_LOGIN, body.email)
            right = await self.services.passwords.matches(body.password, user and user["password_hash"])
            if user is None or not right:
                raise NotAuthenticated("E-mail or password is wrong", code="INVALID_CREDENTIALS")
            if user["status"] == "SUSPENDED":
                raise Forbidden("Your account is suspended", "Please contact support.", code="ACCOUNT_SUSPENDED")
            if not user["verified"]:
                await self.remind_of_code(user, body.email)
                raise Forbidden("Please verify your e-mail address first", code="EMAIL_NOT_VERIFIED", email=body.email)
            if not user["terms_accepted"]:
                raise Forbidden("Please accept the terms first", code="TERMS_NOT_ACCEPTED")
        async with self.db.transaction() as tx:
            seconds = self.services.tokens.refresh_seconds
            session_id = await open_session(tx, user["id"], seconds, self.ip, self.user_agent)
        answer = {**self.hand_out_tokens(user["id"], user["role"], session_id, 1), "user": user["body"]}
        self.reply(answer, **answer)

    async def remind_of_code(self, user, email: str) -> None:
        """Mail a new code if none is alive, as often as codes may be mailed at all."""
        async with self.db.transaction() as tx:
            if not await otp_alive(tx, user["id"], "VERIFY", OTP_ATTEMPTS):
                await self.count_code_mail(email)
                await self.send_code(tx, user["id"], email, "VERIFY", name=user["name"], role=user["role"].lower())


# Whoever comes second with the same token finds another generation once it has the row's lock.
ROTATE = """
    update sessions s
    set generation = s.generation + 1, rotated_at = clock_timestamp(), expires_at = now() + make_interval(secs => $3)
    from users u
    where s.id = $1 and s.generation = $2 and s.ended_at is null and s.expires_at > now()
        and u.id = s.user_id and u.status = 'ACTIVE'
    returning s.user_id, s.generation, u.role
"""

FIND_ROTATED = """
    select s.user_id, s.generation, u.role,
        s.generation = $2 + 1 and s.rotated_at > clock_timestamp() - make_interval(secs => $3) as in_grace
    from sessions s join users u on u.id = s.user_id
    where s.id = $1 and s.generation > $2 and s.ended_at is null and s.expires_at > now() and u.status = 'ACTIVE'
"""


class RefreshTokens(AuthHandler):
    @endpoint(PUBLIC, body=Refresh)
    async def post(self, body: Refresh) -> None:
        """A new pair of tokens for a refresh token, from the body or the cookie; each works once."""
        async with self.attempt():
            try:
                claims = self.services.tokens.read_refresh(body.refresh_token or self.cookie_token())
            except TokenError:
                raise NotAuthenticated("Please sign in again", code="INVALID_TOKEN") from None
            seconds = self.services.tokens.refresh_seconds
            session = await self.db.fetchrow(ROTATE, *claims, seconds)
            if session is None:
                session = await self.db.fetchrow(FIND_ROTATED, *claims, REUSE_GRACE_SECONDS)
                if session is None or not session["in_grace"]:
                    await self.revoke(claims.session_id if session else None)
                    raise NotAuthenticated("Please sign in again", code="INVALID_TOKEN")
        answer = self.hand_out_tokens(session["user_id"], session["role"], claims.session_id, session["generation"])
        self.reply(answer, **answer)

    def cookie_token(self) -> str:
        """The cookie counts only for pages of ours: another site must not spend it."""
        origin = self.request.headers.get("Origin")
        if origin and origin.rstrip("/") not in self.application.config.origins:
            raise TokenError
        return self.get_cookie(REFRESH_COOKIE) or ""

    async def revoke(self, session_id: str | None) -> None:
        """A token that was used before is in two hands: the whole family ends."""
        if session_id:
            await self.db.execute(END_SESSION, session_id, "REUSED")
            await self.application.sessions.refresh()


class Logout(AuthHandler):
    @endpoint(USER)
    async def post(self) -> None:
        """End this session; its sockets close on every instance."""
        await self.db.execute(END_SESSION, self.caller.session_id, "LOGGED_OUT")
        await self.application.sessions.refresh()
        self.clear_cookie(REFRESH_COOKIE, path=REFRESH_PATH)
        self.reply(message="You are signed out")


class LogoutAll(AuthHandler):
    @endpoint(USER)
    async def post(self) -> None:
        """End all sessions of the caller, this one included."""
        await end_sessions(self.db, self.caller.id, "LOGGED_OUT")
        await self.application.sessions.refresh()
        self.clear_cookie(REFRESH_COOKIE, path=REFRESH_PATH)
        self.reply(message="You are signed out everywhere")


FIND_RESETTABLE = """
    select id, name from users
    where lower(email) = $1 and email_verified_at is not null and status = 'ACTIVE'
"""


class ForgotPassword(AuthHandler):
    """Also the second request for a code: a new one replaces the first."""

    @endpoint(PUBLIC, body=ByEmail)
    async def post(self, body: ByEmail) -> None:
        """Mail a code to reset the password with; the answer is the same for every address."""
        await self.count_code_mail(body.email)
        async with self.db.transaction() as tx:
            user = await tx.fetchrow(FIND_RESETTABLE, body.email)
            if user:
                await self.send_code(tx, user["id"], body.email, "RESET", name=user["name"])
        message = "If there is an account with this address, a code is on its way."
        self.reply({"email": body.email}, message=message, email=body.email)


class VerifyForgotOtp(AuthHandler):
    @endpoint(PUBLIC, body=ByCode)
    async def post(self, body: ByCode) -> None:
        """Check a reset code; it stays usable once, for the reset itself."""
        async with self.attempt(body.email):
            async with self.db.transaction() as tx:
                user_id = await self.use_code(tx, body, "RESET", use=False)
            if user_id is None:
                raise self.wrong_code()
        self.reply({"email": body.email}, message="The code is right. Please choose a new password.", email=body.email)


SET_PASSWORD = "update users set password_hash = $2, updated_at = now() where id = $1 returning name"  # noqa: S105


class ResetForgottenPassword(AuthHandler):
    @endpoint(PUBLIC, body=ResetPassword)
    async def post(self, body: ResetPassword) -> None:
        """Set a new password with a reset code; all sessions end."""
        fault = weakness(body.new_password, body.email)
        if fault:
            raise Invalid([{"field": "newPassword", "message": fault}])
        async with self.attempt(body.email):
            password_hash = await self.services.passwords.hash(body.new_password)
            async with self.db.transaction() as tx:
                user_id = await self.use_code(tx, body, "RESET")
                if user_id is not None:
                    name = await tx.fetchval(SET_PASSWORD, user_id, password_hash)
                    await end_sessions(tx, user_id, "PASSWORD_CHANGED")
                    changed_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
                    await self.mail(tx, body.email, "password_changed", name=name, changed_at=changed_at)
            if user_id is None:
                raise self.wrong_code()
        await self.application.sessions.refresh()
        self.reply(message="Your password is changed. You can sign in now.")


routes = [
    ("/auth/signup/influencer", SignUpInfluencer),
    ("/auth/signup/salon", SignUpSalon),
    ("/auth/verify-otp", VerifyOtp),
    ("/auth/resend-otp", ResendOtp),
    ("/auth/login", Login),
    ("/auth/refresh", RefreshTokens),
    ("/auth/logout", Logout),
    ("/auth/logout-all", LogoutAll),
    ("/auth/forgot-password", ForgotPassword),
    ("/auth/resend-forgot-otp", ForgotPassword),
    ("/auth/verify-forgot-otp", VerifyForgotOtp),
    ("/auth/reset-password", ResetForgottenPassword),
]
