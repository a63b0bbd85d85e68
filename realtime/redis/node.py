"""One Redis server: a connection that subscribes, and a queue of events that another connection publishes.

`send` and `subscribe` do not wait for Redis; `publish_batch` and `stop` do.
"""

import asyncio
from typing import Any, Protocol
from urllib.parse import urlsplit

from redis.asyncio import ConnectionPool

from realtime.events import Event
from realtime.redis.publisher import SEND_SECONDS, Batch, RedisPublisher
from realtime.redis.subscriber import CONNECT_SECONDS, PacketReceiver, RedisSubscriber
from services.redis_connection import SharedConnection
from services.redis_scripts import Scripts, ServerScripts

TIMEOUTS: dict[str, Any] = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": SEND_SECONDS, "retry": None}


class Topology(Protocol):
    """The cluster that a node belongs to (realtime/redis/cluster.py)."""

    def changed(self) -> None:
        """A command was refused, a subscription was cancelled, or a connection failed: the slots may have moved."""

    def reroute(self, node: "RedisNode", channel: str, event: Event) -> bool:
        """Queue the event at another node if the channel belongs there now; return whether it was queued there."""


class SingleServer:
    """The topology of one Redis server: all channels belong to it."""

    def changed(self) -> None:
        pass

    def reroute(self, node: "RedisNode", channel: str, event: Event) -> bool:
        return False


class RedisNode:
    """A Redis server.

    If the server is a node of a cluster, `topology` is that cluster; the node has only the channels of its own slots.
    """

    def __init__(self, redis_url: str, name: str, topology: Topology | None = None) -> None:
        self.topology = topology or SingleServer()
        sharded = topology is not None
        self.command = "SPUBLISH" if sharded else "PUBLISH"
        connect = ConnectionPool.from_url(redis_url, protocol=2, **TIMEOUTS).make_connection
        server = urlsplit(redis_url).netloc.rpartition("@")[2]
        self.connection = SharedConnection(connect, SEND_SECONDS)  # of the publisher and of presence
        self.subscriber = RedisSubscriber(connect, self.topology, sharded, server)
        self.publisher = RedisPublisher(name, self)

    @property
    def healthy(self) -> bool:
        return self.subscriber.healthy

    @property
    def scripts(self) -> Scripts:
        return ServerScripts(self.connection)

    @property
    def queued_events(self) -> int:
        return len(self.publisher.queue)

    def can_confirm(self, channel: str) -> bool:
        """Return whether Redis can be expected to confirm a subscription soon."""
        return self.healthy

    def start(self, receiver: PacketReceiver) -> None:
        self.subscriber.start(receiver)
        self.publisher.start()

    async def stop(self) -> None:
        """Publish what is queued, within bounds, then close."""
        if self.healthy:
            await self.publisher.flush()
        await self.publisher.stop()
        await self.subscriber.stop()
        await self.connection.close()

    def subscribe(self, channel: str) -> asyncio.Event:
        return self.subscriber.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        self.subscriber.unsubscribe(channel)

    def send(self, channel: str, event: Event) -> None:
        self.publisher.publish(channel, event)

    def moved(self, channel: str, event: Event) -> bool:
        """Return whether the channel belongs to another node, which then publishes the event."""
        return self.topology.reroute(self, channel, event)

    def refused(self) -> None:
        self.topology.changed()

    async def publish_batch(self, batch: Batch) -> list[int]:
        """Publish packets. Return the indexes of those that Redis refused."""
        answers = await self.connection.run([(self.command, channel, packed) for channel, packed in batch])
        return [index for index, answer in enumerate(answers) if isinstance(answer, Exception)]
