"""The caller's own account: settings, password, deletion."""

from db.errors import NotAuthenticated
from db.schemas.fields import Body
from db.schemas.profiles import AccountSettings
from handlers.auth.passwords import Password, PasswordChange, PasswordHandler
from handlers.files import FileHandler
from handlers.http.base import Handler
from handlers.http.endpoint import MEMBER, USER, endpoint

GET_SETTINGS = f"select {AccountSettings.sql('u')} from users u where u.id = $1"


class OwnSettings(Handler):
    @endpoint(USER, returns=AccountSettings)
    async def get(self) -> None:
        """Return the caller's account settings; the profile has a route of its own."""
        self.reply(await self.db.fetchval(GET_SETTINGS, self.caller.id))


class ChangePassword(PasswordHandler):
    @endpoint(USER, body=PasswordChange, errors=("WRONG_PASSWORD", "BUSY"))
    async def post(self, body: PasswordChange) -> None:
        """Change the caller's password; every other session ends."""
        await self.change_password(body)


class OwnPassword(Body):
    """The caller's password."""

    password: Password


class DeleteAccount(PasswordHandler, FileHandler):
    @endpoint(MEMBER, body=OwnPassword, errors=("WRONG_PASSWORD", "BUSY"))
    async def delete(self, body: OwnPassword) -> None:
        """Delete the caller's account; its conversations stay readable for the other participants."""
        await self.check_password(body.password)
        async with self.db.transaction() as tx:
            if await self.delete_account(tx, self.caller.id) is None:
                raise NotAuthenticated
        self.reply(message="Your account is deleted")


routes = [
    ("/profile/settings/me", OwnSettings),
    ("/profile/change-password", ChangePassword),
    ("/profile/delete-account", DeleteAccount),
]
