"""Sign-up, proving an e-mail address, and forgotten passwords."""

from datetime import UTC, datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AliasChoices, Field

from db.errors import EmailTaken, Invalid
from db.pool import Transaction
from db.queries.otps import OTP_MINUTES, count_attempt, lock_attempts, put_reset_code, start_attempts, try_reset_code
from db.queries.profiles import Name
from db.queries.sessions import end_sessions
from db.queries.sign_ups import NewSignUp, add_sign_up, confirm_by_code, count_wrong_code, find_sign_up, renew_code
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Body, Email, Line, PhoneNo
from db.schemas.shape import Shape
from db.schemas.words import Role
from handlers.auth.codes import CodeHandler, EmailAddress, EmailCode
from handlers.auth.passwords import ChosenPassword
from handlers.http.endpoint import PUBLIC, endpoint
from services.mail.devices import kind_of_device
from services.security.passwords import weakness


class SignUpForm(Body):
    """A new account."""

    name: Name
    email: Email
    password: ChosenPassword
    phone_no: Annotated[PhoneNo | None, BlankAsNone] = None
    terms_accepted: Literal[True] = Field(
        validation_alias=AliasChoices("termsAccepted", "acceptTerms"),
        description="Whether the terms of service are accepted; also read from `acceptTerms`",
        examples=[True],
    )


# The `signUpToken` from the answer to a sign-up, which identifies that sign-up.
SignUpToken = Annotated[
    Annotated[str, Line(100)] | None,
    BlankAsNone,
    about("From the answer to a sign-up; then only that sign-up counts", "d4c3b2a1-0f9e-4d8c-9b7a-6f5e4d3c2b1a"),
]


class SignUpCode(EmailCode):
    """The code that verifies an e-mail."""

    sign_up_token: SignUpToken = None


class ResendCode(EmailAddress):
    """The sign-up whose code is mailed again."""

    sign_up_token: SignUpToken = None


class ResetPassword(EmailCode):
    """A new password, with the code that was mailed."""

    new_password: ChosenPassword


class SignedUp(Shape):
    """The new account, whose e-mail is not verified yet."""

    user_id: UUID = facts.USER_ID
    email: str = facts.EMAIL
    sign_up_token: str = about(
        "Identifies this sign-up; may be sent with `verifyEmail` and `resendVerificationCode`",
        "d4c3b2a1-0f9e-4d8c-9b7a-6f5e4d3c2b1a",
    )


class VerifiedAccount(Shape):
    """The verified account."""

    message: str = about("A sentence for people", "Your e-mail address is verified. You can sign in now.")
    role: Role = facts.ROLE


class EmailAnswer(Shape):
    """A sentence, and the e-mail of the request; it is the same whether or not the e-mail has an account."""

    message: str = about("A sentence for people", "If this address needs a code, a new one is on its way.")
    email: str = facts.EMAIL


class SignUpAs(CodeHandler):
    role: str

    async def sign_up(self, new: SignUpForm) -> None:
        fault = weakness(new.password, new.email)
        if fault:
            raise Invalid([{"field": "password", "message": fault}])
        async with self.count_sign_up(new.email):
            password_hash = await self.services.passwords.hash(new.password, self.services.otps.salt(new.email))
        device = kind_of_device(self.user_agent)
        wanted = NewSignUp(new.name, new.email, self.role, new.phone_no, password_hash, self.network, device)
        code, digest = self.new_code(new.email, "VERIFY")
        async with self.db.transaction() as tx:
            await start_attempts(tx, new.email, "VERIFY")
            sign_up = await add_sign_up(tx, wanted, digest)
            if sign_up is None:
                raise EmailTaken
            await self.mail_sign_up_code(tx, new.email, sign_up, code)
        self.reply(
            {"userId": sign_up.user_id, "email": new.email, "signUpToken": sign_up.id},
            message="Account created. Please enter the code that we have mailed to you.",
            status=201,
            userId=sign_up.user_id,
        )


class SignUpInfluencer(SignUpAs):
    role = "INFLUENCER"

    @endpoint(
        PUBLIC, body=SignUpForm, returns=SignedUp, top=("userId",), statuses=(201,), errors=("EMAIL_TAKEN", "BUSY")
    )
    async def post(self, new: SignUpForm) -> None:
        """Sign up as an influencer; the server mails a code."""
        await self.sign_up(new)


class SignUpSalon(SignUpAs):
    role = "SALON"

    @endpoint(
        PUBLIC, body=SignUpForm, returns=SignedUp, top=("userId",), statuses=(201,), errors=("EMAIL_TAKEN", "BUSY")
    )
    async def post(self, new: SignUpForm) -> None:
        """Sign up as a salon; the server mails a code."""
        await self.sign_up(new)


class VerifyOtp(CodeHandler):
    @endpoint(PUBLIC, body=SignUpCode, returns=VerifiedAccount, top=("message", "role"), errors=("INVALID_OTP",))
    async def post(self, body: SignUpCode) -> None:
        """Verify an e-mail address with the mailed code; this confirms the sign-up that the code belongs to.

        The name, role and password of that sign-up count from then on, other sign-ups with the address are deleted.
        With `signUpToken` only the code of that sign-up counts.
        """
        digest = self.services.otps.digest(body.email, "VERIFY", body.otp)
        async with self.count_failures(body.email):
            async with self.db.transaction() as tx:
                await lock_attempts(tx, body.email, "VERIFY")
                role = await confirm_by_code(tx, body.email, digest, body.sign_up_token)
                attempts_left = 0 if role else await self.count_wrong(tx, body)
            if role is None:
                raise self.wrong_code(attempts_left)
        self.reply_message("Your e-mail address is verified. You can sign in now.", role=role)

    async def count_wrong(self, tx: Transaction, body: SignUpCode) -> int:
        """Count a wrong code on all codes of the address; return the attempts left, of the token's code if there is
        one."""
        left = await count_attempt(tx, body.email, "VERIFY")
        left_by_token = await count_wrong_code(tx, body.email)
        return left_by_token.get(body.sign_up_token, 0) if body.sign_up_token else left


class ResendOtp(CodeHandler):
    @endpoint(PUBLIC, body=ResendCode, returns=EmailAnswer, top=("message", "email"))
    async def post(self, body: ResendCode) -> None:
        """Mail a new code if the address waits for one; the response is the same for every address.

        The code belongs to the newest sign-up with the address, or to the one of `signUpToken`.
        """
        await self.count_code_mail(body.email)
        code, digest = self.new_code(body.email, "VERIFY")
        async with self.db.transaction() as tx:
            await start_attempts(tx, body.email, "VERIFY")
            sign_up = await find_sign_up(tx, body.email, body.sign_up_token)
            if sign_up:
                await renew_code(tx, sign_up.id, digest)
                await self.mail_sign_up_code(tx, body.email, sign_up, code)
        self.reply_message("If this address needs a code, a new one is on its way.", email=body.email)


FIND_RESETTABLE = """
    select id, name from users
    where lower(email) = $1 and email_verified_at is not null and status = 'ACTIVE'
"""


class ForgotPassword(CodeHandler):
    """The e-mail of an account. Repeating the request replaces the code with a new one."""

    @endpoint(PUBLIC, body=EmailAddress, returns=EmailAnswer, top=("message", "email"))
    async def post(self, body: EmailAddress) -> None:
        """Mail a code to reset the password; the response is the same for every address."""
        await self.count_code_mail(body.email)
        code, digest = self.new_code(body.email, "RESET")
        async with self.db.transaction() as tx:
            await start_attempts(tx, body.email, "RESET")
            user = await tx.fetchrow(FIND_RESETTABLE, body.email)
            if user:
                await put_reset_code(tx, user["id"], digest)
                await self.mail(tx, body.email, "reset", name=user["name"], code=code, minutes=str(OTP_MINUTES))
        self.reply_message("If there is an account with this address, a code is on its way.", email=body.email)


class ResetHandler(CodeHandler):
    async def try_code(self, tx: Transaction, body: EmailCode, *, use: bool) -> tuple[str | None, int]:
        """Return whose code it is, and how many attempts are left; a wrong one is counted once this has committed."""
        digest = self.services.otps.digest(body.email, "RESET", body.otp)
        await lock_attempts(tx, body.email, "RESET")
        user_id = await try_reset_code(tx, body.email, digest, use=use)
        return user_id, 0 if user_id else await count_attempt(tx, body.email, "RESET")


class VerifyForgotOtp(ResetHandler):
    @endpoint(PUBLIC, body=EmailCode, returns=EmailAnswer, top=("message", "email"), errors=("INVALID_OTP",))
    async def post(self, body: EmailCode) -> None:
        """Check a reset code; it can still be used once, for the reset."""
        async with self.count_failures(body.email):
            async with self.db.transaction() as tx:
                user_id, attempts_left = await self.try_code(tx, body, use=False)
            if user_id is None:
                raise self.wrong_code(attempts_left)
        self.reply_message("The code is right. Please choose a new password.", email=body.email)


SET_PASSWORD = "update users set password_hash = $2, updated_at = now() where id = $1 returning name"  # noqa: S105


class ResetForgottenPassword(ResetHandler):
    @endpoint(PUBLIC, body=ResetPassword, errors=("INVALID_OTP", "BUSY"))
    async def post(self, body: ResetPassword) -> None:
        """Set a new password with a reset code; all sessions end."""
        fault = weakness(body.new_password, body.email)
        if fault:
            raise Invalid([{"field": "newPassword", "message": fault}])
        async with self.count_failures(body.email):
            password_hash = await self.services.passwords.hash(body.new_password)
            async with self.db.transaction() as tx:
                user_id, attempts_left = await self.try_code(tx, body, use=True)
                if user_id is not None:
                    name = await tx.fetchval(SET_PASSWORD, user_id, password_hash)
                    await end_sessions(tx, user_id, "PASSWORD_CHANGED")
                    changed_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
                    await self.mail(tx, body.email, "password_changed", name=name, changed_at=changed_at)
            if user_id is None:
                raise self.wrong_code(attempts_left)
        await self.application.sessions.check_now()
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
