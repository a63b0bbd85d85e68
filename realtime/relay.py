"""Redis pub/sub between instances: a subscriber to listen, one queue to speak. Nothing waits for Redis."""

import asyncio
import random
import secrets
from collections import OrderedDict, deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from redis import asyncio as aioredis

from db import tasks
from realtime import channels
from realtime.events import Envelope
from realtime.subscriber import CONNECT_SECONDS, FAILURES, RETRY_SECONDS, Subscriber

log = structlog.get_logger()

QUEUE_BYTES = 16 * 1024 * 1024  # some seconds of a busy instance; over it, listeners are told to resync
BATCH_ENVELOPES = 200
SEND_SECONDS = 1.0
SUBSCRIBE_SECONDS = 0.4  # a join waits no longer for Redis; until it is subscribed, the catch-up delivers
REMEMBERED_INSTANCES = 1_000  # those that have gone are forgotten in the end
RESYNC = b"resync"


class Relay:
    def __init__(self, redis_url: str, deliver: Callable[[Envelope], None]) -> None:
        self.instance_id = secrets.token_hex(6)
        self.deliver = deliver
        self.on_resume: Callable[[str], None] = lambda reason: None
        timeouts: dict[str, Any] = {
            "socket_connect_timeout": CONNECT_SECONDS,
            "socket_timeout": SEND_SECONDS,
            "retry": None,
            "protocol": 2,
        }
        self.redis = aioredis.Redis.from_url(redis_url, max_connections=8, **timeouts)
        self.subscriber = Subscriber(
            self.redis.connection_pool.make_connection, self._take, lambda reason: self.on_resume(reason)
        )
        self.queue: deque[tuple[str, bytes]] = deque()
        self.queued_bytes = 0
        self.overflowed = False
        self.spoken = asyncio.Event()  # something is queued
        self.silent = asyncio.Event()  # nothing is
        self.silent.set()
        self.number = 0
        # instance -> number of its last envelope: a repeated batch is told once
        self.heard: OrderedDict[str, int] = OrderedDict()
        self.speaking: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return self.subscriber.healthy

    def start(self) -> None:
        self.subscriber.want(channels.EVERYBODY)
        self.subscriber.start()
        self.speaking = asyncio.create_task(self._speak_for_ever(), name="relay")

    async def stop(self) -> None:
        """Say what is queued, within bounds, then close."""
        if self.healthy:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await self.silent.wait()
        await tasks.end(self.speaking)
        await self.subscriber.stop()
        with suppress(*FAILURES):
            async with asyncio.timeout(SEND_SECONDS):
                await self.redis.aclose()

    # -- listening ---------------------------------------------------------------------------------------------------

    async def subscribe(self, channel: str) -> None:
        """Hear `channel` from now on; waits for Redis' word, but not long: later is caught up."""
        confirmed = self.subscriber.want(channel)
        if self.healthy:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await confirmed.wait()

    def unsubscribe(self, channel: str) -> None:
        self.subscriber.unwant(channel)

    def _take(self, channel: str, packed: bytes) -> None:
        if channel == channels.EVERYBODY:
            if packed == RESYNC:
                self.on_resume("overflow")
            return
        try:
            envelope, instance_id, number = Envelope.unpack(channel, packed)
        except (ValueError, KeyError, TypeError):
            log.warning("something unknown was published", channel=channel)
            return
        if instance_id != self.instance_id and number > self.heard.get(instance_id, 0):
            self.heard[instance_id] = number
            self.heard.move_to_end(instance_id)
            if len(self.heard) > REMEMBERED_INSTANCES:
                self.heard.popitem(last=False)
            self.deliver(envelope)

    # -- speaking ----------------------------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Queue for the other instances; never waits. What does not fit is dropped, and they are told to resync."""
        self.number += 1
        packed = envelope.pack(self.instance_id, self.number)
        if self.queued_bytes + len(packed) > QUEUE_BYTES:
            self.queue.clear()
            self.queued_bytes = 0
            self.overflowed = True
        self.queue.append((envelope.channel, packed))
        self.queued_bytes += len(packed)
        self.spoken.set()
        self.silent.clear()

    async def _speak_for_ever(self) -> None:
        while True:
            await self.spoken.wait()
            first_number = self.number - len(self.queue)
            batch = [self.queue[i] for i in range(min(BATCH_ENVELOPES, len(self.queue)))]
            overflowed, self.overflowed = self.overflowed, False
            try:
                await self._publish([(channels.EVERYBODY, RESYNC)] if overflowed else batch)
            except FAILURES:
                self.overflowed = self.overflowed or overflowed
                await asyncio.sleep(random.uniform(*RETRY_SECONDS))
                continue  # the same batch again: who has heard it knows by its numbers
            if overflowed:
                continue
            # What was said is done with, unless an overflow has swept it away meanwhile.
            while self.queue and self.number - len(self.queue) < first_number + len(batch):
                self.queued_bytes -= len(self.queue.popleft()[1])
            if not self.queue:
                self.spoken.clear()
                self.silent.set()

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for channel, packed in batch:
                    pipeline.publish(channel, packed)
                await pipeline.execute()
