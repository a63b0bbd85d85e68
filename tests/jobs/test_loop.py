"""Each scheduled time runs once over all instances, runs never overlap, and runs of dead instances are taken over."""

import asyncio
from datetime import timedelta

import orjson
import pytest

from db.queries.job_runs import MAX_ATTEMPTS, claim_by_hand, claim_ticks
from jobs.run import JobFailed, Run
from tests.helpers.jobs import LIST_RUNS, NOW, TICK, finished, make_loop

KILL = "update job_runs set lease_until = now() - interval '1 second'"


async def counts_one(run: Run) -> None:
    run.counts["done"] += 1


def counts(row) -> dict[str, int]:
    return orjson.loads(row["counts"])


class HeldJob:
    """A job that signals its start and waits for the test; between two items it may be stopped."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.go_on = asyncio.Event()
        self.starts = 0

    async def __call__(self, run: Run) -> None:
        self.starts += 1
        self.began.set()
        await self.go_on.wait()
        run.counts["first"] += 1
        await run.check()
        run.counts["second"] += 1


async def test_a_tick_runs_once_over_three_instances(instance, other_instance, db):
    loops = [make_loop(instance, counts_one), make_loop(other_instance, counts_one), make_loop(instance, counts_one)]
    for _ in range(5):
        await asyncio.gather(*(loop.check() for loop in loops))
        await finished(*loops)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["job"], row["scheduled_for"], row["status"], row["attempt"]) == ("sample", TICK, "SUCCEEDED", 1)
    assert counts(row) == {"done": 1}
    assert row["finished_at"] is not None
    assert row["runner"] in {loop.runner for loop in loops}


async def test_instances_claim_several_jobs_in_one_order(instance, other_instance):
    async with asyncio.timeout(10), instance.db.transaction() as tx:
        await claim_ticks(tx, {"a": TICK}, "one")
        both = asyncio.create_task(claim_ticks(other_instance.db, {"b": TICK, "a": TICK}, "two"))
        while not await tx.fetchval("select count(*) from pg_locks where not granted"):
            await asyncio.sleep(0.01)
        assert [run.job for run in await claim_ticks(tx, {"b": TICK}, "one")] == ["b"]  # else each waits for the other
    assert await both == []


async def test_the_loop_checks_periodically(instance, db):
    done = asyncio.Event()

    async def job(run: Run) -> None:
        done.set()

    loop = make_loop(instance, job)
    loop.start()
    async with asyncio.timeout(5):
        await done.wait()
    await loop.stop()
    assert [row["status"] for row in await db.fetch(LIST_RUNS)] == ["SUCCEEDED"]


@pytest.mark.parametrize(("hours", "runs"), [(11.9, 1), (12.1, 0)])
async def test_a_missed_tick_runs_at_start_if_it_is_less_than_twelve_hours_old(instance, db, hours, runs):
    loop = make_loop(instance, counts_one, now=TICK + timedelta(hours=hours))
    await loop.check()
    await finished(loop)
    assert [row["scheduled_for"] for row in await db.fetch(LIST_RUNS)] == [TICK] * runs


async def test_only_the_newest_of_several_missed_ticks_runs(instance, db):
    loop = make_loop(instance, counts_one, now=TICK + timedelta(days=5, hours=1))
    await loop.check()
    await finished(loop)
    assert [row["scheduled_for"] for row in await db.fetch(LIST_RUNS)] == [TICK + timedelta(days=5)]


async def test_runs_of_a_job_never_overlap_and_the_tick_waits_its_turn(instance, other_instance, people, db):
    held_job = HeldJob()
    loop, other = make_loop(instance, held_job), make_loop(other_instance, counts_one)
    admin = await people.admin()
    loop.launch(await claim_by_hand(db, "sample", loop.runner, admin.id))
    await held_job.began.wait()
    await asyncio.gather(loop.check(), other.check())
    assert len(await db.fetch(LIST_RUNS)) == 1
    assert not other.running
    held_job.go_on.set()
    await finished(loop)
    await other.check()
    await finished(other)
    by_hand, scheduled = await db.fetch(LIST_RUNS)
    assert (by_hand["started_by"], scheduled["started_by"]) == (admin.id, None)
    assert (scheduled["scheduled_for"], scheduled["status"]) == (TICK, "SUCCEEDED")


async def test_a_dead_runner_is_replaced_after_its_lease(instance, other_instance, db):
    held_job = HeldJob()
    dead, heir = make_loop(instance, held_job), make_loop(other_instance, counts_one)
    await dead.check()
    await held_job.began.wait()
    await heir.check()
    assert not heir.running  # it may still run
    await db.execute(KILL)
    await heir.check()
    await finished(heir)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["attempt"], row["runner"]) == ("SUCCEEDED", 2, heir.runner)

    # The instance that was declared dead resumes: it detects that before its next item, and changes nothing.
    (frozen,) = dead.running.values()
    frozen.lease_ends_at = 0.0
    held_job.go_on.set()
    await finished(dead)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["attempt"], counts(row)) == ("SUCCEEDED", 2, {"done": 1})
    assert frozen.counts == {"first": 1}


async def test_only_one_of_many_instances_takes_over(instance, other_instance, db):
    held_job = HeldJob()
    dead = make_loop(instance, held_job)
    await dead.check()
    await held_job.began.wait()
    await db.execute(KILL)
    heirs = [make_loop(other, counts_one) for other in (instance, other_instance) * 3]
    await asyncio.gather(*(heir.check() for heir in heirs))
    await finished(*heirs)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["attempt"], counts(row)) == ("SUCCEEDED", 2, {"done": 1})
    held_job.go_on.set()
    await finished(dead)


async def test_a_running_job_keeps_its_lease_and_shows_its_counts(instance, db):
    renewed = (
        "select lease_until > started_at + interval '0.3 seconds' and counts::jsonb = '{\"seen\": 1}' from job_runs"
    )
    go_on = asyncio.Event()

    async def job(run: Run) -> None:
        run.counts["seen"] += 1
        await go_on.wait()

    loop = make_loop(instance, job, lease=0.2)
    await loop.check()
    async with asyncio.timeout(5):
        while not await db.fetchval(renewed):
            await asyncio.sleep(0)
    go_on.set()
    await finished(loop)
    assert (await db.fetch(LIST_RUNS))[0]["status"] == "SUCCEEDED"


async def test_a_stop_ends_the_run_before_the_next_item_and_another_continues(instance, other_instance, db):
    held_job = HeldJob()
    loop, other = make_loop(instance, held_job), make_loop(other_instance, counts_one)
    await loop.check()
    await held_job.began.wait()
    stop = asyncio.create_task(loop.stop())
    await asyncio.sleep(0)
    held_job.go_on.set()
    await stop
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], counts(row)) == ("STOPPED", {"first": 1})
    await loop.check()
    assert not loop.running  # an instance that stops takes over nothing
    await other.check()
    await finished(other)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["attempt"], counts(row)) == ("SUCCEEDED", 2, {"first": 1, "done": 1})


async def test_a_stop_cancels_an_item_that_does_not_end(instance, db, monkeypatch):
    monkeypatch.setattr("jobs.loop.STOP_SECONDS", 0.05)
    held_job = HeldJob()
    loop = make_loop(instance, held_job)
    await loop.check()
    await held_job.began.wait()
    await loop.stop()
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["error"]) == ("STOPPED", "cut off")


async def test_a_stopped_run_is_not_taken_over_if_the_job_has_run_since(instance, people, db):
    held_job = HeldJob()
    stopped = make_loop(instance, held_job)
    await stopped.check()
    stopped.drain()
    held_job.go_on.set()
    await finished(stopped)
    admin = await people.admin()
    loop = make_loop(instance, counts_one)
    loop.launch(await claim_by_hand(db, "sample", loop.runner, admin.id))
    await finished(loop)
    await loop.check()
    assert [row["status"] for row in await db.fetch(LIST_RUNS)] == ["STOPPED", "SUCCEEDED"]


async def test_a_run_that_kills_every_runner_is_abandoned(instance, db):
    loop = make_loop(instance, counts_one)
    await db.execute(
        "insert into job_runs (job, scheduled_for, runner, attempt, lease_until) values ('sample', $1, 'x', $2, now())",
        TICK,
        MAX_ATTEMPTS,
    )
    await loop.check()
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], row["error"]) == ("FAILED", "Every runner died or was stopped")


async def test_failures_are_recorded_without_their_secrets(instance, db):
    async def breaks(run: Run) -> None:
        raise RuntimeError("password=hunter2")

    async def gives_up(run: Run) -> None:
        run.counts["left"] = 7
        raise JobFailed("TikTok refuses our key")

    for number, job in enumerate([breaks, gives_up]):
        loop = make_loop(instance, job, now=NOW + timedelta(days=number))
        await loop.check()
        await finished(loop)
    broken, given_up = await db.fetch(LIST_RUNS)
    assert (broken["status"], broken["error"]) == ("FAILED", "unexpected RuntimeError; see the log")
    assert (given_up["status"], given_up["error"], counts(given_up)) == (
        "FAILED",
        "TikTok refuses our key",
        {"left": 7},
    )


async def test_working_through_many_items(instance, db):
    """Test bounded parallelism, batches, and failing items that do not stop others."""
    at_once, most, seen = 0, 0, []
    five = asyncio.Barrier(5)  # fewer would not get past this point; more are checked below
    numbers = """
        select n from generate_series(1, 250) n where ($1::int is null or n > $1) order by n limit $2
    """

    async def work(row) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        async with asyncio.timeout(5):
            await five.wait()
        at_once -= 1
        seen.append(row["n"])
        if row["n"] % 50 == 0:
            raise ValueError("bad item")
        return "done"

    async def job(run: Run) -> None:
        await run.for_each(run.due(numbers, key=(None,)), work, parallel=5)

    loop = make_loop(instance, job)
    await loop.check()
    await finished(loop)
    (row,) = await db.fetch(LIST_RUNS)
    assert (row["status"], counts(row)) == ("SUCCEEDED", {"done": 245, "failed": 5})
    assert sorted(seen) == list(range(1, 251))
    assert most == 5


async def test_a_stop_in_the_middle_of_many_items_leaves_none_half_done(instance, db):
    begun, ended = [], []
    third, stopped = asyncio.Event(), asyncio.Event()

    async def work(row) -> str:
        begun.append(row["n"])
        if len(begun) == 3:
            third.set()
        await stopped.wait()
        ended.append(row["n"])
        return "done"

    async def job(run: Run) -> None:
        numbers = "select n from generate_series(1, 99) n where ($1::int is null or n > $1) order by n limit $2"
        await run.for_each(run.due(numbers, key=(None,)), work, parallel=3)

    loop = make_loop(instance, job)
    await loop.check()
    await third.wait()
    loop.drain()
    stopped.set()
    await loop.stop()
    (row,) = await db.fetch(LIST_RUNS)
    assert row["status"] == "STOPPED"
    assert sorted(begun) == sorted(ended)
    assert len(ended) == 3
    assert counts(row) == {"done": len(ended)}
