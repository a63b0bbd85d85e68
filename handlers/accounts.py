"""One's own account: settings, password, and its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated

from db.fields import Body, Line
from db.pool import Queries
from db.sessions import end_sessions
from db.shapes_profiles import AccountSettings
from handlers.base import Handler
from handlers.endpoint import MEMBER, USER, endpoint
from handlers.errors import ApiError, Forbidden, Invalid, NotAuthenticated
from handlers.files import FileHandler
from services.passwords import weakness
from services.rate_limit import Claim

GET_SETTINGS = f"select {AccountSettings.sql('u')} from users u where u.id = $1"


class Settings(Handler):
    @endpoint(USER, returns=AccountSettings)
    async def get(self) -> None:
        """The caller's account, apart from what the profile says."""
        self.reply(await self.db.fetchval(GET_SETTINGS, self.caller.id))


# Long passwords are refused by `weakness`, with its own sentence; this only bounds what is read.
Password = Annotated[str, Line(200)]


class NewPassword(Body):
    current_password: Password
    new_password: Password


class OwnPassword(Body):
    password: Password


FIND_PASSWORD = "select name, email, password_hash from users where id = $1 and status = 'ACTIVE'"  # noqa: S105


class PasswordHandler(FileHandler):
    @asynccontextmanager
    async def guess(self) -> AsyncIterator[None]:
        """Whoever found an open browser does not get to try passwords for long."""
        claims = [Claim(f"user:{self.caller.id}", "limit_auth", self.limit("limit_auth"))]
        await self.take(claims, "Too many wrong passwords; please try again later")
        try:
            yield
        except ApiError as error:
            if error.code != "WRONG_PASSWORD":
                await self.services.rate_limits.give_back(claims)
            raise
        await self.services.rate_limits.give_back(claims)

    async def check_password(self, queries: Queries, password: str):
        """The caller's account, if this is its password."""
        account = await queries.fetchrow(FIND_PASSWORD, self.caller.id)
        if account is None:
            raise NotAuthenticated
        async with self.guess():
            if not await self.services.passwords.matches(password, account["password_hash"]):
                raise wrong_password()
        return account


def wrong_password() -> Forbidden:
    return Forbidden("The current password is wrong", code="WRONG_PASSWORD")


# Only while the password is still the one that was checked.
CHANGE_PASSWORD = """
    update users set password_hash = $2, updated_at = now() where id = $1 and password_hash = $3 returning id
"""  # noqa: S105


class ChangePassword(PasswordHandler):
    @endpoint(USER, body=NewPassword)
    async def post(self, body: NewPassword) -> None:
        """Set a new password; every other session ends."""
        account = await self.check_password(self.db, body.current_password)
        fault = weakness(body.new_password, account["email"])
        if fault:
            raise Invalid([{"field": "newPassword", "message": fault}])
        password_hash = await self.services.passwords.hash(body.new_password)
        async with self.db.transaction() as tx:
            if not await tx.fetchval(CHANGE_PASSWORD, self.caller.id, password_hash, account["password_hash"]):
                raise wrong_password()
            await end_sessions(tx, self.caller.id, "PASSWORD_CHANGED", keep=self.caller.session_id)
            changed_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            await self.mail(tx, account["email"], "password_changed", name=account["name"], changed_at=changed_at)
            tx.after_commit(self.application.sessions.refresh)
        self.reply(message="Your password is changed")


class DeleteAccount(PasswordHandler):
    @endpoint(MEMBER, body=OwnPassword)
    async def delete(self, body: OwnPassword) -> None:
        """Delete the caller's account; what others said with it stays theirs."""
        await self.check_password(self.db, body.password)
        async with self.db.transaction() as tx:
            if await self.delete_account(tx, self.caller.id) is None:
                raise NotAuthenticated
        self.reply(message="Your account is deleted")


routes = [
    ("/profile/settings/me", Settings),
    ("/profile/change-password", ChangePassword),
    ("/profile/delete-account", DeleteAccount),
]
