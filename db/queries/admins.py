"""Creation of admins: by `.venv/bin/python -m db.create_admin` or by ADMIN_EMAIL at first start, not by the API."""

from typing import Literal

from db.pool import Database, Queries

FIRST_ADMIN_LOCK = 7_203_116  # id of the advisory lock that serialises instances that start together

HAS_ADMIN = "select exists (select from users where role = 'ADMIN' and status <> 'DELETED')"

TAKE_TURNS = "select pg_advisory_xact_lock($1)"

# An existing account with this e-mail keeps its role: an account that was signed up never becomes an admin.
ADD_ADMIN = """
    insert into users (name, email, password_hash, role, email_verified_at, terms_accepted_at, onboarded_at)
    values ($1, $2, $3, 'ADMIN', now(), now(), now())
    on conflict (lower(email)) do nothing
    returning id
"""


async def has_admin(queries: Queries) -> bool:
    value: bool = await queries.fetchval(HAS_ADMIN)
    return value


async def add_admin(queries: Queries, name: str, email: str, password_hash: str) -> str | None:
    """Add an admin and return the id, or None if the e-mail is taken."""
    value: str | None = await queries.fetchval(ADD_ADMIN, name, email, password_hash)
    return value


async def add_first_admin(
    database: Database, name: str, email: str, password_hash: str
) -> Literal["ADDED", "NOT_NEEDED", "ADDRESS_TAKEN"]:
    """Add an admin if there is none. Only one of several instances that start together adds it."""
    async with database.transaction() as tx:
        await tx.execute(TAKE_TURNS, FIRST_ADMIN_LOCK)
        if await has_admin(tx):
            return "NOT_NEEDED"
        return "ADDED" if await add_admin(tx, name, email, password_hash) else "ADDRESS_TAKEN"
