"""One run of a job, as the job sees it: what it works with, and the discipline of working through many items."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import asyncpg
import structlog

from db.pool import Database, DatabaseUnavailable
from db.queries.job_runs import LEASE_SECONDS, ClaimedRun, renew
from realtime.events import Event
from services.resources import Services
from settings import Settings

log = structlog.get_logger()

BATCH_ROWS = 100  # of what is due; all that a run ever holds in memory


class Interrupted(Exception):
    """The run ends before its end; what is left stays due."""


class Stopping(Interrupted):
    """The instance stops; another one, or the next start, takes the run over."""


class LeaseLost(Interrupted):
    """This runner was silent for too long: another one may be at it already."""


class JobFailed(Exception):
    """Going on makes no sense. Its text is what admins are shown."""


@dataclass(frozen=True)
class Tools:
    """What jobs work with."""

    settings: Settings
    db: Database
    services: Services
    publish: Callable[[Event], None]
    wake_outbox: Callable[[], None]


class Run:
    def __init__(self, claimed: ClaimedRun, tools: Tools, lease: float = LEASE_SECONDS) -> None:
        self.claimed = claimed
        self.tools = tools
        self.db = tools.db
        self.lease = lease
        self.counts: Counter[str] = Counter(claimed.counts)
        self.ending: BaseException | None = None
        # The lease was granted a moment ago; how long ago, this clock does not know.
        self.ours_until = time.monotonic()

    def stop(self) -> None:
        """End at the next item."""
        self.ending = self.ending or Stopping("the instance stops")

    async def check(self) -> None:
        """Before each item: may this runner go on? Costs nothing while the lease is known to hold."""
        if self.ending is None and time.monotonic() >= self.ours_until:
            await self.renew()
        if self.ending is not None:
            raise self.ending

    async def renew(self) -> None:
        began = time.monotonic()
        if await renew(self.db, self.claimed, dict(self.counts), self.lease):
            self.ours_until = began + self.lease
        else:
            self.ending = self.ending or LeaseLost("another runner has taken over")

    async def keep(self) -> None:
        """Renew the lease as long as the run goes on, its counts with it."""
        while self.ending is None:
            await asyncio.sleep(self.lease / 4)
            try:
                await self.renew()
            except DatabaseUnavailable:
                log.warning("job lease not renewed", job=self.claimed.job)

    def note(self, error: Exception) -> None:
        """An item's failure that was expected: in the vendor's words, for the log alone."""
        log.warning("job item failed", job=self.claimed.job, error=f"{type(error).__name__} {error}")

    async def due(self, sql: str, *args: Any, key: tuple[Any, ...] = (None, None)) -> AsyncIterator[asyncpg.Record]:
        """The rows of `sql`, batch by batch, each fetched after the one before is used up.

        Parameters: `args`, then the key to continue after (nulls at first), then the number of rows. The last columns
        of a row are its key.
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
        """`work` on every row, at most `parallel` at a time; its answer is what the row is counted as.

        A failing row is counted as `failed` and stops nobody. An interruption lets the rows under way come to their
        end, and is raised then.
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
        except JobFailed as failure:  # of the job as a whole, noticed at this row
            self.ending = self.ending or failure
        except DatabaseUnavailable as ending:
            log.warning("job item failed: the database is away", job=self.claimed.job)
            if self.db.away:  # else only this item's statement failed
                self.ending = self.ending or ending
        except Exception:
            log.exception("job item failed", job=self.claimed.job)
        return "failed"
