"""One timer for all sockets of an instance: for pings, tokens that expire, and sign-ins that come too late.

A timer of the event loop for each socket takes 680 bytes, and a task that sleeps 1,800 bytes. Here a socket takes one
entry of a set.
"""

import asyncio
import math
import time
from typing import Protocol

TICK_SECONDS = 0.25  # a ping or a close can be this late


class Timed(Protocol):
    """A client (realtime/sockets/client.py)."""

    slot: int  # number of the tick at which it is called

    def tick(self, now: float) -> float | None:
        """Do what is due, and return the next time at which something is due; None if it is closed."""


class Timers:
    """The clients by the number of the tick at which something is due. The timer runs only while there are clients."""

    def __init__(self) -> None:
        self.slots: dict[int, set[Timed]] = {}
        self.timer: asyncio.TimerHandle | None = None

    def put(self, client: Timed, at: float) -> None:
        client.slot = math.ceil(at / TICK_SECONDS)
        slot = self.slots.get(client.slot)
        if slot is None:
            slot = self.slots[client.slot] = set()
        slot.add(client)
        if self.timer is None:
            self._wait()

    def remove(self, client: Timed) -> None:
        slot = self.slots.get(client.slot)
        if slot is not None:
            slot.discard(client)
            if not slot:
                del self.slots[client.slot]

    def _wait(self) -> None:
        self.timer = asyncio.get_running_loop().call_later(TICK_SECONDS, self._tick)

    def _tick(self) -> None:
        self.timer = None
        now = time.monotonic()
        for number in sorted(number for number in self.slots if number * TICK_SECONDS <= now):
            for client in self.slots.pop(number):
                at = client.tick(now)
                if at is not None:
                    self.put(client, at)
        if self.slots and self.timer is None:
            self._wait()
