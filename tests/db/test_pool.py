"""The pool distinguishes an unavailable PostgreSQL (503) from a defect (a logged 500). A request holds one
connection."""

import asyncio
from collections.abc import Iterator

import asyncpg
import pytest

from db.pool import Database, DatabaseUnavailable, NoRow
from server import Instance
from tests.helpers.clients import Api

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


async def test_a_connection_plans_a_statement_once(db):
    """PostgreSQL would plan searches again for each execution, because it expects less of a plan for all parameters."""
    sql = "select count(*) from listings where $1::text is null or role = $1"
    async with db.connection() as conn:
        for role in (None, "SALON"):
            await conn.fetchval(sql, role)
        planned = "select generic_plans, custom_plans from pg_prepared_statements where statement = $1"
        assert tuple(await conn.fetchrow(planned, sql)) == (2, 0)


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


@pytest.fixture
def one_connection(io_loop, servers, instance, monkeypatch) -> Iterator[Database]:
    """Create a pool of one connection."""
    monkeypatch.setattr("db.pool.WATCH_SECONDS", 0.05)
    one_connection = io_loop.run_sync(lambda: Database.connect(servers.database_url, 1))
    yield one_connection
    io_loop.run_sync(one_connection.close)


@pytest.mark.parametrize("state", ["25006", "53000", "53100", "53200", "53300", "53400"])
async def test_a_refused_write_is_unavailable_and_its_connection_is_dropped(one_connection, state: str):
    pid = await one_connection.fetchval("select pg_backend_pid()")
    with pytest.raises(DatabaseUnavailable):
        await one_connection.execute(f"do $$ begin raise sqlstate '{state}'; end $$")
    async with asyncio.timeout(10):
        while await one_connection.fetchval("select pg_backend_pid()") == pid:
            await asyncio.sleep(0)
    with pytest.raises(DatabaseUnavailable):
        async with one_connection.transaction() as tx:
            await tx.execute(f"do $$ begin raise sqlstate '{state}'; end $$")
    assert await one_connection.fetchval("select 1") == 1


async def test_inside_a_transaction_the_pool_must_not_be_used(db):
    async def ask() -> int:
        return await db.fetchval("select 1")

    async def ask_later() -> int:
        await over.wait()
        return await ask()

    over = asyncio.Event()
    async with db.transaction() as tx:
        tx.after_commit(ask)  # allowed, because the connection is back in the pool
        with pytest.raises(RuntimeError, match="one connection"):
            await ask()
        with pytest.raises(RuntimeError, match="one connection"):
            async with db.transaction():
                pass
        with pytest.raises(RuntimeError, match="one connection"):
            await asyncio.wait_for(ask(), 5)  # in a separate task on Python 3.11
        later = asyncio.create_task(ask_later())
        assert await tx.fetchval("select 1") == 1
    assert await ask() == 1
    over.set()
    assert await later == 1


@pytest.mark.parametrize("answer", ["accept", "reject"])
async def test_concurrent_answers_leave_connections_to_others(settings, servers, people, monkeypatch, answer: str):
    monkeypatch.setattr("db.pool.ACQUIRE_SECONDS", 20.0)  # longer than a busy machine needs; a deadlock would not end
    crowded = Instance(settings.model_copy(update={"database_pool_size": 2}), servers)
    await crowded.start()
    crowded.db.strict = False  # as in production: a wait for a second connection is no error
    try:
        api = Api(crowded)
        hanako, salon, outsider = await people.influencer(), await people.salon(), await people.influencer()
        asked = await api.post("/connections/request", {"receiverId": salon.id}, hanako)
        path = f"/connections/requests/{asked.data['id']}/{answer}"
        *answers, profile = await asyncio.gather(
            *(api.patch(path, user=salon) for _ in range(20)), api.get("/profile/me", outsider)
        )
        assert sorted(each.status for each in answers) == [200] + [409] * 19
        assert profile.status == 200
    finally:
        await crowded.stop()


async def test_a_cancelled_caller_frees_its_place_in_the_pool(one_connection):
    for _ in range(3):  # cancelled while a statement runs, and again while the release waits for its end
        asking = asyncio.create_task(one_connection.fetchval("select pg_sleep(10)"))
        while one_connection.pool.get_idle_size():
            await asyncio.sleep(0)
        asking.cancel()
        await asyncio.sleep(0)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        async with asyncio.timeout(10):
            assert await one_connection.fetchval("select 1") == 1


async def test_a_missing_row_of_fetch_one_is_a_defect(db: Database):
    assert (await db.fetch_one("select 1 as one"))["one"] == 1
    with pytest.raises(NoRow, match="no row was returned by: select 1 where false"):
        await db.fetch_one("select 1 where false")
