"""Paid scrapes: over all instances, one at a time per profile. Their results are shared.

services/social/scrapes.py uses this module and calls the vendors.
"""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from db.pool import Database

MAX_ATTEMPTS = 5  # a run that lost its lease this often fails
MAX_HOURS = 1  # an older run without a lease fails instead of being continued

LOCK_PROFILE = "select pg_advisory_xact_lock(hashtextextended('scrape ' || $1 || ' ' || $2, 0))"

RUN = "id, state, vendor_run_id, attempt, started_at, finished_at, profile::text as profile, failure"

# A result that is recent enough. A definite failure, such as an unknown profile, is a result too.
FIND_RESULT = f"""
    select {RUN}, false as ours from scrape_runs
    where platform = $1 and username = $2 and (
        state = 'SUCCEEDED' and finished_at > now() - make_interval(secs => $3)
        or state = 'FAILED' and failure = any ($5) and finished_at > now() - make_interval(secs => $4)
    )
    order by finished_at desc limit 1
"""

ABANDON = f"""
    update scrape_runs set state = 'FAILED', failure = 'ActorFailed', finished_at = now()
    where platform = $1 and username = $2 and state = 'RUNNING' and lease_until <= now()
        and (attempt >= {MAX_ATTEMPTS} or started_at < now() - interval '{MAX_HOURS} hours')
"""

TAKE_OVER = f"""
    update scrape_runs set attempt = attempt + 1, lease_until = now() + make_interval(secs => $3)
    where platform = $1 and username = $2 and state = 'RUNNING' and lease_until <= now()
    returning {RUN}, true as ours
"""

FIND_RUNNING = f"""
    select {RUN}, false as ours from scrape_runs where platform = $1 and username = $2 and state = 'RUNNING'
"""

START = f"""
    insert into scrape_runs (platform, username, lease_until, requested_by)
    values ($1, $2, now() + make_interval(secs => $3), $4)
    returning {RUN}, true as ours
"""

SHOW_RUN = f"select {RUN}, false as ours, lease_until <= now() as left_alone from scrape_runs where id = $1"

RENEW = """
    update scrape_runs set lease_until = now() + make_interval(secs => $3)
    where id = $1 and attempt = $2 and state = 'RUNNING' returning true
"""

# True also for a runner that lost the lease, if the new runner continues the same vendor run: it must not be aborted.
NOTE_VENDOR_RUN = """
    update scrape_runs set vendor_run_id = $3
    where id = $1 and (attempt = $2 or vendor_run_id = $3) and state = 'RUNNING'
    returning true
"""

SUCCEED = """
    update scrape_runs set state = 'SUCCEEDED', profile = $3, finished_at = now()
    where id = $1 and attempt = $2 and state = 'RUNNING' returning finished_at
"""

FAIL = """
    update scrape_runs set state = 'FAILED', failure = $3, finished_at = now()
    where id = $1 and attempt = $2 and state = 'RUNNING'
"""

RELEASE = "update scrape_runs set lease_until = now() where id = $1 and attempt = $2 and state = 'RUNNING'"


class StoredRun(NamedTuple):
    id: str
    state: str  # RUNNING, SUCCEEDED or FAILED
    vendor_run_id: str | None
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    profile: str | None  # JSON
    failure: str | None
    ours: bool  # the caller holds the lease and must carry out the run


class ScrapeRuns:
    def __init__(self, db: Database) -> None:
        self.db = db

    async def find(
        self, platform: str, username: str, max_age: float, max_no_age: float, definite: list[str]
    ) -> StoredRun | None:
        """Return the last run that ended within `max_age` seconds with a profile, or within `max_no_age` seconds with a
        failure that is in `definite`."""
        row = await self.db.fetchrow(FIND_RESULT, platform, username, max_age, max_no_age, definite)
        return read_run(row) if row else None

    async def join(
        self,
        platform: str,
        username: str,
        lease: float,
        *,
        max_age: float,
        max_no_age: float,
        definite: list[str],
        requested_by: str | None,
    ) -> StoredRun:
        """Return what `find` returns, or the run in progress, or a new run with `ours`."""
        async with self.db.transaction() as tx:
            await tx.execute(LOCK_PROFILE, platform, username)
            row = await tx.fetchrow(FIND_RESULT, platform, username, max_age, max_no_age, definite)
            if row is None:
                await tx.execute(ABANDON, platform, username)
                row = await tx.fetchrow(TAKE_OVER, platform, username, lease)
            if row is None:
                row = await tx.fetchrow(FIND_RUNNING, platform, username)
            if row is None:
                # A run may have ended since the first query. The lock prevents that a new one starts.
                row = await tx.fetchrow(FIND_RESULT, platform, username, max_age, max_no_age, definite)
            if row is None:
                row = await tx.fetch_one(START, platform, username, lease, requested_by)
        return read_run(row)

    async def show(self, run_id: str) -> tuple[StoredRun, bool] | None:
        """Return the run and whether its lease has expired."""
        row = await self.db.fetchrow(SHOW_RUN, run_id)
        return (read_run(row), row["left_alone"]) if row else None

    async def renew(self, run: StoredRun, lease: float) -> bool:
        return bool(await self.db.fetchval(RENEW, run.id, run.attempt, lease))

    async def note_vendor_run(self, run: StoredRun, vendor_run_id: str) -> bool:
        """Store the id of the paid vendor run; return False if another runner has the lease and another vendor run."""
        return bool(await self.db.fetchval(NOTE_VENDOR_RUN, run.id, run.attempt, vendor_run_id))

    async def succeed(self, run: StoredRun, profile: str) -> datetime | None:
        value: datetime | None = await self.db.fetchval(SUCCEED, run.id, run.attempt, profile)
        return value

    async def fail(self, run: StoredRun, failure: str) -> None:
        await self.db.execute(FAIL, run.id, run.attempt, failure)

    async def release(self, run: StoredRun) -> None:
        """End the lease, so that the next caller continues the run."""
        await self.db.execute(RELEASE, run.id, run.attempt)


def read_run(row: asyncpg.Record) -> StoredRun:
    return StoredRun(*(row[name] for name in StoredRun._fields))
