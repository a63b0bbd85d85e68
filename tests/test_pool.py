"""PostgreSQL away and a defect of ours are told apart: the one is a 503 that comes and goes, the other a logged 500."""

import asyncpg
import pytest

from db.pool import Database, DatabaseUnavailable

DEFECTS = {"too few arguments": ("select $1::int",), "too many arguments": ("select 1", 1)}

END_ME = "select pg_terminate_backend(pg_backend_pid())"


@pytest.mark.parametrize("name", DEFECTS)
async def test_wrong_arguments_are_a_defect(db, name: str):
    with pytest.raises(asyncpg.InterfaceError):
        await db.fetch(*DEFECTS[name])
    with pytest.raises(asyncpg.InterfaceError):
        async with db.transaction() as tx:
            await tx.fetch(*DEFECTS[name])
    assert await db.fetchval("select 1") == 1


async def test_a_dead_connection_is_unavailable(db):
    with pytest.raises(DatabaseUnavailable):
        await db.fetch(END_ME)
    with pytest.raises(DatabaseUnavailable):
        async with db.transaction() as tx:
            with pytest.raises(asyncpg.PostgresError):
                await tx.fetch(END_ME)
            await tx.fetch("select 1")  # an InterfaceError: the connection is closed
    assert await db.fetchval("select 1") == 1


async def test_a_closed_pool_is_unavailable(db, servers):
    closed = await Database.connect(servers.database_url, 1)
    await closed.close()
    with pytest.raises(DatabaseUnavailable):
        await closed.fetch("select 1")
