"""Sign-up, proving an e-mail address, and forgotten passwords."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AliasChoices, Field

from db.fields import BlankAsNone, Body, Email, Line
from db.sessions import end_sessions
from db.shapes import Role, Shape
from handlers.codes import ByCode, ByEmail, CodeHandler
from handlers.endpoint import PUBLIC, endpoint
from handlers.errors import EmailTaken, Invalid
from handlers.passwords import Password
from services.passwords import weakness


class SignUp(Body):
    name: Annotated[str, Line(100)]
    email: Email
    password: Password
    phone_no: Annotated[Annotated[str, Line(30)] | None, BlankAsNone] = None
    terms_accepted: Literal[True] = Field(validation_alias=AliasChoices("termsAccepted", "acceptTerms"))


class ResetPassword(ByCode):
    new_password: Password


class SignedUp(Shape):
    user_id: UUID
    email: str


class Verified(Shape):
    message: str
    role: Role


class Mailed(Shape):
    message: str
    email: str


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


class SignUpAs(CodeHandler):
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
                raise EmailTaken
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

    @endpoint(PUBLIC, body=SignUp, returns=SignedUp, top=("userId",), statuses=(201,))
    async def post(self, new: SignUp) -> None:
        """Sign up as an influencer; a code is mailed."""
        await self.sign_up(new)


class SignUpSalon(SignUpAs):
    role, add_profile = "SALON", ADD_SALON

    @endpoint(PUBLIC, body=SignUp, returns=SignedUp, top=("userId",), statuses=(201,))
    async def post(self, new: SignUp) -> None:
        """Sign up as a salon; a code is mailed."""
        await self.sign_up(new)


VERIFY_USER = """
    update users set email_verified_at = coalesce(email_verified_at, now()), updated_at = now()
    where id = $1 returning role
"""


class VerifyOtp(CodeHandler):
    @endpoint(PUBLIC, body=ByCode, returns=Verified, top=("message", "role"))
    async def post(self, body: ByCode) -> None:
        """Prove an e-mail address with the mailed code."""
        async with self.attempt(body.email):
            async with self.db.transaction() as tx:
                user_id = await self.use_code(tx, body, "VERIFY")
                role = user_id and await tx.fetchval(VERIFY_USER, user_id)
            if user_id is None:
                raise self.wrong_code()
        self.tell("Your e-mail address is verified. You can sign in now.", role=role)


FIND_UNVERIFIED = """
    select id, name, role from users
    where lower(email) = $1 and email_verified_at is null and status = 'ACTIVE'
"""


class ResendOtp(CodeHandler):
    @endpoint(PUBLIC, body=ByEmail, returns=Mailed, top=("message", "email"))
    async def post(self, body: ByEmail) -> None:
        """Mail a new code where one is due; the answer is the same for every address."""
        await self.count_code_mail(body.email)
        async with self.db.transaction() as tx:
            user = await tx.fetchrow(FIND_UNVERIFIED, body.email)
            if user:
                params = {"name": user["name"], "role": user["role"].lower()}
                await self.send_code(tx, user["id"], body.email, "VERIFY", **params)
        self.tell("If this address awaits a code, a new one is on its way.", email=body.email)


FIND_RESETTABLE = """
    select id, name from users
    where lower(email) = $1 and email_verified_at is not null and status = 'ACTIVE'
"""


class ForgotPassword(CodeHandler):
    """Also the second request for a code: a new one replaces the first."""

    @endpoint(PUBLIC, body=ByEmail, returns=Mailed, top=("message", "email"))
    async def post(self, body: ByEmail) -> None:
        """Mail a code to reset the password with; the answer is the same for every address."""
        await self.count_code_mail(body.email)
        async with self.db.transaction() as tx:
            user = await tx.fetchrow(FIND_RESETTABLE, body.email)
            if user:
                await self.send_code(tx, user["id"], body.email, "RESET", name=user["name"])
        self.tell("If there is an account with this address, a code is on its way.", email=body.email)


class VerifyForgotOtp(CodeHandler):
    @endpoint(PUBLIC, body=ByCode, returns=Mailed, top=("message", "email"))
    async def post(self, body: ByCode) -> None:
        """Check a reset code; it stays usable once, for the reset itself."""
        async with self.attempt(body.email):
            async with self.db.transaction() as tx:
                user_id = await self.use_code(tx, body, "RESET", use=False)
            if user_id is None:
                raise self.wrong_code()
        self.tell("The code is right. Please choose a new password.", email=body.email)


SET_PASSWORD = "update users set password_hash = $2, updated_at = now() where id = $1 returning name"  # noqa: S105


class ResetForgottenPassword(CodeHandler):
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
    ("/auth/forgot-password", ForgotPassword),
    ("/auth/resend-forgot-otp", ForgotPassword),
    ("/auth/verify-forgot-otp", VerifyForgotOtp),
    ("/auth/reset-password", ResetForgottenPassword),
]
