"""Events: callbacks by name, and streams with a bound."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import Any

from .errors import SlowConsumer

log = logging.getLogger("encer")

STREAM_EVENTS = 1_000  # events that wait for a program that reads a stream; with more, the program is too slow


class Emitter:
    def __init__(self) -> None:
        self._listeners: dict[str, list[Callable[[Any], object]]] = {}
        self._stream_ends: set[Callable[[Exception | None], None]] = set()
        self._ended = False  # a stream that is opened later ends at once
        self._end_error: Exception | None = None

    def on(self, name: str, listener: Callable[[Any], object]) -> Callable[[], None]:
        """Call `listener(data)` at each event of this name; return a function that ends it.

        Listeners run while the client reads, so they must not block. Start a task for slow work.
        Raises TypeError for an `async` function, which nothing would await."""
        if inspect.iscoroutinefunction(listener):
            raise TypeError("A listener must not be async. Use a stream, or start a task in the listener.")
        self._listeners.setdefault(name, []).append(listener)
        return lambda: self._off(name, listener)

    def _off(self, name: str, listener: Callable[[Any], object]) -> None:
        if listener in self._listeners.get(name, []):
            self._listeners[name].remove(listener)

    def emit(self, name: str, data: Any) -> None:
        for listener in [*self._listeners.get(name, [])]:
            try:
                listener(data)
            except Exception:  # an error of a listener must not end the connection
                log.exception("a listener of %r failed", name)

    def end_streams(self, error: Exception | None = None) -> None:
        """End the streams that are open, after the events that wait in them."""
        self._ended, self._end_error = True, error
        for end in [*self._stream_ends]:
            end(error)

    def open_streams(self) -> None:
        """Let later streams wait for events again, because the client connects again."""
        self._ended, self._end_error = False, None

    async def stream(self, *names: str) -> AsyncIterator[tuple[str, Any]]:
        """Yield `(name, data)` of each event of these names, in order, until the client or conversation ends.

        Raises SlowConsumer if too many wait, or the error that ended the client."""
        queue: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(STREAM_EVENTS)
        overflow, ended, failure = False, self._ended, self._end_error

        def put(name: str, data: Any) -> None:
            nonlocal overflow
            if queue.full():
                overflow = True
            else:
                queue.put_nowait((name, data))

        def end(error: Exception | None) -> None:
            nonlocal ended, failure
            ended, failure = True, error
            if queue.empty():
                queue.put_nowait(("", None))  # continues the wait below

        stops = [self.on(name, partial(put, name)) for name in names]
        self._stream_ends.add(end)
        try:
            while not (ended and queue.empty()):
                event = await queue.get()
                if overflow:
                    raise SlowConsumer(f"More than {STREAM_EVENTS} events wait. Read the stream faster.")
                if event[0]:
                    yield event
            if failure:
                raise failure
        finally:
            self._stream_ends.discard(end)
            for stop in stops:
                stop()
