"""Which migrations this release has and which ones the database has, without yoyo: most starts have none to apply."""

from pathlib import Path

import asyncpg

from db.address import Address
from db.connect import CONNECT_SECONDS, Connector
from db.pool import UNAVAILABLE, DatabaseUnavailable

FOLDER = Path(__file__).parent.parent / "sql"
LIST_APPLIED = "select migration_id from _yoyo_migration"


def migration_ids() -> set[str]:
    """Return the ids of the migrations that this version of the server needs."""
    return {path.stem for path in FOLDER.glob("*.sql") if not path.name.endswith(".rollback.sql")}


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
