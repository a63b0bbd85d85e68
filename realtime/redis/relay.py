"""Events between instances, over Redis pub/sub: on one server by a Link, on a cluster by Shards. Nothing waits here."""

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import structlog

from realtime import channels
from realtime.events import Envelope
from realtime.redis.cluster import Shards
from realtime.redis.node import Link

log = structlog.get_logger()

SUBSCRIBE_SECONDS = 0.4  # a join waits no longer for Redis; until it is subscribed, the catch-up delivers
REMEMBERED_SPEAKERS = 10_000  # those that have gone are forgotten in the end
RESYNC = b"resync"


class Bus(Protocol):
    """What carries envelopes from one instance's relay to the others'."""

    redis: Any  # a client of the same server or cluster, for what else is kept there

    @property
    def healthy(self) -> bool: ...

    def hears(self, channel: str) -> bool: ...

    def start(self) -> None: ...

    async def stop(self) -> None: ...

    def want(self, channel: str) -> asyncio.Event: ...

    def unwant(self, channel: str) -> None: ...

    def say(self, envelope: Envelope) -> None: ...


class Relay:
    def __init__(self, redis_url: str, deliver: Callable[[Envelope], None], sharded: bool = False) -> None:
        self.instance_id = secrets.token_hex(6)
        self.deliver = deliver
        self.on_resume: Callable[[str], None] = lambda reason: None
        make: Callable[..., Bus] = Shards if sharded else Link
        self.bus = make(
            redis_url, self.instance_id, self._take, lambda reason: self.on_resume(reason), self._tell_overflow
        )
        # speaker -> number of its last envelope: a repeated batch is told once
        self.heard: OrderedDict[str, int] = OrderedDict()

    @property
    def healthy(self) -> bool:
        return self.bus.healthy

    @property
    def redis(self) -> Any:
        return self.bus.redis

    def start(self) -> None:
        self.bus.want(channels.EVERYBODY)
        self.bus.start()

    async def stop(self) -> None:
        """Say what is queued, within bounds, then close."""
        await self.bus.stop()

    async def subscribe(self, channel: str) -> None:
        """Hear `channel` from now on; waits for Redis' word, but not long: later is caught up."""
        confirmed = self.bus.want(channel)
        if self.bus.hears(channel):
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await confirmed.wait()

    def unsubscribe(self, channel: str) -> None:
        self.bus.unwant(channel)

    def send(self, envelope: Envelope) -> None:
        """Queue for the other instances; never waits."""
        self.bus.say(envelope)

    def _tell_overflow(self) -> None:
        """What others should have been told was dropped: they are to look at the database."""
        self.send(Envelope(channels.EVERYBODY, RESYNC))

    def _take(self, channel: str, packed: bytes) -> None:
        try:
            envelope, speaker, number = Envelope.unpack(channel, packed)
        except (ValueError, KeyError, TypeError):
            log.warning("something unknown was published", channel=channel)
            return
        if speaker.startswith(self.instance_id) or number <= self.heard.get(speaker, 0):
            return
        self.heard[speaker] = number
        self.heard.move_to_end(speaker)
        if len(self.heard) > REMEMBERED_SPEAKERS:
            self.heard.popitem(last=False)
        if channel == channels.EVERYBODY:
            self.on_resume("overflow")
        else:
            self.deliver(envelope)
