"""What the public routes of sign-up and sign-in share: codes by mail."""

from typing import Annotated

from db.fields import Body, Email, Line
from db.otps import Purpose, put_otp, try_otp
from db.pool import Transaction
from handlers.attempts import AttemptHandler
from handlers.errors import BadRequest
from services.otps import OTP_ATTEMPTS, OTP_MINUTES
from services.rate_limit import Claim

Code = Annotated[str, Line(20)]


class ByEmail(Body):
    email: Email


class ByCode(ByEmail):
    otp: Code


class CodeHandler(AttemptHandler):
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

    def tell(self, message: str, **fields: object) -> None:
        """A sentence and its fields, in `data` and at the top level."""
        self.reply({"message": message, **fields}, message=message, **fields)  # type: ignore[arg-type]

    def wrong_code(self) -> BadRequest:
        return BadRequest("The code is wrong or has expired", code="INVALID_OTP", attemptsLeft=self.attempts_left)
