"""Threads for expensive work, with a bound on its waiting time; urgent work runs first."""

import asyncio
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Any, TypeVar

from db.error_codes import ErrorCode
from db.errors import DomainError

Result = TypeVar("Result")

NICENESS = 5  # lower priority than the event loop's, so that work does not delay requests if it shares their core
SMOOTHING = 8  # the estimate is an average of about this many latest pieces of work


class TooBusy(DomainError):
    """The work would not begin within the allowed time."""

    status = 503
    code: ErrorCode = "BUSY"
    error = "The server is busy; please try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})  # by then, the work that waits now has begun or was refused


class WorkItem:
    """A unit of work; its future is cancelled when it waits too long."""

    def __init__(self, work: Callable[..., Any], args: tuple[object, ...]) -> None:
        self.work = work
        self.args = args
        self.future: Future[Any] = Future()

    def run(self) -> None:
        try:
            self.future.set_result(self.work(*self.args))
        except BaseException as error:
            self.future.set_exception(error)


class PriorityThreads:
    """`threads` pieces of work run at once; each begins within `wait_seconds` or is refused.

    The threads take the next item directly, because a busy event loop would delay them."""

    def __init__(self, name: str, threads: int, wait_seconds: float, work_seconds: float) -> None:
        """`work_seconds` is the estimated time of one work item until the first ones have been measured."""
        self.count = threads
        self.wait_seconds = wait_seconds
        self.work_seconds = work_seconds
        self.urgent: deque[WorkItem] = deque()
        self.normal: deque[WorkItem] = deque()
        self.changed = threading.Condition()  # guards everything here
        self.closed = False
        self.threads = [threading.Thread(target=self._work, name=f"{name} {n}", daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    async def run(self, work: Callable[..., Result], *args: object, urgent: bool) -> Result:
        """Run `work` in a thread, urgent work first. Raises TooBusy."""
        item = WorkItem(work, args)
        self._enqueue(item, urgent)
        result = asyncio.wrap_future(item.future)
        try:
            await asyncio.wait({result}, timeout=self.wait_seconds)
        except asyncio.CancelledError:
            self._withdraw(item)
            raise
        if self._withdraw(item):  # the estimate was too low, or urgent work ran first
            raise TooBusy
        value: Result = await result
        return value

    @property
    def waiting(self) -> int:
        return len(self.urgent) + len(self.normal)

    def close(self) -> None:
        with self.changed:
            self.closed = True
            waiting = [*self.urgent, *self.normal]
            self.changed.notify_all()
        for item in waiting:
            self._withdraw(item)

    def _enqueue(self, item: WorkItem, urgent: bool) -> None:
        with self.changed:
            before = len(self.urgent) + (0 if urgent else len(self.normal))
            if before * self.work_seconds / self.count > self.wait_seconds:
                raise TooBusy
            (self.urgent if urgent else self.normal).append(item)
            self.changed.notify()

    def _withdraw(self, item: WorkItem) -> bool:
        """Remove the item. Return whether it had not begun."""
        if not item.future.cancel():
            return False
        with self.changed:
            for queue in (self.urgent, self.normal):
                with suppress(ValueError):
                    queue.remove(item)
        return True

    def _next(self) -> WorkItem | None:
        """Wait for the next item and return it; None once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.urgent or self.normal or self.closed)
            queue = self.urgent or self.normal
            return None if self.closed or not queue else queue.popleft()

    def _work(self) -> None:
        if sys.platform == "linux":  # elsewhere a thread has no priority of its own
            thread = threading.get_native_id()
            with suppress(OSError):  # a filter of system calls may forbid it
                os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
        while item := self._next():
            if item.future.set_running_or_notify_cancel():
                began = time.monotonic()
                item.run()
                with self.changed:
                    self.work_seconds += (time.monotonic() - began - self.work_seconds) / SMOOTHING
