"""One run of a job: its resources, and how it processes many items."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import asyncpg
import structlog

from db.pool import DatabaseUnavailable
from db.queries.job_runs import LEASE_SECONDS, ClaimedRun, renew
from db.tasks import supervise
from jobs.outbox import Outbox
from realtime.publisher import Publisher
from services.resources import Resources

log = structlog.get_logger()

BATCH_ROWS = 100  # due rows that a run holds in memory


class Interrupted(Exception):
    """The run ends early; unfinished items stay due."""


class Stopping(Interrupted):
    """The instance stops. Another instance, or the next start, takes the run over."""


class LeaseLost(Interrupted):
    """This runner did not renew its lease in time, so another runner may have taken the run over."""


class JobFailed(Exception):
    """The job cannot continue. Admins see the text."""


@dataclass(frozen=True)
class JobContext:
    """The resources that jobs share."""

    resources: Resources
    publisher: Publisher
    outbox: Outbox


class Run:
    """A claimed run. A job uses its `db`, `services` and `settings`, and publishes with `publish`."""

    def __init__(self, claimed: ClaimedRun, context: JobContext, lease: float = LEASE_SECONDS) -> None:
        self.claimed = claimed
        self.db = context.resources.db
        self.services = context.resources.services
        self.settings = context.resources.settings
        self.publish = context.publisher.publish
        self.wake_outbox = context.outbox.wake
        self.lease = lease
        self.counts: Counter[str] = Counter(claimed.counts)
        self.ending: BaseException | None = None
        # The claim took an unknown time, so the lease counts as expired until the first renewal.
        self.lease_ends_at = time.monotonic()

    def stop(self) -> None:
        """End before the next item."""
        self.ending = self.ending or Stopping("the instance stops")

    async def check(self) -> None:
        """Raise if this runner must end. Called before each item; free while the lease is known to be valid."""
        if self.ending is None and time.monotonic() >= self.lease_ends_at:
            await self.renew()
        if self.ending is not None:
            raise self.ending

    async def renew(self) -> None:
        began = time.monotonic()
        if await renew(self.db, self.claimed, dict(self.counts), self.lease):
            self.lease_ends_at = began + self.lease
        else:
            self.ending = self.ending or LeaseLost("another runner has taken over")

    async def keep_lease(self) -> NoReturn:
        """Renew the lease and store the counts, until cancelled."""
        await supervise(f"lease of {self.claimed.job}", self._renew_soon, (DatabaseUnavailable,))

    async def _renew_soon(self) -> None:
        await asyncio.sleep(self.lease / 4)
        if self.ending is None:
            await self.renew()

    def log_failure(self, error: Exception) -> None:
        """Log an expected failure of one item, in the vendor's words."""
        log.info("job item failed", job=self.claimed.job, error=f"{type(error).__name__} {error}")

    async def due(self, sql: str, *args: Any, key: tuple[Any, ...] = (None, None)) -> AsyncIterator[asyncpg.Record]:
        """Yield the rows of `sql`; a batch is fetched when the one before is used up.

        Parameters of `sql`: `args`, then the key to continue after (nulls at first), then the number of rows. The last
        columns of a row are its key.
        """
        while True:
            rows = await self.db.fetch(sql, *args, *key, BATCH_ROWS)
            for row in rows:
                yield row
            if len(rows) < BATCH_ROWS:
                return
            key = tuple(rows[-1])[-len(key) :]

    async def for_each(
        self,
        rows: AsyncIterator[asyncpg.Record],
        work: Callable[[asyncpg.Record], Awaitable[str]],
        parallel: int,
    ) -> None:
        """Call `work` on every row, at most `parallel` at a time, and count the rows by its result.

        A failing row counts as `failed` and does not stop the others. After an interruption the rows that have begun
        finish, and then it is raised.
        """
        turn = asyncio.Lock()

        async def worker() -> None:
            while True:
                try:
                    async with turn:
                        await self.check()
                        row = await anext(rows, None)
                except (Interrupted, JobFailed, DatabaseUnavailable) as ending:
                    self.ending = self.ending or ending
                    return
                if row is None:
                    return
                self.counts[await self._attempt(work, row)] += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(parallel):
                group.create_task(worker())
        if self.ending is not None:
            raise self.ending

    async def _attempt(self, work: Callable[[asyncpg.Record], Awaitable[str]], row: asyncpg.Record) -> str:
        try:
            return await work(row)
        except JobFailed as failure:  # one row shows that the whole job cannot continue
            self.ending = self.ending or failure
        except DatabaseUnavailable as ending:
            log.info("job item failed: the database is unavailable", job=self.claimed.job)
            if self.db.is_unavailable:  # otherwise only the statement of this item failed
                self.ending = self.ending or ending
        except Exception:
            log.exception("job item failed", job=self.claimed.job)
        return "failed"
