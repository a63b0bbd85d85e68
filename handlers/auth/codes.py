"""Codes by mail, shared by sign-up, sign-in and password reset."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from db.errors import BadRequest
from db.pool import Transaction
from db.queries.otps import OTP_MINUTES, Purpose
from db.queries.sign_ups import SignUp
from db.schemas.fields import Body, Code, Email
from handlers.auth.attempts import AttemptHandler
from services.security.priority_threads import TooBusy
from services.security.rate_limit import Claim


class EmailAddress(Body):
    """An e-mail."""

    email: Email


class EmailCode(EmailAddress):
    """An e-mail and the code that was mailed to it."""

    otp: Code


class CodeHandler(AttemptHandler):
    async def count_code_mail(self, email: str) -> None:
        """Count a mail with a code, per e-mail and network together, and per e-mail."""
        await self.count(self.code_mail_claims(email), "Too many codes were requested; please try again later")

    @asynccontextmanager
    async def count_sign_up(self, email: str) -> AsyncIterator[None]:
        """Count a sign-up per network, and its mail. It does not count if the server was too busy to serve it."""
        sign_up = [self.network_claim("limit_sign_up")]
        await self.count(sign_up, "Too many sign-ups came from your network; please try again later")
        await self.count_code_mail(email)
        try:
            yield
        except TooBusy:
            for claims in (sign_up, self.code_mail_claims(email)):
                await self.services.rate_limits.give_back(claims)
            raise

    def code_mail_claims(self, email: str) -> list[Claim]:
        return [
            Claim(f"mail:{email}", f"limit_otp_mail:{self.network}", self.limit("limit_otp_mail")),
            Claim(f"mail:{email}", "limit_otp_mail_email", self.limit("limit_otp_mail_email")),
        ]

    def new_code(self, email: str, purpose: Purpose) -> tuple[str, bytes]:
        """Return a new code, and its digest to store."""
        code = self.services.otps.new()
        return code, self.services.otps.digest(email, purpose, code)

    async def mail_sign_up_code(self, tx: Transaction, email: str, sign_up: SignUp, code: str) -> None:
        """Queue the mail with the code of a sign-up; it names the sign-up's name, role and device."""
        signed_up_at = sign_up.created_at.strftime("%Y-%m-%d %H:%M UTC")
        about = {"name": sign_up.name, "role": sign_up.role.lower(), "device": sign_up.device}
        await self.mail(tx, email, "verify", code=code, minutes=str(OTP_MINUTES), signed_up_at=signed_up_at, **about)

    def reply_message(self, message: str, **fields: object) -> None:
        """Reply with a sentence and fields, both in `data` and at the top level."""
        self.reply({"message": message, **fields}, message=message, **fields)  # type: ignore[arg-type]

    def wrong_code(self, attempts_left: int) -> BadRequest:
        return BadRequest(
            "The code is wrong or has expired",
            "Please check the code, or request a new one.",
            code="INVALID_OTP",
            attemptsLeft=attempts_left,
        )
