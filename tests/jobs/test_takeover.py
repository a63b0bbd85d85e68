"""A runner is a process that is killed, frozen or stopped during a run: another one finishes its work."""

import asyncio
import signal

import orjson
import pytest

from jobs import data_sync
from tests.helpers.jobs import add_many, finished, make_loop
from tests.helpers.processes import ServerProcess, server_process
from tests.helpers.programs import long_test
from tests.helpers.social import START
from tests.vendors import apify as vendor

RUN = "select status, attempt, runner, counts::text as counts, error from job_runs"
LEASE_ENDS = "update job_runs set lease_until = now() - interval '1 second' where status = 'RUNNING'"
SCRAPES_END = "update scrape_runs set lease_until = now() - interval '1 second' where state = 'RUNNING'"
ACCOUNTED = "select count(*) = $1 from scrape_runs where vendor_run_id is not null"
DUE = "select count(*) from social_media_accounts where next_sync_at <= now()"
COUNT = 20


async def wait_until(db, query: str, *args) -> None:
    async with asyncio.timeout(20):
        while not await db.fetchval(query, *args):
            await asyncio.sleep(0.01)


@pytest.fixture
def runner(servers, data_dir, apify):
    with server_process(servers, data_dir, APIFY_API_URL=apify.url, APIFY_API_TOKEN=vendor.TOKEN) as process:
        yield process


async def begin(api, people, db, apify, runner: ServerProcess) -> None:
    """Start a runner: some accounts are synced, the next ones wait for the vendor."""
    await add_many(db, COUNT)
    starts, start = 0, apify.start

    def some_only(run) -> None:
        nonlocal starts
        starts += 1
        apify.run_seconds = 0 if starts <= COUNT // 2 else 3600
        start(run)

    apify.start = some_only
    answer = await runner.api(api).post("/admin/jobs/data_sync/run", user=await people.admin())
    assert answer.status == 202, answer
    await wait_until(db, ACCOUNTED, COUNT // 2 + data_sync.PARALLEL)
    await wait_until(db, "select count(*) = $1 from scrape_runs where state = 'SUCCEEDED'", COUNT // 2)


async def go_on(instance, db, apify):
    """Let another instance check, and wait until the runs that it takes over have ended."""
    apify.start = type(apify).start.__get__(apify)
    apify.run_seconds = 0
    for run in list(apify.runs.values()):
        run.end("SUCCEEDED")
    heir = make_loop(instance, data_sync.run, name="data_sync")
    heir.schedules.clear()  # no scheduled times: only runs that it takes over
    await heir.check()
    await finished(heir)
    return heir


async def test_a_killed_runner_is_replaced_and_nothing_is_paid_for_twice(api, instance, people, apify, db, runner):
    await begin(api, people, db, apify, runner)
    runner.kill()
    await go_on(instance, db, apify)
    row = await db.fetchrow(RUN)
    assert (row["status"], row["attempt"]) == ("RUNNING", 1)  # until its lease has ended
    await db.execute(LEASE_ENDS)
    await db.execute(SCRAPES_END)
    heir = await go_on(instance, db, apify)
    row = await db.fetchrow(RUN)
    assert (row["status"], row["attempt"], row["runner"]) == ("SUCCEEDED", 2, heir.runner)
    assert await db.fetchval(DUE) == 0
    assert apify.count(START) == COUNT
    assert apify.aborted == []


async def test_runs_of_a_runner_killed_before_the_answers_are_found(api, instance, people, apify, db, runner):
    """The starts are sent, but the runner dies before the answers arrive."""
    await add_many(db, COUNT)
    apify.fail("keep_answer", START, times=data_sync.PARALLEL)
    assert (await runner.api(api).post("/admin/jobs/data_sync/run", user=await people.admin())).status == 202
    async with asyncio.timeout(20):
        while apify.runs_started < data_sync.PARALLEL:
            await asyncio.sleep(0.01)
    runner.kill()
    assert not await db.fetchval("select count(vendor_run_id) from scrape_runs")
    await db.execute(LEASE_ENDS)
    await db.execute(SCRAPES_END)
    await go_on(instance, db, apify)
    assert (await db.fetchrow(RUN))["status"] == "SUCCEEDED"
    assert await db.fetchval(DUE) == 0
    assert apify.count(START) == COUNT


async def test_a_frozen_runner_is_replaced_and_changes_nothing_afterwards(api, instance, people, apify, db, runner):
    await begin(api, people, db, apify, runner)
    runner.freeze()
    await db.execute(LEASE_ENDS)
    await db.execute(SCRAPES_END)
    await go_on(instance, db, apify)
    ended = await db.fetchrow(RUN)
    assert (ended["status"], ended["attempt"]) == ("SUCCEEDED", 2)
    done = await db.fetch("select id, updated_at from social_media_accounts order by id")

    calls = apify.count(START)
    runner.thaw()
    # Its metric counts a lost run when it has detected that.
    remote = runner.api(api)
    async with asyncio.timeout(20):
        while 'outcome="lost"' not in (await remote.get("/metrics")).raw.decode():
            await asyncio.sleep(0.05)
    assert dict(await db.fetchrow(RUN)) == dict(ended)
    assert apify.count(START) == calls
    assert await db.fetchval(DUE) == 0
    assert len(done) == COUNT


@long_test()
async def test_after_sigterm_another_instance_continues(api, instance, people, apify, db, runner, monkeypatch):
    await begin(api, people, db, apify, runner)
    runner.process.send_signal(signal.SIGTERM)
    await wait_until(db, "select status = 'STOPPED' from job_runs")
    row = await db.fetchrow(RUN)
    assert orjson.loads(row["counts"])["synced"] == COUNT // 2
    assert await asyncio.to_thread(runner.process.wait, 30) == 0
    await go_on(instance, db, apify)
    row = await db.fetchrow(RUN)
    assert (row["status"], row["attempt"]) == ("SUCCEEDED", 2)
    assert orjson.loads(row["counts"])["synced"] == COUNT
    assert apify.count(START) == COUNT
    assert apify.aborted == []
