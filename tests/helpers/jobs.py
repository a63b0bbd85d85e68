"""Job loops for tests: sample jobs, short leases, a clock that the test sets."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from types import ModuleType

import orjson

from db.pool import Database
from db.queries.job_runs import claim_by_hand
from jobs.loop import JobLoop, ScheduledJob
from jobs.run import Run
from server import Instance

DAILY = "0 3 * * *"
NUMBERS = "select n from generate_series(1, 9) n where ($1::int is null or n > $1) order by n limit $2"  # sample items
NOW = datetime(2026, 5, 4, 3, 0, 20, tzinfo=UTC)  # 20 seconds after the tick
TICK = datetime(2026, 5, 4, 3, 0, tzinfo=UTC)
NEVER = 3600.0  # seconds until the loop would check; tests call it instead

LIST_RUNS = """
    select id, job, scheduled_for, status, attempt, runner, counts::text as counts, error, finished_at, started_by
    from job_runs order by started_at, id
"""


def make_loop(
    instance: Instance,
    run: Callable[[Run], Awaitable[None]],
    *,
    now: datetime = NOW,
    lease: float = 60.0,
    timezone: str = "UTC",
    schedule: str = DAILY,
    name: str = "sample",
) -> JobLoop:
    return JobLoop(
        instance.job_context,
        [ScheduledJob(name, schedule, run)],
        timezone,
        lease=lease,
        check_seconds=NEVER,
        now=lambda: now,
    )


async def finished(*loops: JobLoop, within: float = 20) -> None:
    """Wait until all runs of these loops have ended."""
    async with asyncio.timeout(within):
        while tasks := [task for loop in loops for task in loop.running]:
            await asyncio.gather(*tasks)


async def run_job(instance: Instance, module: ModuleType, status: str = "SUCCEEDED") -> dict[str, int]:
    """Run a job once and return its counts. It must end with this status."""
    name = module.__name__.rpartition(".")[2]
    loop = make_loop(instance, module.run, name=name)
    claimed = await claim_by_hand(instance.db, name, loop.runner, None)
    loop.launch(claimed)
    await finished(loop)
    row = await instance.db.fetch_one("select status, counts::text, error from job_runs where id = $1", claimed.id)
    assert row["status"] == status, row
    return {name: count for name, count in orjson.loads(row["counts"]).items() if count}


ADD_MANY = """
    with person as (
        insert into users (name, email, role, email_verified_at, terms_accepted_at, onboarded_at)
        select 'Person ' || n, 'many' || n || '@example.com', 'INFLUENCER', now(), now(), now()
        from generate_series($1::int, $2::int) n returning id, email
    ), influencer as (
        insert into influencers (user_id) select id from person returning id, user_id
    )
    insert into social_media_accounts (influencer_id, platform, username, last_synced_at, next_sync_at)
    select i.id, $3, 'many.' || substring(p.email from '[0-9]+'), now() - interval '8 days',
        now() - interval '1 day' - random() * interval '1 hour'
    from influencer i join person p on p.id = i.user_id
"""


async def add_many(db: Database, count: int, platform: str = "INSTAGRAM") -> None:
    """Add accounts `many.1` … that are due for synchronisation."""
    for first in range(1, count + 1, 500):
        await db.execute(ADD_MANY, first, min(first + 499, count), platform)
