"""The jobs' clock: every few seconds it claims the ticks that are due and takes over what the dead have left.

All instances run it. What makes a tick run once is the database (db/queries/job_runs.py), not this loop.
"""

import asyncio
import os
import secrets
import socket
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import asyncpg
import structlog
from tornado.ioloop import PeriodicCallback

from db.pool import DatabaseUnavailable
from db.queries.job_runs import GIVE_UP, LEASE_SECONDS, MISSED_HOURS, ClaimedRun, claim_tick, finish, take_over
from jobs.run import Interrupted, JobFailed, Run, Tools
from services.metrics import JOB_RUNS
from services.schedule import Schedule

log = structlog.get_logger()

CHECK_SECONDS = 10.0  # how late a tick may be noticed
STOP_SECONDS = 5.0  # items under way may end within this; then they are cut off
FINISH_ATTEMPTS = 5  # to record an end while the database comes back; after that the lease runs out
FINISH_RETRY_SECONDS = 1.0
ERROR_CHARS = 300


class Job(NamedTuple):
    name: str
    schedule: str
    run: Callable[[Run], Awaitable[None]]


def utc_now() -> datetime:
    return datetime.now(UTC)


class JobLoop:
    """`jobs` on this instance. With `scheduled` False it starts nothing by itself, only what an admin asks for here."""

    def __init__(
        self,
        tools: Tools,
        jobs: Iterable[Job],
        timezone: str,
        *,
        scheduled: bool = True,
        lease: float = LEASE_SECONDS,
        check_seconds: float = CHECK_SECONDS,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self.tools = tools
        self.jobs = {job.name: job for job in jobs}
        self.schedules = {name: Schedule(job.schedule, timezone) for name, job in self.jobs.items()}
        self.scheduled = scheduled
        self.lease = lease
        self.now = now
        self.runner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self.running: dict[asyncio.Task[None], Run] = {}
        self.stopping = False
        self.first_check: asyncio.Task[None] | None = None
        self.ticker = PeriodicCallback(self.check, check_seconds * 1000, jitter=0.2)

    def start(self) -> None:
        if self.scheduled:
            self.ticker.start()
            self.first_check = asyncio.create_task(self.check())

    def drain(self) -> None:
        """Runs end at their next item and are left for another instance, or for the next start."""
        self.stopping = True
        self.ticker.stop()
        for run in self.running.values():
            run.stop()

    async def stop(self) -> None:
        """Drain, and wait for it."""
        self.drain()
        if self.first_check:
            await self.first_check
        if self.running:
            _, late = await asyncio.wait(self.running, timeout=STOP_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def check(self) -> None:
        """Claim what is due and start it."""
        try:
            for name, schedule in self.schedules.items():
                await self._claim(name, schedule)
            while not self.stopping and (claimed := await self._take_over()):
                self.launch(claimed)
            await self.tools.db.execute(GIVE_UP)
        except DatabaseUnavailable:
            pass  # the tick is still due when it is back
        except Exception:
            log.exception("job loop failed")

    async def _claim(self, name: str, schedule: Schedule) -> None:
        now = self.now()
        tick = schedule.latest(now)
        if self.stopping or now - tick >= timedelta(hours=MISSED_HOURS):
            return
        claimed = await claim_tick(self.tools.db, name, tick, self.runner, self.lease)
        if claimed:
            self.launch(claimed)

    async def _take_over(self) -> ClaimedRun | None:
        try:
            return await take_over(self.tools.db, list(self.jobs), self.runner, self.lease)
        except asyncpg.UniqueViolationError:
            return None  # a run of this job has just been started otherwise

    def launch(self, claimed: ClaimedRun) -> None:
        """Run what this instance has claimed."""
        run = Run(claimed, self.tools, self.lease)
        if self.stopping:
            run.stop()
        task = asyncio.create_task(self._execute(run), name=f"job {claimed.job}")
        self.running[task] = run
        task.add_done_callback(self.running.pop)

    async def _execute(self, run: Run) -> None:
        claimed = run.claimed
        log.info("job started", job=claimed.job, run=claimed.id, attempt=claimed.attempt)
        keeper = asyncio.create_task(run.keep())
        status, error = "SUCCEEDED", None
        try:
            await run.check()
            await self.jobs[claimed.job].run(run)
        except (Interrupted, DatabaseUnavailable, asyncio.CancelledError) as ending:
            status, error = "STOPPED", str(ending) or "cut off"
        except JobFailed as failure:
            status, error = "FAILED", str(failure)
        except Exception as failure:
            log.exception("job failed", job=claimed.job, run=claimed.id)
            status, error = "FAILED", f"unexpected {type(failure).__name__}; see the log"
        finally:
            keeper.cancel()
        recorded = await self._record(run, status, error[:ERROR_CHARS] if error else None)
        outcome = status.lower() if recorded else "lost"
        JOB_RUNS.labels(claimed.job, outcome).inc()
        log.info("job ended", job=claimed.job, run=claimed.id, outcome=outcome, counts=dict(run.counts), error=error)

    async def _record(self, run: Run, status: str, error: str | None) -> bool:
        for attempt in range(FINISH_ATTEMPTS):
            try:
                return await finish(self.tools.db, run.claimed, status, dict(run.counts), error)
            except DatabaseUnavailable:
                if self.stopping or attempt + 1 == FINISH_ATTEMPTS:
                    break
                await asyncio.sleep(FINISH_RETRY_SECONDS * 2**attempt)
        return False
