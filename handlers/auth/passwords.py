"""Check and change the caller's own password, for users and admins."""

from datetime import UTC, datetime
from typing import Annotated

import asyncpg
from pydantic import Field, JsonValue

from db.errors import Forbidden, Invalid, NotAuthenticated
from db.pool import Transaction
from db.queries.sessions import end_sessions
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.fields import Body, Line
from handlers.auth.attempts import AttemptHandler
from services.security.passwords import MAX_BYTES, MIN_BYTES, weakness

# Only compared, so a password that is too long is simply wrong.
Password = Annotated[str, Line(200), about("The present password", "correct-horse-battery")]
# `weakness` checks the rest. A schema counts characters, of which UTF-8 needs up to 4 bytes each.
SHORTEST: dict[str, JsonValue] = {"minLength": MIN_BYTES // 4}
ChosenPassword = Annotated[str, Line(MAX_BYTES), facts.PASSWORD, Field(json_schema_extra=SHORTEST)]


class PasswordChange(Body):
    """The present and the new password."""

    current_password: Password
    new_password: ChosenPassword


class WrongPassword(Forbidden):
    code = "WRONG_PASSWORD"
    error = "The current password is wrong; please enter it again"


FIND_PASSWORD = "select name, email, password_hash from users where id = $1 and status = 'ACTIVE'"  # noqa: S105

# If two changes run at once, the second one changes nothing, because the hash that it checked was replaced.
CHANGE_PASSWORD = """
    update users set password_hash = $2, updated_at = now() where id = $1 and password_hash = $3 returning id
"""  # noqa: S105


class PasswordHandler(AttemptHandler):
    async def check_password(self, password: str) -> asyncpg.Record:
        """Return the caller's account if the password is right. Wrong ones count as at sign-in, so a stolen token
        allows no more guesses than without a token."""
        async with self.reserve_attempt([self.user_claim("limit_auth")]):
            account = await self.db.fetchrow(FIND_PASSWORD, self.caller.id)
            if account is None:
                raise NotAuthenticated
            if not await self.services.passwords.matches(password, account["password_hash"]):
                raise WrongPassword
        return account

    async def change_password(self, body: PasswordChange) -> None:
        """Set a new password, end every other session, and send a mail about it."""
        account = await self.check_password(body.current_password)
        fault = weakness(body.new_password, account["email"])
        if fault:
            raise Invalid([{"field": "newPassword", "message": fault}])
        password_hash = await self.services.passwords.hash(body.new_password)
        async with self.db.transaction() as tx:
            if await tx.fetchval(CHANGE_PASSWORD, self.caller.id, password_hash, account["password_hash"]) is None:
                raise WrongPassword
            await end_sessions(tx, self.caller.id, "PASSWORD_CHANGED", keep=self.caller.session_id)
            await self.note_change(tx)
            changed_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            await self.mail(tx, account["email"], "password_changed", name=account["name"], changed_at=changed_at)
            tx.after_commit(self.application.sessions.check_now)
        self.reply(message="Your password is changed")

    async def note_change(self, tx: Transaction) -> None:
        """Add to the transaction of a change, in subclasses."""
