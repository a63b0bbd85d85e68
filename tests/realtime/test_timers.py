"""The one timer of all sockets."""

import asyncio
import time

import pytest

from realtime.sockets import timers
from realtime.sockets.timers import Timers


class Client:
    """Is due again after `pause`, `times` times."""

    slot = 0

    def __init__(self, times: int, pause: float = 0.0) -> None:
        self.times, self.pause, self.ticks = times, pause, 0
        self.ended = asyncio.Event()

    def tick(self, now: float) -> float | None:
        self.ticks += 1
        if self.ticks < self.times:
            return now + self.pause
        self.ended.set()
        return None


@pytest.fixture
def due(monkeypatch) -> Timers:
    monkeypatch.setattr(timers, "TICK_SECONDS", 0.01)
    return Timers()


async def test_clients_are_called_until_they_end(due: Timers):
    once, often, later = Client(1), Client(3), Client(1, 3600)
    for client in (once, often):
        due.put(client, time.monotonic())
    due.put(later, time.monotonic() + 3600)
    async with asyncio.timeout(10):
        await often.ended.wait()
    assert (once.ticks, often.ticks, later.ticks) == (1, 3, 0)
    assert [list(slot) for slot in due.slots.values()] == [[later]]
    due.remove(later)
    assert due.slots == {}


async def test_a_removed_client_is_not_called(due: Timers):
    removed, called = Client(1), Client(1)
    for client in (removed, called):
        due.put(client, time.monotonic())
    due.remove(removed)
    async with asyncio.timeout(10):
        await called.ended.wait()
    assert removed.ticks == 0
    assert due.timer is None  # an instance without sockets has no timer
