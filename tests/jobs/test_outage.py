"""PostgreSQL fails during a run of a job: nothing is lost and nothing wrong is recorded."""

import asyncio
from dataclasses import replace

import orjson
import pytest

from db.pool import Database
from jobs.loop import JobLoop, ScheduledJob
from tests.drills.proxy import TcpProxy
from tests.helpers.jobs import DAILY, NEVER, NOW, NUMBERS, finished, make_loop

RUN = "select status, attempt, counts::text as counts, error from job_runs"


@pytest.fixture
def proxy(io_loop, servers, monkeypatch):
    monkeypatch.setattr("db.pool.ACQUIRE_SECONDS", 0.3)
    monkeypatch.setattr("db.pool.COMMAND_SECONDS", 0.5)
    proxy = TcpProxy(servers.database_url.partition("host=")[2] + "/.s.PGSQL.5432")
    io_loop.run_sync(proxy.start)
    yield proxy
    proxy.restore()
    io_loop.run_sync(proxy.stop)


@pytest.fixture
def proxied(io_loop, instance, proxy):
    """Return a database behind a proxy that can cut it off."""
    database = io_loop.run_sync(lambda: Database.connect(f"postgresql://encer@127.0.0.1:{proxy.port}/encer", 5))
    yield database
    proxy.restore()
    io_loop.run_sync(database.close)


class Counting:
    """A job of nine items; the database is unavailable after the third has begun."""

    def __init__(self, cut) -> None:
        self.cut = cut
        self.seen: list[int] = []

    async def __call__(self, run) -> None:
        async def work(row) -> str:
            self.seen.append(row["n"])
            if len(self.seen) == 3:
                self.cut()
                run.lease_ends_at = 0.0  # simulates a long duration
            return "done"

        await run.for_each(run.due(NUMBERS, key=(None,)), work, parallel=1)


def loop_on(instance, database, job) -> JobLoop:
    context = replace(instance.job_context, resources=replace(instance.job_context.resources, db=database))
    return JobLoop(context, [ScheduledJob("sample", DAILY, job)], "UTC", check_seconds=NEVER, now=lambda: NOW)


@pytest.mark.parametrize("fail", [TcpProxy.freeze, TcpProxy.refuse], ids=["frozen", "away"])
async def test_a_run_that_loses_the_database_is_left_to_another(instance, db, proxy, proxied, fail, monkeypatch):
    monkeypatch.setattr("jobs.loop.FINISH_ATTEMPTS", 1)
    job = Counting(lambda: fail(proxy))
    loop = loop_on(instance, proxied, job)
    await loop.check()
    await finished(loop)
    assert job.seen == [1, 2, 3]  # a runner that cannot renew its lease does not continue
    assert (await db.fetchrow(RUN))["status"] == "RUNNING"
    await loop.check()  # and the loop itself continues
    await db.execute("update job_runs set lease_until = now()")

    async def rest(run) -> None:
        run.counts["done"] += 6

    heir = make_loop(instance, rest)
    await heir.check()
    await finished(heir)
    row = await db.fetchrow(RUN)
    assert (row["status"], row["attempt"]) == ("SUCCEEDED", 2)


async def test_a_run_that_loses_the_database_briefly_records_that_afterwards(instance, db, proxy, proxied, monkeypatch):
    monkeypatch.setattr("jobs.loop.FINISH_RETRY_SECONDS", 0.05)
    job = Counting(lambda: proxy.refuse())
    loop = loop_on(instance, proxied, job)
    await loop.check()
    async with asyncio.timeout(10):
        while len(job.seen) < 3:
            await asyncio.sleep(0)
    (run,) = loop.running.values()
    async with asyncio.timeout(10):
        while run.ending is None:
            await asyncio.sleep(0)
    proxy.restore()
    await finished(loop)
    row = await db.fetchrow(RUN)
    assert (row["status"], orjson.loads(row["counts"])) == ("STOPPED", {"done": 3})
