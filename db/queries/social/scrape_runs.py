"""Paid scrapes in the database: one at a time for a profile over all instances, with results that others may use.

This is the store behind services/social/scrapes.py, which knows the vendors.
"""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from db.pool import Database

MAX_ATTEMPTS = 5  # a run that has lost so many takers is given up
MAX_HOURS = 1  # what has been left alone for longer is not worth picking up

LOCK_PROFILE = "select pg_advisory_xact_lock(hashtextextended('scrape ' || $1 || ' ' || $2, 0))"

RUN = "id, state, vendor_run_id, attempt, started_at, finished_at, profile::text as profile, failure"

# A result that is young enough, or the run that goes on, or nothing. A definite no counts as a result.
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

# Who wakes up after being taken over need not end a run that the heir has found, and goes on with.
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

LET_GO = "update scrape_runs set lease_until = now() where id = $1 and attempt = $2 and state = 'RUNNING'"


class StoredRun(NamedTuple):
    id: str
    state: str  # RUNNING, SUCCEEDED or FAILED
    vendor_run_id: str | None
    attempt: int
    started_at: datetime
    finished_at: datetime | None
    profile: str | None  # JSON
    failure: str | None
    ours: bool  # to be carried through by whoever got this answer


class ScrapeRuns:
    def __init__(self, db: Database) -> None:
        self.db = db

    async def find(
        self, platform: str, username: str, max_age: float, max_no_age: float, definite: list[str]
    ) -> StoredRun | None:
        """A finished run younger than `max_age` seconds; a failure named in `definite` counts for `max_no_age`."""
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
        """What `find` finds, or the run that goes on, or a new one that is the caller's."""
        async with self.db.transaction() as tx:
            await tx.execute(LOCK_PROFILE, platform, username)
            row = await tx.fetchrow(FIND_RESULT, platform, username, max_age, max_no_age, definite)
            if row is None:
                await tx.execute(ABANDON, platform, username)
                row = await tx.fetchrow(TAKE_OVER, platform, username, lease)
            if row is None:
                row = await tx.fetchrow(FIND_RUNNING, platform, username)
            if row is None:
                # It may have ended since the first look; from here on none can begin, for we hold the lock.
                row = await tx.fetchrow(FIND_RESULT, platform, username, max_age, max_no_age, definite)
            if row is None:
                row = await tx.fetch_one(START, platform, username, lease, requested_by)
        return read_run(row)

    async def show(self, run_id: str) -> tuple[StoredRun, bool] | None:
        """The run as it stands, and whether whoever was at it has left it alone."""
        row = await self.db.fetchrow(SHOW_RUN, run_id)
        return (read_run(row), row["left_alone"]) if row else None

    async def renew(self, run: StoredRun, lease: float) -> bool:
        return bool(await self.db.fetchval(RENEW, run.id, run.attempt, lease))

    async def note_vendor_run(self, run: StoredRun, vendor_run_id: str) -> bool:
        """Account for what now costs money; False if somebody else has taken over, and does not know of it."""
        return bool(await self.db.fetchval(NOTE_VENDOR_RUN, run.id, run.attempt, vendor_run_id))

    async def succeed(self, run: StoredRun, profile: str) -> datetime | None:
        value: datetime | None = await self.db.fetchval(SUCCEED, run.id, run.attempt, profile)
        return value

    async def fail(self, run: StoredRun, failure: str) -> None:
        await self.db.execute(FAIL, run.id, run.attempt, failure)

    async def let_go(self, run: StoredRun) -> None:
        """Leave it to the next caller."""
        await self.db.execute(LET_GO, run.id, run.attempt)


def read_run(row: asyncpg.Record) -> StoredRun:
    return StoredRun(*(row[name] for name in StoredRun._fields))
