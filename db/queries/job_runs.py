"""Runs of jobs: each tick runs once over all instances, and a job has at most one run at a time.

A runner holds a run by a lease, which it renews. When the lease has expired, another runner takes over with the next
attempt. Every write names the attempt, so that a frozen runner that was replaced can no longer change the run.
"""

from datetime import datetime
from typing import NamedTuple

import asyncpg
import orjson

from db.pool import Queries

LEASE_SECONDS = 60.0  # the longest pause of a run whose runner dies
MISSED_HOURS = 12  # an older tick is skipped, because the next one is near
MAX_ATTEMPTS = 10  # then the run fails; a rolling update stops a run at most once per instance

CLAIMED = "id, job, scheduled_for, attempt, counts::text as counts, started_at"

# A conflict means that the tick is claimed, or that a run of this job is in progress (then the caller retries).
CLAIM_TICKS = f"""
    insert into job_runs (job, scheduled_for, runner, lease_until)
    select due.job, due.tick, $3, now() + make_interval(secs => $4)
    from unnest($1::text[], $2::timestamptz[]) due(job, tick)
    order by due.job -- two instances that claim them in different orders would wait for each other
    on conflict do nothing
    returning {CLAIMED}
"""

CLAIM_BY_HAND = f"""
    insert into job_runs (job, scheduled_for, runner, lease_until, started_by)
    values ($1, clock_timestamp(), $2, now() + make_interval(secs => $3), $4)
    returning {CLAIMED}
"""

# A new run need not wait for a dead one, because it does the same work.
FAIL_DEAD = """
    update job_runs set status = 'FAILED', finished_at = now(), error = 'Its runner died'
    where job = $1 and status = 'RUNNING' and lease_until <= now()
"""

# Runs whose runner is dead, and runs that were stopped before their end, unless the job has run again since.
TAKE_OVER = f"""
    update job_runs set status = 'RUNNING', runner = $1, lease_until = now() + make_interval(secs => $2),
        attempt = attempt + 1, finished_at = null, error = null
    where id = (
        select id from job_runs r
        where job = any ($3) and attempt < {MAX_ATTEMPTS} and lease_until <= now() and (
            status = 'RUNNING' or status = 'STOPPED'
            and started_at > now() - interval '{MISSED_HOURS} hours'
            and not exists (select from job_runs n where n.job = r.job and n.started_at > r.started_at)
        )
        order by lease_until limit 1 for update skip locked
    )
    returning {CLAIMED}
"""

GIVE_UP = f"""
    update job_runs set status = 'FAILED', finished_at = now(), error = 'Every runner died or was stopped'
    where status in ('RUNNING', 'STOPPED') and attempt >= {MAX_ATTEMPTS} and lease_until <= now()
"""

RENEW = """
    update job_runs set lease_until = now() + make_interval(secs => $3), counts = $4
    where id = $1 and attempt = $2 and status = 'RUNNING'
    returning true
"""

# Ends the lease too, so that a stopped run can be taken over at once.
FINISH = """
    update job_runs set status = $3, counts = $4, error = $5, finished_at = now(), lease_until = now()
    where id = $1 and attempt = $2 and status = 'RUNNING'
    returning true
"""


class ClaimedRun(NamedTuple):
    id: str
    job: str
    scheduled_for: datetime
    attempt: int
    counts: dict[str, int]  # of the earlier attempts
    started_at: datetime  # of the first attempt, by the database's clock


def read_run(row: asyncpg.Record) -> ClaimedRun:
    counts = orjson.loads(row["counts"]) if row["counts"] else {}
    return ClaimedRun(row["id"], row["job"], row["scheduled_for"], row["attempt"], counts, row["started_at"])


async def claim_ticks(
    queries: Queries, ticks: dict[str, datetime], runner: str, lease: float = LEASE_SECONDS
) -> list[ClaimedRun]:
    """Claim the runs of these ticks of jobs, except those that are claimed or whose job has a run in progress."""
    rows = await queries.fetch(CLAIM_TICKS, list(ticks), list(ticks.values()), runner, lease)
    return [read_run(row) for row in rows]


async def claim_by_hand(
    queries: Queries, job: str, runner: str, admin_id: str | None, lease: float = LEASE_SECONDS
) -> ClaimedRun:
    """Claim a run that an admin starts. Violates job_runs_running_key while another run of the job is in progress."""
    await queries.execute(FAIL_DEAD, job)
    return read_run(await queries.fetch_one(CLAIM_BY_HAND, job, runner, lease, admin_id))


async def take_over(queries: Queries, jobs: list[str], runner: str, lease: float = LEASE_SECONDS) -> ClaimedRun | None:
    """Claim a run that has lost its runner. Violates job_runs_running_key if a run of the job starts at this moment."""
    row = await queries.fetchrow(TAKE_OVER, runner, lease, jobs)
    return None if row is None else read_run(row)


async def renew(queries: Queries, run: ClaimedRun, counts: dict[str, int], lease: float = LEASE_SECONDS) -> bool:
    """Renew the lease and store the counts; return False if the caller no longer holds the run."""
    return bool(await queries.fetchval(RENEW, run.id, run.attempt, lease, orjson.dumps(counts).decode()))


async def finish(queries: Queries, run: ClaimedRun, status: str, counts: dict[str, int], error: str | None) -> bool:
    """Store the end of a run; return False if the caller no longer holds it."""
    return bool(await queries.fetchval(FINISH, run.id, run.attempt, status, orjson.dumps(counts).decode(), error))
