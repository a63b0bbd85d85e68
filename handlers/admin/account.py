"""An admin's own name, e-mail address and password."""

from typing import Any

import orjson
from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from db.pool import Queries, Transaction
from db.queries.profiles import Name
from db.schemas.fields import Body, Email
from db.schemas.shapes import User
from handlers.admin.activity import AdminHandler
from handlers.auth.passwords import PasswordChange, PasswordHandler
from handlers.http.endpoint import ADMIN, endpoint

SHOW_ADMIN = f"select {User.sql('u')} from users u where u.id = $1"


class AdminAccountChanges(Body):
    """Changes of an admin's own account. The empty string counts as absent."""

    name: Name = Field(default_factory=str)
    email: Email = Field(default_factory=str)

    @model_validator(mode="before")
    @classmethod
    def drop_empty_strings(cls, sent: Any) -> Any:
        return {key: value for key, value in sent.items() if value != ""} if isinstance(sent, dict) else sent


CHANGE_ADMIN = """
    update users u set (name, email, updated_at) =
        (select c.name, c.email, now() from jsonb_populate_record(u, $2) c)
    where u.id = $1
"""


class AdminAccountHandler(AdminHandler):
    async def show(self, queries: Queries) -> orjson.Fragment:
        account: orjson.Fragment = await queries.fetchval(SHOW_ADMIN, self.caller.id)
        return account


class OwnAdminAccount(AdminAccountHandler):
    @endpoint(ADMIN, returns=User)
    async def get(self) -> None:
        """Return the admin's own account."""
        self.reply(await self.show(self.db))

    @endpoint(ADMIN, body=AdminAccountChanges, returns=User, errors=("EMAIL_TAKEN",))
    async def put(self, changes: AdminAccountChanges) -> None:
        """Change the admin's own name or e-mail address."""
        given = changes.model_dump(include=changes.model_fields_set, by_alias=False)
        async with self.db.transaction() as tx:
            if given:
                await tx.execute(CHANGE_ADMIN, self.caller.id, orjson.dumps(given).decode())
                fields = sorted(map(to_camel, given))
                await self.log(
                    tx, "PROFILE_UPDATED", "Changed their own account", target_id=self.caller.id, fields=fields
                )
            admin = await self.show(tx)
        self.reply(admin, message="Profile updated")


class OwnAdminPassword(PasswordHandler, AdminAccountHandler):
    @endpoint(ADMIN, body=PasswordChange, errors=("WRONG_PASSWORD", "BUSY"))
    async def put(self, body: PasswordChange) -> None:
        """Change the admin's own password; all other sessions end."""
        await self.change_password(body)

    async def note_change(self, tx: Transaction) -> None:
        await self.log(tx, "PASSWORD_RESET", "Changed their own password", target_id=self.caller.id)


routes = [
    ("/admin/profile", OwnAdminAccount),
    ("/admin/password", OwnAdminPassword),
]
