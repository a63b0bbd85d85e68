"""Threads for expensive work, with a bound on its waiting time; urgent work runs first."""

import asyncio
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

SMOOTHING = 8  # the estimate is an average of about this many latest pieces of work


class TooBusy(DomainError):
    """The work would not begin within the allowed time."""

    status = 503
    code: ErrorCode = "BUSY"
    error = "The server is busy; please try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})  # by then, the work that waits now has begun or was refused


class Piece:
    """A piece of work; its future is cancelled when it waits too long."""

    def __init__(self, work: Callable[..., Any], args: tuple[object, ...]) -> None:
        self.work = work
        self.args = args
        self.future: Future[Any] = Future()

    def run(self) -> None:
        try:
            self.future.set_result(self.work(*self.args))
        except BaseException as error:
            self.future.set_exception(error)


class Turns:
    """`threads` pieces of work run at once; each begins within `wait_seconds` or is refused.

    The threads take the next piece directly, because a busy event loop would delay them."""

    def __init__(self, name: str, threads: int, wait_seconds: float, work_seconds: float) -> None:
        """`work_seconds` is the estimated time of a piece of work until the first ones have been measured."""
        self.count = threads
        self.wait_seconds = wait_seconds
        self.work_seconds = work_seconds
        self.urgent: deque[Piece] = deque()
        self.others: deque[Piece] = deque()
        self.changed = threading.Condition()  # guards everything here
        self.closed = False
        self.threads = [threading.Thread(target=self._work, name=f"{name} {n}", daemon=True) for n in range(threads)]
        for thread in self.threads:
            thread.start()

    async def run(self, work: Callable[..., Result], *args: object, urgent: bool) -> Result:
        """Run `work` in a thread, urgent work first. Raises TooBusy."""
        piece = Piece(work, args)
        self._line_up(piece, urgent)
        result = asyncio.wrap_future(piece.future)
        try:
            await asyncio.wait({result}, timeout=self.wait_seconds)
        except asyncio.CancelledError:
            self._withdraw(piece)
            raise
        if self._withdraw(piece):  # the estimate was too low, or urgent work ran first
            raise TooBusy
        value: Result = await result
        return value

    @property
    def waiting(self) -> int:
        return len(self.urgent) + len(self.others)

    def close(self) -> None:
        with self.changed:
            self.closed = True
            waiting = [*self.urgent, *self.others]
            self.changed.notify_all()
        for piece in waiting:
            self._withdraw(piece)

    def _line_up(self, piece: Piece, urgent: bool) -> None:
        with self.changed:
            before = len(self.urgent) + (0 if urgent else len(self.others))
            if before * self.work_seconds / self.count > self.wait_seconds:
                raise TooBusy
            (self.urgent if urgent else self.others).append(piece)
            self.changed.notify()

    def _withdraw(self, piece: Piece) -> bool:
        """Remove the piece. Return whether it had not begun."""
        if not piece.future.cancel():
            return False
        with self.changed:
            for line in (self.urgent, self.others):
                with suppress(ValueError):
                    line.remove(piece)
        return True

    def _next(self) -> Piece | None:
        """Wait for the next piece and return it; None once closed."""
        with self.changed:
            self.changed.wait_for(lambda: self.urgent or self.others or self.closed)
            line = self.urgent or self.others
            return None if self.closed or not line else line.popleft()

    def _work(self) -> None:
        while piece := self._next():
            if piece.future.set_running_or_notify_cancel():
                began = time.monotonic()
                piece.run()
                with self.changed:
                    self.work_seconds += (time.monotonic() - began - self.work_seconds) / SMOOTHING
