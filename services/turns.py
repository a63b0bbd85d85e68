"""Threads for costly work, with a bound on the time that it waits; urgent work goes first."""

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")

SMOOTHING = 8  # the estimate follows about this many of the latest pieces of work


class TooBusy(Exception):
    """The work would not begin in reasonable time."""


class Turns:
    """`threads` pieces of work run at once; each begins within `wait_seconds` or is refused."""

    def __init__(self, name: str, threads: int, wait_seconds: float, work_seconds: float) -> None:
        """`work_seconds`: how long a piece of work takes, until the first ones have been measured."""
        self.threads = threads
        self.wait_seconds = wait_seconds
        self.work_seconds = work_seconds
        self.running = 0
        self.urgent: deque[asyncio.Future[None]] = deque()
        self.others: deque[asyncio.Future[None]] = deque()
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix=name)

    async def run(self, work: Callable[..., Result], *args: object, urgent: bool) -> Result:
        """Run `work` in a thread, urgent work first. Raises TooBusy."""
        if self.running < self.threads:
            self.running += 1
        else:
            await self._wait(urgent)  # a piece that ends hands its thread over, so `running` stays
        began = time.monotonic()
        try:
            return await asyncio.get_running_loop().run_in_executor(self.pool, work, *args)
        finally:
            self.work_seconds += (time.monotonic() - began - self.work_seconds) / SMOOTHING
            self._hand_over()

    def close(self) -> None:
        self.pool.shutdown(wait=False, cancel_futures=True)

    async def _wait(self, urgent: bool) -> None:
        line = self.urgent if urgent else self.others
        before = len(self.urgent) + (0 if urgent else len(self.others))
        if (before + 1) * self.work_seconds / self.threads > self.wait_seconds:
            raise TooBusy
        turn = asyncio.get_running_loop().create_future()
        line.append(turn)
        try:
            await asyncio.wait({turn}, timeout=self.wait_seconds)
            if not turn.done():  # the estimate was too low, or urgent work went first
                raise TooBusy
        except BaseException:
            if turn.done():
                self._hand_over()
            else:
                line.remove(turn)
            raise

    def _hand_over(self) -> None:
        line = self.urgent or self.others
        if line:
            line.popleft().set_result(None)
        else:
            self.running -= 1
