"""Events between instances, over Redis pub/sub: on one server or on a cluster.

Sending never waits for Redis. Subscribing waits at most SUBSCRIBE_SECONDS for its confirmation.
"""

import asyncio
from contextlib import suppress

from realtime import channels
from realtime.events import Event
from realtime.redis.cluster import ClusterBus
from realtime.redis.node import RedisNode
from realtime.redis.subscriber import PacketReceiver
from services.redis_scripts import Scripts

SUBSCRIBE_SECONDS = 0.4  # a join waits no longer for Redis; until the subscription, catch_up.py delivers


class Relay:
    """The connection to Redis, which is one server or a cluster, as the other parts of the realtime service use it."""

    def __init__(self, redis_url: str, instance_id: str, sharded: bool = False) -> None:
        self.bus: RedisNode | ClusterBus = (
            ClusterBus(redis_url, instance_id) if sharded else RedisNode(redis_url, instance_id)
        )

    @property
    def healthy(self) -> bool:
        return self.bus.healthy

    @property
    def queued_events(self) -> int:
        return self.bus.queued_events

    @property
    def scripts(self) -> Scripts:
        """Scripts of the same server or cluster, for presence."""
        return self.bus.scripts

    def start(self, receiver: PacketReceiver) -> None:
        """Connect; from now on `receiver` gets what other instances publish on the subscribed channels."""
        self.bus.subscribe(channels.ALL_INSTANCES)
        self.bus.start(receiver)

    async def stop(self) -> None:
        """Publish what is queued, within bounds, then close."""
        await self.bus.stop()

    async def subscribe(self, channel: str) -> None:
        """Subscribe, and wait a short time for Redis' confirmation."""
        confirmed = self.bus.subscribe(channel)
        if not confirmed.is_set() and self.bus.can_confirm(channel):
            with suppress(TimeoutError):
                async with asyncio.timeout(SUBSCRIBE_SECONDS):
                    await confirmed.wait()

    def unsubscribe(self, channel: str) -> None:
        self.bus.unsubscribe(channel)

    def send(self, channel: str, event: Event) -> None:
        """Queue the event for the other instances; return at once."""
        self.bus.send(channel, event)
