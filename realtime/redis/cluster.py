"""Sharded pub/sub on a Redis cluster: a link to each primary; the slot of a channel says which of them carries it.

Each link fails and recovers by itself: while one primary is away, the channels of the others go on. Who owns which slot
is asked again whenever something points to a change: a command that is refused, a subscription that is taken back, a
link that breaks. What lived on another node until then may have been missed, so `on_resume` is told, as after a break.
"""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from urllib.parse import urlsplit

import structlog
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot

from db import tasks
from db.outage import Outage
from realtime.events import Envelope
from realtime.redis.node import TIMEOUTS, Link
from realtime.redis.subscriber import CONNECT_SECONDS, RETRY_SECONDS
from services.redis_client import FAILURES

log = structlog.get_logger()

LOOK_SECONDS = 5.0  # for the nodes to say who owns what; one that is frozen costs a second
CHANNELS_AT_ONCE = 1_000  # between two of these others get their turn


def url_of_node(redis_url: str, host: str, port: int | str) -> str:
    """REDIS_URL's credentials and options, another node's address."""
    parts = urlsplit(redis_url)
    userinfo, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{userinfo}{at}{f'[{host}]' if ':' in host else host}:{port}", path="").geturl()


class Shards:
    """A Link's interface, over the cluster that the node at `redis_url` belongs to."""

    def __init__(
        self,
        redis_url: str,
        name: str,
        on_message: Callable[[str, bytes], None],
        on_resume: Callable[[str], None],
        on_overflow: Callable[[], None],
    ) -> None:
        self.redis_url = redis_url
        self.name = name
        self.on_message = on_message
        self.on_resume = on_resume
        self.on_overflow = on_overflow
        self.numbers = count()
        self.astray = asyncio.Event()  # to look at the cluster (again)
        self.astray.set()
        self.redis = RedisCluster.from_url(
            redis_url, require_full_coverage=False, protocol=2, **{**TIMEOUTS, "retry": Retry(NoBackoff(), 0)}
        )
        # Before the cluster has said who owns what, the seed is asked for everything, and refuses what is not its own.
        self.links: dict[str, Link] = {"": self._make_link(redis_url)}
        self.outage = Outage(
            "the Redis cluster does not say which node owns which slot", "the Redis cluster says it again"
        )
        self.owners: dict[int, Link] = {}  # by slot
        self.homes: dict[str, Link] = {}  # channel that is wanted -> the link that was asked for it
        self.task: asyncio.Task[None] | None = None

    def _make_link(self, url: str) -> Link:
        name = f"{self.name}.{next(self.numbers)}"
        link = Link(url, name, self.on_message, self.on_resume, self.on_overflow, sharded=True)
        link.subscriber.on_astray = link.speaker.on_astray = self.astray.set
        link.speaker.passed_on = lambda envelope: self._pass_on(link, envelope)
        return link

    def owner(self, channel: str) -> Link:
        return self.owners.get(key_slot(channel.encode())) or next(iter(self.links.values()))

    @property
    def healthy(self) -> bool:
        return bool(self.owners) and all(link.healthy for link in self.links.values())

    def hears(self, channel: str) -> bool:
        return channel in self.homes and self.homes[channel].healthy

    def start(self) -> None:
        for link in self.links.values():
            link.start()
        self.task = asyncio.create_task(self._watch(), name="shards")

    async def stop(self) -> None:
        await tasks.end(self.task)
        await asyncio.gather(*(link.stop() for link in self.links.values()))
        with suppress(*FAILURES):
            async with asyncio.timeout(CONNECT_SECONDS):
                await self.redis.aclose()
                await self.redis.nodes_manager.aclose()  # what only looks have used

    def want(self, channel: str) -> asyncio.Event:
        if channel not in self.homes:
            self.homes[channel] = self.owner(channel)
        return self.homes[channel].want(channel)

    def unwant(self, channel: str) -> None:
        home = self.homes.pop(channel, None)
        if home is not None:
            home.unwant(channel)

    def say(self, envelope: Envelope) -> None:
        self.owner(envelope.channel).say(envelope)

    def _pass_on(self, link: Link, envelope: Envelope) -> bool:
        owner = self.owner(envelope.channel)
        if owner is not link:
            owner.say(envelope)
        return owner is not link

    # -- who owns what -----------------------------------------------------------------------------------------------

    async def _watch(self) -> None:
        while True:
            await self.astray.wait()
            self.astray.clear()
            try:
                await self._look()
                self.outage.end()
            except FAILURES as error:
                self.outage.begin(error)
                self.astray.set()
            except Exception:
                log.exception("shards failed")
                self.astray.set()
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))

    async def _look(self) -> None:
        nodes = self.redis.nodes_manager
        seed = self.redis.startup_nodes[0]  # forgotten once others are known, but the others may have moved away
        nodes.startup_nodes.setdefault(seed.name, seed)
        async with asyncio.timeout(LOOK_SECONDS):
            await nodes.initialize()
        owners = {slot: replicated[0] for slot, replicated in nodes.slots_cache.items()}
        present = {node.name: node for node in owners.values()}
        for name in present.keys() - self.links.keys():
            self.links[name] = self._make_link(url_of_node(self.redis_url, present[name].host, present[name].port))
            self.links[name].start()
        self.owners = {slot: self.links[node.name] for slot, node in owners.items()}
        gone = [self.links.pop(name) for name in self.links.keys() - present.keys()]
        await self._move()
        for link in gone:
            await link.stop()
            for envelope in link.speaker.unsaid():
                self.say(envelope)

    async def _move(self) -> None:
        """Hear every channel where its slot is now."""
        moved: dict[Link, list[str]] = {}
        for number, (channel, home) in enumerate(list(self.homes.items())):
            if number % CHANNELS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self.homes.get(channel) is home and self.owner(channel) is not home:
                home.unwant(channel)
                self.homes[channel] = self.owner(channel)
                moved.setdefault(self.homes[channel], []).append(channel)
        for link, channels in moved.items():
            link.subscriber.want_again([channel for channel in channels if self.homes.get(channel) is link])
