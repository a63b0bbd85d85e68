"""Which migrations this release has and which ones the database has, without yoyo: most starts have none to apply."""

import asyncio
from pathlib import Path

import asyncpg

from db.address import Address
from db.connect import CONNECT_SECONDS, Connector
from db.pool import UNAVAILABLE, Database, DatabaseUnavailable

FOLDER = Path(__file__).parent.parent / "sql"
LIST_APPLIED = "select migration_id from _yoyo_migration"
READY_SECONDS = 2.0  # load balancers and Prometheus wait longer than that


def migration_ids() -> set[str]:
    """Return the ids of the migrations that this version of the server needs."""
    return {path.stem for path in FOLDER.glob("*.sql") if not path.name.endswith(".rollback.sql")}


# Read once: a newer version that is unpacked in this folder for the next restart does not concern this process.
MIGRATIONS = migration_ids()


async def check_database(db: Database) -> tuple[bool, bool]:
    """Return whether PostgreSQL takes writes, and whether it has all migrations of this version."""
    try:
        async with asyncio.timeout(READY_SECONDS):
            await db.check_writes()
            applied = {row["migration_id"] for row in await db.fetch(LIST_APPLIED)}
    except (DatabaseUnavailable, TimeoutError):
        return False, False
    return True, applied >= MIGRATIONS


async def has_all_migrations(database_url: str) -> bool:
    """Return whether the database has exactly the migrations of this release. Raises DatabaseUnavailable."""
    try:
        conn = await Connector(Address.parse(database_url))()
        try:
            applied = {row["migration_id"] for row in await conn.fetch(LIST_APPLIED, timeout=CONNECT_SECONDS)}
        finally:
            await conn.close(timeout=CONNECT_SECONDS)
    except asyncpg.UndefinedTableError:  # an empty database
        return False
    except UNAVAILABLE as error:
        raise DatabaseUnavailable from error
    return applied == migration_ids()
