"""Influencers and salons for admins, who list and change them. Admins and deleted accounts are a 404 here."""

from datetime import datetime
from typing import Annotated, Any, Literal, get_args

import asyncpg
import orjson
from pydantic import AliasChoices, ConfigDict, Field, JsonValue
from pydantic.alias_generators import to_camel

from db.errors import Conflict, Invalid, NotFound
from db.pool import Queries
from db.queries.directory import COUNT_DIRECTORY, SORTS, list_directory
from db.queries.profiles import Bio, BusinessName, Description, Name
from db.queries.search import WALK, WALK_NUMBERED
from db.queries.sessions import end_sessions
from db.queries.sign_ups import delete_sign_ups
from db.schemas import facts
from db.schemas.admin import AdminUser
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Body, Email, Id, Line, PhoneNo, Region, Text
from db.schemas.words import Role, UserStatus
from handlers.admin.activity import AdminHandler
from handlers.auth.passwords import ChosenPassword
from handlers.files import FileHandler
from handlers.http.endpoint import ADMIN, NumberedPaging, endpoint
from handlers.http.paging import Cursor, PageOf, Window, fetch_page, window
from services.security.passwords import weakness

SortBy = Literal["createdAt", "name", "email"]
SortOrder = Literal["asc", "desc"]


class UserList:
    """A sort order of users, with its statements for early and later pages and its cursors."""

    def __init__(self, sort_by: SortBy, order: SortOrder) -> None:
        self.name, sort = f"{sort_by} {order}", SORTS[sort_by, order]
        self.cursor = Cursor(Literal[self.name], datetime if sort_by == "createdAt" else str, Id)
        self.near = list_directory(self.name, sort, AdminUser.sql("u"), WALK)
        self.deep = list_directory(self.name, sort, AdminUser.sql("u"), WALK_NUMBERED)

    async def page(self, queries: Queries, asked: Window, *sought: Any) -> PageOf:
        arguments = (*sought, *asked.key[1:], asked.fetch, asked.offset)
        statement = self.deep if asked.offset else self.near
        return await fetch_page(queries, asked, self.cursor, statement, COUNT_DIRECTORY, *arguments)


LISTS = {(sort, order): UserList(sort, order) for sort in get_args(SortBy) for order in get_args(SortOrder)}


UserSearch = Annotated[str, Line(100), about("A part of the name or e-mail", "hanako")]
Verified = Annotated[bool, about("Only accounts that are verified and active, or only the others", True)]


class UserQuery(NumberedPaging):
    search: Annotated[UserSearch | None, BlankAsNone] = None
    role: Annotated[Role, about("Only accounts of this kind", "SALON")] | None = None
    status: Annotated[UserStatus, about("Only accounts with this status", "ACTIVE")] | None = None
    verified: Verified | None = None
    sort_by: Annotated[SortBy, about("What to sort by", "name")] = "createdAt"
    sort_order: Annotated[SortOrder, about("Ascending or descending", "asc")] = "desc"


class Details(Body):
    """Profile fields that an admin may set. A profile stores the fields of its role; `''` clears a field."""

    phone_no: Annotated[PhoneNo | None, BlankAsNone] = Field(
        None, validation_alias=AliasChoices("phoneNumber", "phoneNo")
    )
    bio: Annotated[Bio | None, BlankAsNone] = None
    region: Annotated[Region | None, BlankAsNone] = None
    business_name: Annotated[BusinessName | None, BlankAsNone] = None
    description: Annotated[Description | None, BlankAsNone] = None

    def given(self) -> dict[str, Any]:
        """Return columns and values of the fields that were sent."""
        return self.model_dump(include=self.model_fields_set, by_alias=False)


# A salon has fields of a salon only.
EXAMPLE: dict[str, JsonValue] = {
    "name": facts.SALON_USER["name"],
    "email": facts.SALON_USER["email"],
    "password": facts.PASSWORD.examples[0],
    "role": "SALON",
    "businessName": facts.BUSINESS_NAME.examples[0],
    "region": "tokyo",
}


class NewUser(Details):
    """A new account, created by an admin: verified, with the terms accepted."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    name: Name
    email: Email
    password: ChosenPassword
    role: Literal["INFLUENCER", "SALON"] = about("Kind of the account", "SALON")


class UserChanges(Details):
    """Changes of an account, made by an admin. An absent field is unchanged; `''` and null clear a profile field."""

    name: Name = Field(default_factory=str)
    email: Email = Field(default_factory=str)


Reason = Annotated[str, Text(1000), about("The reason, for the activity log", "Spam in connection requests")]


class Suspension(Body):
    """Why an account is suspended."""

    reason: Annotated[Reason | None, BlankAsNone] = None


SHOW_USER = f"""
    select {AdminUser.sql("u")} from users u where u.id = $1 and u.role <> 'ADMIN' and u.status <> 'DELETED'
"""


class UserHandler(AdminHandler, FileHandler):
    async def show(self, queries: Queries, user_id: str) -> orjson.Fragment:
        user: orjson.Fragment | None = await queries.fetchval(SHOW_USER, user_id)
        if user is None:
            raise NotFound("User")
        return user


ADD_USER = """
    with added as (
        insert into users (name, email, password_hash, role, email_verified_at, terms_accepted_at)
        values ($1, $2, $3, $4, now(), now())
        returning id, role
    ), influencer as (
        insert into influencers (user_id, phone_no, bio, region)
        select a.id, d.phone_no, d.bio, d.region from added a, jsonb_populate_record(null::influencers, $5) d
        where a.role = 'INFLUENCER'
    ), salon as (
        insert into salons (user_id, phone_no, business_name, description, region)
        select a.id, d.phone_no, d.business_name, d.description, d.region
        from added a, jsonb_populate_record(null::salons, $5) d
        where a.role = 'SALON'
    )
    select id from added
"""


class Users(UserHandler):
    @endpoint(ADMIN, query=UserQuery, returns=list[AdminUser])
    async def get(self, query: UserQuery) -> None:
        """List influencers and salons; `search` matches name, e-mail and business name."""
        listed = LISTS[query.sort_by, query.sort_order]
        asked, sought = window(query, listed.cursor), (query.search, query.role, query.status, query.verified)
        self.reply_page(await listed.page(self.db, asked, *sought))

    @endpoint(ADMIN, body=NewUser, returns=AdminUser, statuses=(201,), errors=("EMAIL_TAKEN", "BUSY"))
    async def post(self, new: NewUser) -> None:
        """Create a verified account that can sign in at once."""
        fault = weakness(new.password, new.email)
        if fault:
            raise Invalid([{"field": "password", "message": fault}])
        password_hash = await self.services.passwords.hash(new.password)
        details = as_json(Details.model_validate(new, from_attributes=True).given())
        async with self.db.transaction() as tx:
            user_id = await tx.fetchval(ADD_USER, new.name, new.email, password_hash, new.role, details)
            await self.log(tx, "USER_CREATED", f"Created {new.name} ({new.email})", target_id=user_id, role=new.role)
            user = await self.show(tx, user_id)
        self.reply(user, message="User created", status=201)


def as_json(columns: dict[str, Any]) -> str:
    return orjson.dumps(columns).decode()


# An absent field keeps its value; a cleared one becomes null.
CHANGE_USER = """
    with changed as (
        update users u set (name, email, updated_at) =
            (select c.name, c.email, now() from jsonb_populate_record(u, $2) c)
        where u.id = $1 and u.role <> 'ADMIN' and u.status <> 'DELETED'
        returning u.id, u.name, u.email
    ), influencer as (
        update influencers i set (phone_no, bio, region, updated_at) =
            (select c.phone_no, c.bio, c.region, now() from jsonb_populate_record(i, $2) c)
        where i.user_id in (select id from changed)
    ), salon as (
        update salons s set (phone_no, business_name, description, region, updated_at) =
            (select c.phone_no, c.business_name, c.description, c.region, now() from jsonb_populate_record(s, $2) c)
        where s.user_id in (select id from changed)
    )
    select name, email from changed
"""


class OneUser(UserHandler):
    @endpoint(ADMIN, returns=AdminUser)
    async def get(self, user_id: str) -> None:
        """Return one influencer or salon."""
        self.reply(await self.show(self.db, user_id))

    @endpoint(ADMIN, body=UserChanges, returns=AdminUser, errors=("EMAIL_TAKEN",))
    async def put(self, user_id: str, changes: UserChanges) -> None:
        """Change name, e-mail or profile; absent fields keep their values, `''` and null clear."""
        given = changes.given()
        async with self.db.transaction() as tx:
            if given:
                changed = await tx.fetchrow(CHANGE_USER, user_id, as_json(given))
                if changed is None:
                    raise NotFound("User")
                description = f"Updated {changed['name']} ({changed['email']})"
                await self.log(tx, "USER_UPDATED", description, target_id=user_id, fields=sorted(map(to_camel, given)))
            user = await self.show(tx, user_id)
        self.reply(user, message="User updated")

    @endpoint(ADMIN)
    async def delete(self, user_id: str) -> None:
        """Delete an account; its conversations stay readable for the other participants."""
        async with self.db.transaction() as tx:
            await self.show(tx, user_id)
            gone = await self.delete_account(tx, user_id)
            if gone is None:
                raise NotFound("User")
            await self.log(
                tx,
                "USER_DELETED",
                f"Deleted {gone.name} ({gone.email})",
                target_id=user_id,
                target_name=gone.name,
                target_email=gone.email,
            )
        self.reply(message="User deleted")


SUSPEND_USER = """
    update users set status = 'SUSPENDED', updated_at = now()
    where id = $1 and role <> 'ADMIN' and status = 'ACTIVE'
    returning name, email
"""


class SuspendUser(UserHandler):
    @endpoint(ADMIN, body=Suspension, returns=AdminUser, errors=("CONFLICT",))
    async def patch(self, user_id: str, suspension: Suspension) -> None:
        """Suspend an account; its sessions end and its sockets close within a second."""
        async with self.db.transaction() as tx:
            suspended = await tx.fetchrow(SUSPEND_USER, user_id)
            if suspended is None:
                await self.show(tx, user_id)
                raise Conflict("This account is already suspended; please reload the list of users")
            await end_sessions(tx, user_id, "SUSPENDED")
            about = {"reason": suspension.reason} if suspension.reason else {}
            description = describe("Suspended", suspended, suspension.reason)
            await self.log(tx, "USER_SUSPENDED", description, target_id=user_id, **about)
            user = await self.show(tx, user_id)
            tx.after_commit(self.application.sessions.check_now)
        self.reply(user, message="User suspended")


def describe(verb: str, user: asyncpg.Record, reason: str | None = None) -> str:
    return f"{verb} {user['name']} ({user['email']})" + (f": {reason}" if reason else "")


ACTIVATE_USER = """
    update users
    set status = 'ACTIVE', email_verified_at = coalesce(email_verified_at, now()), updated_at = now()
    where id = $1 and role <> 'ADMIN'
        and (status = 'SUSPENDED' or (status = 'ACTIVE' and email_verified_at is null))
    returning name, email
"""


class UnsuspendUser(UserHandler):
    @endpoint(ADMIN, returns=AdminUser, errors=("CONFLICT",))
    async def patch(self, user_id: str) -> None:
        """Activate and verify a suspended or unverified account.

        For an unverified account this confirms the newest sign-up and deletes the others.
        """
        async with self.db.transaction() as tx:
            activated = await tx.fetchrow(ACTIVATE_USER, user_id)
            if activated is None:
                await self.show(tx, user_id)
                raise Conflict("This account is already active; please reload the list of users")
            await delete_sign_ups(tx, user_id)  # the account already shows the data of the newest sign-up
            # A login during the suspension may have created a session, which must not become valid again.
            await end_sessions(tx, user_id, "SUSPENDED")
            await self.log(tx, "USER_ACTIVATED", describe("Activated", activated), target_id=user_id)
            user = await self.show(tx, user_id)
        self.reply(user, message="User activated")


routes = [
    ("/admin/users", Users),
    ("/admin/users/{id}", OneUser),
    ("/admin/users/{id}/suspend", SuspendUser),
    ("/admin/users/{id}/unsuspend", UnsuspendUser),
]
