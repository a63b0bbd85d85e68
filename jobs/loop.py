"""The job loop: claims due ticks every few seconds and takes over runs of instances that have died or stopped.

All instances run it. The database (db/queries/job_runs.py) ensures that each tick runs once.
"""

import asyncio
import os
import random
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import structlog

from db.pool import DatabaseUnavailable
from db.queries.job_runs import GIVE_UP, LEASE_SECONDS, MISSED_HOURS, ClaimedRun, claim_ticks, finish, take_over
from db.tasks import end, supervise
from jobs.run import Interrupted, JobContext, JobFailed, Run
from services.metrics import JOB_RUNS
from services.schedule import Schedule

log = structlog.get_logger()

CHECK_SECONDS = 10.0  # a tick starts at most this late
STOP_SECONDS = 5.0  # items that have begun may finish within this time; then they are cancelled
FINISH_ATTEMPTS = 5  # to record the end of a run during an outage; after that its lease expires
FINISH_RETRY_SECONDS = 1.0
ERROR_CHARS = 300
OUTCOMES = ("succeeded", "stopped", "failed", "lost")


class ScheduledJob(NamedTuple):
    name: str
    schedule: str  # a cron expression in JOBS_TIMEZONE
    run: Callable[[Run], Awaitable[None]]


def utc_now() -> datetime:
    return datetime.now(UTC)


class JobLoop:
    """Run `jobs` on this instance. With `scheduled=False` it runs only what an admin starts here."""

    def __init__(
        self,
        context: JobContext,
        jobs: Iterable[ScheduledJob],
        timezone: str,
        *,
        scheduled: bool = True,
        lease: float = LEASE_SECONDS,
        check_seconds: float = CHECK_SECONDS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.context = context
        self.db = context.resources.db
        self.jobs = {job.name: job for job in jobs}
        self.schedules = {name: Schedule(job.schedule, timezone) for name, job in self.jobs.items()}
        self.scheduled = scheduled
        self.lease = lease
        self.check_seconds = check_seconds
        self.now = now
        self.runner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.running: dict[asyncio.Task[None], Run] = {}
        for name in self.jobs:
            for outcome in OUTCOMES:  # start at 0, to show the first increase
                JOB_RUNS.labels(name, outcome)
        self.stopping = False
        self.checking = asyncio.Lock()
        self.watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        if self.scheduled:
            self.watch = asyncio.create_task(supervise("job loop", self._check_and_wait), name="job loop")

    def drain(self) -> None:
        """Start no more runs, and end the current ones before their next item. Another instance takes them over."""
        self.stopping = True
        for run in self.running.values():
            run.stop()

    async def stop(self) -> None:
        """Drain, and wait until all runs have ended."""
        self.drain()
        async with self.checking:  # a check that is claiming a run still records it
            await end(self.watch)
        if self.running:
            _, late = await asyncio.wait(self.running, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _check_and_wait(self) -> None:
        async with self.checking:
            await self.check()
        await asyncio.sleep(self.check_seconds * random.uniform(0.9, 1.1))

    async def check(self) -> None:
        """Claim and start the runs that are due. Without a database they stay due."""
        try:
            for claimed in await claim_ticks(self.db, self._due(), self.runner, self.lease):
                self.launch(claimed)
            while not self.stopping and (lost := await self._take_over()):
                self.launch(lost)
            await self.db.execute(GIVE_UP)
        except DatabaseUnavailable:
            pass

    def _due(self) -> dict[str, datetime]:
        """Return the newest tick of each job, except those that are too old."""
        if self.stopping:
            return {}
        now = self.now()
        ticks = {name: schedule.latest(now) for name, schedule in self.schedules.items()}
        return {name: tick for name, tick in ticks.items() if now - tick < timedelta(hours=MISSED_HOURS)}

    async def _take_over(self) -> ClaimedRun | None:
        try:
            return await take_over(self.db, list(self.jobs), self.runner, self.lease)
        except asyncpg.UniqueViolationError:
            return None  # another run of this job has just started

    def launch(self, claimed: ClaimedRun) -> None:
        """Start a run that this instance has claimed."""
        run = Run(claimed, self.context, self.lease)
        if self.stopping:
            run.stop()
        task = asyncio.create_task(self._execute(run), name=f"job {claimed.job}")
        self.running[task] = run
        task.add_done_callback(self.running.pop)

    async def _execute(self, run: Run) -> None:
        claimed = run.claimed
        log.info("job started", job=claimed.job, run=claimed.id, attempt=claimed.attempt)
        lease = asyncio.create_task(run.keep_lease())
        status, error = "SUCCEEDED", None
        try:
            await run.check()
            await self.jobs[claimed.job].run(run)
        except (Interrupted, DatabaseUnavailable, asyncio.CancelledError) as ending:
            status, error = "STOPPED", str(ending) or "cut off"
        except JobFailed as failure:
            log.warning("job failed", job=claimed.job, run=claimed.id, error=str(failure))
            status, error = "FAILED", str(failure)
        except Exception as failure:
            log.exception("job failed", job=claimed.job, run=claimed.id)
            status, error = "FAILED", f"unexpected {type(failure).__name__}; see the log"
        finally:
            lease.cancel()
        recorded = await self._record(run, status, error[:ERROR_CHARS] if error else None)
        outcome = status.lower() if recorded else "lost"
        JOB_RUNS.labels(claimed.job, outcome).inc()
        log.info("job ended", job=claimed.job, run=claimed.id, outcome=outcome, counts=dict(run.counts), error=error)

    async def _record(self, run: Run, status: str, error: str | None) -> bool:
        for attempt in range(FINISH_ATTEMPTS):
            try:
                return await finish(self.db, run.claimed, status, dict(run.counts), error)
            except DatabaseUnavailable:
                if self.stopping or attempt + 1 == FINISH_ATTEMPTS:
                    break
                await asyncio.sleep(FINISH_RETRY_SECONDS * 2**attempt)
        return False
