"""Redis pub/sub between instances: one supervised connection to listen, one queue to speak.

Nothing waits for Redis. What is to be said queues up; what is to be heard is subscribed to on the first listener. The
instance hears its own heartbeat through Redis: when that stops, the connection is made anew and `on_resume` called,
for whatever was missed meanwhile stands in the database.
"""

import asyncio
import random
import secrets
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import structlog
from redis import asyncio as aioredis
from redis.exceptions import RedisError

from realtime import channels
from realtime.events import Envelope

log = structlog.get_logger()

QUEUE_ENVELOPES = 10_000  # some seconds of a busy instance; over it, listeners are told to resync
BATCH_ENVELOPES = 200
SEND_SECONDS = 1.0
HEARTBEAT_SECONDS = 0.5
SILENCE_SECONDS = 2.0  # without a heartbeat the connection is taken for dead
SUBSCRIBE_SECONDS = 0.4  # a join waits no longer for Redis; until it is subscribed, the catch-up delivers
RETRY_SECONDS = (0.1, 1.0)
RESYNC = b"resync"


class Relay:
    def __init__(self, redis_url: str, deliver: Callable[[Envelope], None]) -> None:
        self.instance_id = secrets.token_hex(6)
        self.deliver = deliver
        self.on_resume: Callable[[str], None] = lambda reason: None
        timeouts: dict[str, Any] = {
            "socket_connect_timeout": SEND_SECONDS,
            "socket_timeout": SEND_SECONDS,
            "retry": None,
        }
        self.redis = aioredis.Redis.from_url(redis_url, max_connections=4, **timeouts)
        self.listening = aioredis.Redis.from_url(redis_url, max_connections=1, **timeouts)
        self.pubsub: Any = None
        self.wanted: dict[str, asyncio.Event] = {}  # channel -> set once Redis has confirmed it
        self.queue: deque[tuple[str, bytes]] = deque()
        self.overflowed = False
        self.spoken = asyncio.Event()  # something is queued
        self.silent = asyncio.Event()  # nothing is
        self.silent.set()
        self.number = 0
        self.heard: dict[str, int] = {}  # instance -> number of its last envelope: a repeated batch is told once
        self.heard_at = float("-inf")
        self.tasks: list[asyncio.Task[None]] = []

    @property
    def healthy(self) -> bool:
        return time.monotonic() - self.heard_at < SILENCE_SECONDS

    def start(self) -> None:
        own = (channels.EVERYBODY, channels.heartbeat(self.instance_id))
        self.wanted.update({channel: asyncio.Event() for channel in own})
        self.tasks = [
            asyncio.create_task(work(), name=f"relay {work.__name__}")
            for work in (self._listen_for_ever, self._speak_for_ever, self._beat_for_ever)
        ]

    async def stop(self) -> None:
        """Say what is queued, within bounds, then close."""
        if self.healthy:
            with suppress(TimeoutError):
                async with asyncio.timeout(SEND_SECONDS):
                    await self.silent.wait()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                if self.pubsub is not None:
                    await self.pubsub.aclose()
                await self.listening.aclose()
                await self.redis.aclose()

    # -- listening ---------------------------------------------------------------------------------------------------

    async def subscribe(self, channel: str) -> None:
        """Hear `channel` from now on; waits for Redis' word, but not long: later is caught up."""
        if channel not in self.wanted:
            self.wanted[channel] = asyncio.Event()
            if self.pubsub is not None:
                with suppress(RedisError, OSError, TimeoutError):
                    await self.pubsub.subscribe(channel)
        if self.healthy:
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await self.wanted[channel].wait()

    async def unsubscribe(self, channel: str) -> None:
        self.wanted.pop(channel, None)
        if self.pubsub is not None:
            with suppress(RedisError, OSError, TimeoutError):
                await self.pubsub.unsubscribe(channel)

    async def _listen_for_ever(self) -> None:
        first = True
        while True:
            try:
                await self._listen(first)
            except (RedisError, OSError, TimeoutError) as error:
                log.warning("Redis is not heard", reason=type(error).__name__)
            except Exception:
                log.exception("relay failed")
            first = False
            await self._forget_connection()
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))

    async def _listen(self, first: bool) -> None:
        self.pubsub = self.listening.pubsub()
        async with asyncio.timeout(SEND_SECONDS):
            await self.pubsub.subscribe(*self.wanted)
        began = time.monotonic()
        resumed = False
        while True:
            message = await self.pubsub.get_message(timeout=HEARTBEAT_SECONDS)
            if message is not None:
                self._take(message)
            if time.monotonic() - max(self.heard_at, began) > SILENCE_SECONDS:
                raise TimeoutError("no heartbeat")
            if not resumed and all(confirmed.is_set() for confirmed in self.wanted.values()):
                resumed = True
                if not first:
                    self.on_resume("redis")

    def _take(self, message: dict[str, Any]) -> None:
        kind, channel = message["type"], message["channel"].decode()
        if kind == "subscribe" and channel in self.wanted:
            self.wanted[channel].set()
        if kind != "message":
            return
        if channel == channels.heartbeat(self.instance_id):
            self.heard_at = time.monotonic()
        elif channel == channels.EVERYBODY and message["data"] == RESYNC:
            self.on_resume("overflow")
        else:
            envelope, instance_id, number = Envelope.unpack(channel, message["data"])
            if instance_id != self.instance_id and number > self.heard.get(instance_id, 0):
                self.heard[instance_id] = number
                self.deliver(envelope)

    async def _forget_connection(self) -> None:
        for confirmed in self.wanted.values():
            confirmed.clear()
        pubsub, self.pubsub = self.pubsub, None
        with suppress(RedisError, OSError, TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                if pubsub is not None:
                    await pubsub.aclose()
                await self.listening.connection_pool.disconnect()

    # -- speaking ----------------------------------------------------------------------------------------------------

    def send(self, envelope: Envelope) -> None:
        """Queue for the other instances; never waits. What does not fit is dropped, and they are told to resync."""
        self.number += 1
        if len(self.queue) >= QUEUE_ENVELOPES:
            self.queue.clear()
            self.overflowed = True
        self.queue.append((envelope.channel, envelope.pack(self.instance_id, self.number)))
        self.spoken.set()
        self.silent.clear()

    async def _speak_for_ever(self) -> None:
        while True:
            await self.spoken.wait()
            batch = [self.queue[i] for i in range(min(BATCH_ENVELOPES, len(self.queue)))]
            try:
                await self._publish([(channels.EVERYBODY, RESYNC)] if self.overflowed else batch)
            except (RedisError, OSError, TimeoutError):
                await asyncio.sleep(random.uniform(*RETRY_SECONDS))
                continue  # the same batch again: who has heard it knows by its numbers
            if self.overflowed:
                self.overflowed = False
                continue
            for _ in range(min(len(batch), len(self.queue))):
                self.queue.popleft()
            if not self.queue:
                self.spoken.clear()
                self.silent.set()

    async def _beat_for_ever(self) -> None:
        while True:
            with suppress(RedisError, OSError, TimeoutError):
                await self._publish([(channels.heartbeat(self.instance_id), b"")])
            await asyncio.sleep(HEARTBEAT_SECONDS)

    async def _publish(self, batch: list[tuple[str, bytes]]) -> None:
        async with asyncio.timeout(SEND_SECONDS):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for channel, packed in batch:
                    pipeline.publish(channel, packed)
                await pipeline.execute()
