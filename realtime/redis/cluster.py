"""Sharded pub/sub on a Redis cluster: one RedisNode per primary; the slot of a channel determines its node.

Each node fails and recovers separately: while one primary is unavailable, the channels of the others work. The
topology is read again after each sign of a change: a refused command, a cancelled subscription, a failed
connection. Events on channels that moved may be missing until then, so clients resync, as after a failed connection.
"""

import asyncio
from contextlib import suppress
from itertools import count
from urllib.parse import urlsplit

from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from db import tasks
from db.outage import Outage
from realtime.events import Event
from realtime.redis.node import TIMEOUTS, RedisNode
from realtime.redis.publisher import SEND_SECONDS
from realtime.redis.subscriber import CONNECT_SECONDS, RETRY_SECONDS, PacketReceiver
from services.redis_client import FAILURES, ClusterClient
from services.redis_scripts import ClusterScripts, Scripts

TOPOLOGY_SECONDS = 5.0  # for the nodes to report the topology; a frozen node delays it by a second
CHANNELS_AT_ONCE = 1_000  # then other tasks may run


def url_of_node(redis_url: str, host: str, port: int | str) -> str:
    """Return REDIS_URL with another node's address."""
    parts = urlsplit(redis_url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{userinfo}{at}{f'[{host}]' if ':' in host else host}:{port}", path="").geturl()


class ClusterBus:
    """The interface of a RedisNode, over the cluster that the node at `redis_url` belongs to."""

    def __init__(self, redis_url: str, name: str) -> None:
        self.redis_url = redis_url
        self.name = name
        self.numbers = count()
        self.topology_changed = asyncio.Event()
        self.topology_changed.set()
        self.redis = ClusterClient.from_url(
            redis_url, require_full_coverage=False, protocol=2, **{**TIMEOUTS, "retry": Retry(NoBackoff(), 0)}
        )
        # Until the topology is known, the node of REDIS_URL gets all requests, and refuses channels of other nodes.
        self.nodes: dict[str, RedisNode] = {"": self._make_node(redis_url)}
        self.outage = Outage("the Redis cluster does not report its slots", "the Redis cluster reports its slots again")
        self.owners: dict[int, RedisNode] = {}  # by slot
        self.carriers: dict[str, RedisNode] = {}  # subscribed channel -> the node it was requested from
        self.running: asyncio.Task[None] | None = None

    def _make_node(self, url: str) -> RedisNode:
        return RedisNode(url, f"{self.name}.{next(self.numbers)}", self)

    def owner(self, channel: str) -> RedisNode:
        return self.owners.get(key_slot(channel.encode())) or next(iter(self.nodes.values()))

    @property
    def healthy(self) -> bool:
        return bool(self.owners) and all(node.healthy for node in self.nodes.values())

    @property
    def scripts(self) -> Scripts:
        return ClusterScripts(self.redis, SEND_SECONDS)

    @property
    def queued_events(self) -> int:
        return sum(node.queued_events for node in self.nodes.values())

    def can_confirm(self, channel: str) -> bool:
        return channel in self.carriers and self.carriers[channel].healthy

    def start(self, receiver: PacketReceiver) -> None:
        for node in self.nodes.values():
            node.start(receiver)

        async def follow() -> None:
            await self._follow_topology(receiver)

        work = tasks.supervise("Redis topology", follow, FAILURES, RETRY_SECONDS)
        self.running = asyncio.create_task(work, name="Redis topology")

    async def stop(self) -> None:
        await tasks.end(self.running)
        await asyncio.gather(*(node.stop() for node in self.nodes.values()))
        with suppress(*FAILURES):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.redis.aclose()
                await self.redis.nodes_manager.aclose()  # connections that only read the topology

    def subscribe(self, channel: str) -> asyncio.Event:
        if channel not in self.carriers:
            self.carriers[channel] = self.owner(channel)
        return self.carriers[channel].subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        carrier = self.carriers.pop(channel, None)
        if carrier is not None:
            carrier.unsubscribe(channel)

    def send(self, channel: str, event: Event) -> None:
        self.owner(channel).send(channel, event)

    # -- the topology (realtime/redis/node.py) -----------------------------------------------------------------------

    def changed(self) -> None:
        self.topology_changed.set()

    def reroute(self, node: RedisNode, channel: str, event: Event) -> bool:
        owner = self.owner(channel)
        if owner is not node:
            owner.send(channel, event)
        return owner is not node

    async def _follow_topology(self, receiver: PacketReceiver) -> None:
        await self.topology_changed.wait()
        self.topology_changed.clear()
        try:
            await self._read_topology(receiver)
            self.outage.end()
        except Exception as error:
            self.topology_changed.set()
            if isinstance(error, FAILURES):
                self.outage.begin(error)
            raise
        await asyncio.sleep(RETRY_SECONDS[1])  # bounds the reads while the topology changes constantly

    async def _read_topology(self, receiver: PacketReceiver) -> None:
        manager = self.redis.nodes_manager
        seed = self.redis.startup_nodes[0]  # redis-py drops this node once it has others, but those may be removed
        manager.startup_nodes.setdefault(seed.name, seed)
        async with asyncio.timeout(TOPOLOGY_SECONDS):
            await manager.initialize()
        owners = {slot: replicated[0] for slot, replicated in manager.slots_cache.items()}
        present = {node.name: node for node in owners.values()}
        for name in present.keys() - self.nodes.keys():
            self.nodes[name] = self._make_node(url_of_node(self.redis_url, present[name].host, present[name].port))
            self.nodes[name].start(receiver)
        self.owners = {slot: self.nodes[node.name] for slot, node in owners.items()}
        gone = [self.nodes.pop(name) for name in self.nodes.keys() - present.keys()]
        await self._move_subscriptions()
        for node in gone:
            await node.stop()
            for channel, event in node.publisher.unpublished():
                self.send(channel, event)

    async def _move_subscriptions(self) -> None:
        """Subscribe to every channel at the node that owns its slot now."""
        moved: dict[RedisNode, list[str]] = {}
        for number, (channel, carrier) in enumerate(list(self.carriers.items())):
            if number % CHANNELS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self.carriers.get(channel) is carrier and self.owner(channel) is not carrier:
                carrier.unsubscribe(channel)
                self.carriers[channel] = self.owner(channel)
                moved.setdefault(self.carriers[channel], []).append(channel)
        for node, channels in moved.items():
            node.subscriber.take_over([channel for channel in channels if self.carriers.get(channel) is node])
