"""Bound how many costly operations run at once, and how many callers wait for one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakValueDictionary

from db.errors import NotReady


class Busy(NotReady):
    """All slots are taken and the queue for them is full."""


class Slots:
    """At most `running` holders at once and `waiting` in a queue, in order of arrival; one more is refused."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._semaphore = asyncio.Semaphore(running)
        self._max_waiting = waiting
        self._waiting = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Wait for a slot and hold it. Raises Busy when the queue is full."""
        if self._semaphore.locked() and self._waiting >= self._max_waiting:
            raise Busy
        self._waiting += 1
        try:
            await self._semaphore.acquire()
        finally:
            self._waiting -= 1
        try:
            yield
        finally:
            self._semaphore.release()


class SlotsPerOwner:
    """The same bounds for each of many owners. Only owners that hold or await a slot are stored."""

    def __init__(self, *, running: int, waiting: int) -> None:
        self._running, self._max_waiting = running, waiting
        self._slots: WeakValueDictionary[str, Slots] = WeakValueDictionary()

    @asynccontextmanager
    async def take(self, owner: str) -> AsyncIterator[None]:
        """Do the same as `Slots.take`, with the slots of `owner`."""
        slots = self._slots.get(owner)
        if slots is None:
            slots = self._slots[owner] = Slots(running=self._running, waiting=self._max_waiting)
        async with slots.take():
            yield
