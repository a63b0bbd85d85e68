"""An admin's own name, e-mail address and password."""

from datetime import UTC, datetime
from typing import Annotated, Any

import orjson
from pydantic import Field, model_validator
from pydantic.alias_generators import to_camel

from db.activity_logs import Action, Actor, log_activity
from db.fields import Body, Email, Line
from db.pool import Queries, Transaction
from db.sessions import end_sessions
from db.shapes import User
from handlers.base import Handler
from handlers.endpoint import ADMIN, endpoint
from handlers.errors import Forbidden, Invalid
from services.passwords import weakness
from services.rate_limit import Claim

SHOW_ADMIN = f"select {User.sql('u')} from users u where u.id = $1"


class AdminProfile(Body):
    """`''` counts as absent."""

    name: Annotated[str, Line(100)] = Field(default_factory=str)
    email: Email = Field(default_factory=str)

    @model_validator(mode="before")
    @classmethod
    def drop_blanks(cls, sent: Any) -> Any:
        return {key: value for key, value in sent.items() if value != ""} if isinstance(sent, dict) else sent


CHANGE_ADMIN = """
    update users u set (name, email, updated_at) =
        (select c.name, c.email, now() from jsonb_populate_record(u, $2) c)
    where u.id = $1
"""


class AccountHandler(Handler):
    async def show(self, queries: Queries) -> orjson.Fragment:
        return await queries.fetchval(SHOW_ADMIN, self.caller.id)

    async def log(self, tx: Transaction, action: Action, description: str, **metadata: Any) -> None:
        actor = Actor(self.caller.id, self.ip, self.user_agent)
        await log_activity(tx, actor, action, description, target_id=self.caller.id, metadata=metadata)


class Profile(AccountHandler):
    @endpoint(ADMIN, returns=User)
    async def get(self) -> None:
        """The admin's own account."""
        self.reply(await self.show(self.db))

    @endpoint(ADMIN, body=AdminProfile, returns=User)
    async def put(self, changes: AdminProfile) -> None:
        """Change one's own name or e-mail address."""
        given = changes.model_dump(include=changes.model_fields_set, by_alias=False)
        async with self.db.transaction() as tx:
            if given:
                await tx.execute(CHANGE_ADMIN, self.caller.id, orjson.dumps(given).decode())
                await self.log(tx, "PROFILE_UPDATED", "Changed their own account", fields=sorted(map(to_camel, given)))
            admin = await self.show(tx)
        self.reply(admin, message="Profile updated")


class NewPassword(Body):
    # What is too long for a password is refused by `weakness`, with its own sentence; this only bounds what is read.
    current_password: Annotated[str, Line(200)]
    new_password: Annotated[str, Line(200)]


FIND_PASSWORD = "select name, email, password_hash from users where id = $1"  # noqa: S105

# Of two changes at once the second finds another password than the one it was checked against.
SET_PASSWORD = """
    update users set password_hash = $2, updated_at = now() where id = $1 and password_hash = $3 returning id
"""  # noqa: S105


class WrongPassword(Forbidden):
    code = "WRONG_PASSWORD"
    error = "The current password is wrong"


class Password(AccountHandler):
    @endpoint(ADMIN, body=NewPassword)
    async def put(self, body: NewPassword) -> None:
        """Change one's own password; all other sessions end."""
        admin = await self.check_password(body.current_password)
        fault = weakness(body.new_password, admin["email"])
        if fault:
            raise Invalid([{"field": "newPassword", "message": fault}])
        password_hash = await self.services.passwords.hash(body.new_password)
        async with self.db.transaction() as tx:
            if await tx.fetchval(SET_PASSWORD, self.caller.id, password_hash, admin["password_hash"]) is None:
                raise WrongPassword
            await end_sessions(tx, self.caller.id, "PASSWORD_CHANGED", keep=self.caller.session_id)
            await self.log(tx, "PASSWORD_RESET", "Changed their own password")
            changed_at = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            await self.mail(tx, admin["email"], "password_changed", name=admin["name"], changed_at=changed_at)
            tx.after_commit(self.application.sessions.refresh)
        self.reply(message="Your password is changed")

    async def check_password(self, password: str) -> Any:
        """The account, if the password is right. Wrong ones are counted as at sign-in: a stolen token guesses no more
        often than anybody else. They are counted beforehand, so that many at once gain nothing."""
        claims = [Claim(f"user:{self.caller.id}", "limit_auth", self.limit("limit_auth"))]
        await self.take(claims, "Too many failed attempts; please try again later")
        right = None
        try:
            admin = await self.db.fetchrow(FIND_PASSWORD, self.caller.id)
            assert admin is not None
            right = await self.services.passwords.matches(password, admin["password_hash"])
        finally:
            if right is not False:
                await self.services.rate_limits.give_back(claims)
        if not right:
            raise WrongPassword
        return admin


routes = [
    ("/admin/profile", Profile),
    ("/admin/password", Password),
]
