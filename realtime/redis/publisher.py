"""The queue of events to publish on one Redis server, in order. Publishing never waits."""

import asyncio
from collections import deque
from contextlib import suppress
from typing import NamedTuple, Protocol

from redis.exceptions import ResponseError

from db import tasks
from realtime import channels
from realtime.events import Event, Resync
from realtime.redis.packet import pack
from realtime.redis.subscriber import RETRY_SECONDS
from services.redis_client import FAILURES

QUEUE_BYTES = 16 * 1024 * 1024  # some seconds of a busy instance; above it the queue is dropped and all clients resync
EVENT_BYTES = 200  # approximate size of an event beside its frame
BATCH_EVENTS = 200
SEND_SECONDS = 1.0

Batch = list[tuple[str, bytes]]  # channel and packet


class Queued(NamedTuple):
    channel: str
    event: Event

    @property
    def size(self) -> int:
        return len(self.event.frame) + EVENT_BYTES


class Server(Protocol):
    """The Redis server that a queue publishes on (realtime/redis/node.py)."""

    def moved(self, channel: str, event: Event) -> bool: ...

    def refused(self) -> None: ...

    async def publish_batch(self, batch: Batch) -> list[int]: ...


class RedisPublisher:
    """`name` is unique over all instances: receivers remember the number of the last packet of each name."""

    def __init__(self, name: str, server: Server) -> None:
        self.name = name
        self.server = server
        self.queue: deque[Queued] = deque()
        self.queued_bytes = 0
        self.in_flight: list[tuple[Queued, bytes]] = []  # sent, perhaps not received: they are sent again unchanged
        self.number = 0
        self.pending = asyncio.Event()  # something is queued
        self.idle = asyncio.Event()  # the queue is empty
        self.idle.set()
        self.running: asyncio.Task[None] | None = None

    def publish(self, channel: str, event: Event) -> None:
        """Queue the event. If the queue is full, drop all of it and make the other instances' clients resync."""
        item = Queued(channel, event)
        if self.queued_bytes + item.size > QUEUE_BYTES:
            self.queue.clear()
            self.queued_bytes = 0
            self._append(Queued(channels.ALL_INSTANCES, Resync("overflow")))
        self._append(item)

    def _append(self, item: Queued) -> None:
        self.queue.append(item)
        self.queued_bytes += item.size
        self.pending.set()
        self.idle.clear()

    def start(self) -> None:
        work = tasks.supervise("Redis publisher", self._publish_next, FAILURES, RETRY_SECONDS)
        self.running = asyncio.create_task(work, name="Redis publisher")

    async def stop(self) -> None:
        await tasks.end(self.running)

    async def flush(self) -> None:
        """Wait, within bounds, until everything is published."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self.idle.wait()

    def unpublished(self) -> list[Queued]:
        return [*(item for item, _ in self.in_flight), *self.queue]

    async def _publish_next(self) -> None:
        await self.pending.wait()
        try:
            await self._publish_batch()
        except Exception:
            self.server.refused()
            raise

    async def _publish_batch(self) -> None:
        self._take_batch()
        if self.in_flight:
            refused = await self.server.publish_batch([(item.channel, packed) for item, packed in self.in_flight])
            # Redis has surely not published them: they get new numbers, and go first to keep their channels' order.
            again = [self.in_flight[index][0] for index in refused]
            self.queue.extendleft(reversed(again))
            self.queued_bytes += sum(item.size for item in again)
            self.in_flight = []
            if again:
                raise ResponseError("refused")
        if not self.queue:
            self.pending.clear()
            self.idle.set()
        await asyncio.sleep(0)

    def _take_batch(self) -> None:
        self.in_flight = [sent for sent in self.in_flight if not self.server.moved(*sent[0])]
        for _ in range(min(len(self.queue), BATCH_EVENTS - len(self.in_flight))):
            item = self.queue.popleft()
            self.queued_bytes -= item.size
            if not self.server.moved(*item):
                self.number += 1
                self.in_flight.append((item, pack(self.name, self.number, item.event)))
