"""REDIS_SHARDED: two instances on a Redis cluster whose nodes die, restart, are replaced and move slots."""

import asyncio
import time
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from tornado.ioloop import IOLoop

from db.packaged.servers import ServerUrls
from realtime import channels
from realtime.redis.cluster import url_of_node
from server import Instance
from services.metrics import CATCH_UPS, events_published
from settings import Limit, Settings
from tests.conftest import started
from tests.helpers.clients import Api, SocketClient
from tests.helpers.factories import People, Person
from tests.helpers.servers.redis_cluster import Node, RedisCluster


@pytest.fixture(scope="module")
def cluster(data_dir) -> Iterator[RedisCluster]:
    cluster = RedisCluster(data_dir)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


@pytest.fixture(scope="module")
def sharded(settings: Settings) -> Settings:
    return settings.model_copy(update={"redis_sharded": True})


@pytest.fixture(scope="module")
def urls(servers: ServerUrls, cluster: RedisCluster) -> ServerUrls:
    return ServerUrls(servers.database_url, cluster.url)


@pytest.fixture(scope="module")
def here(io_loop: IOLoop, sharded: Settings, urls: ServerUrls) -> Iterator[Instance]:
    yield from started(io_loop, sharded, urls)


@pytest.fixture(scope="module")
def there(io_loop: IOLoop, sharded: Settings, urls: ServerUrls) -> Iterator[Instance]:
    yield from started(io_loop, sharded, urls)


async def become_healthy(*instances: Instance) -> None:
    async with asyncio.timeout(10):
        while not all(instance.realtime.relay.healthy for instance in instances):
            await asyncio.sleep(0.02)


@dataclass
class Pair:
    """Hanako on this instance and Sakura on the other; both have joined their conversation."""

    hanako: Person
    conversation_id: str
    writes: SocketClient
    reads: SocketClient
    api: Api

    @property
    def channel(self) -> str:
        return channels.conversation(self.conversation_id)

    async def send(self, content: str) -> None:
        path = f"/chat/conversations/{self.conversation_id}/messages"
        assert (await self.api.post(path, {"content": content}, self.hanako)).status == 201

    async def type(self) -> None:
        """Send `typing_start`. Only Redis brings typing to another instance; the database does not store it."""
        where = {"conversationId": self.conversation_id}
        for sent, received in (("typing_start", "user_typing"), ("typing_stop", "user_stopped_typing")):
            await self.writes.send(sent, where)
            assert await self.reads.expect(received) == {**where, "userId": self.hanako.id}

    async def close(self) -> None:
        await self.writes.close()
        await self.reads.close()


class ShardedSetup:
    def __init__(self, cluster: RedisCluster, here: Instance, there: Instance) -> None:
        self.cluster = cluster
        self.here, self.there = Api(here), Api(there)
        self.people = People(here)
        self.pairs: list[Pair] = []

    async def pair_on(self, node: Node) -> Pair:
        """Return two users whose conversation's channel belongs to this node."""
        hanako = await self.people.influencer()
        while True:
            sakura = await self.people.salon()
            conversation_id = await self.people.connect(hanako, sakura)
            if self.cluster.owner(channels.conversation(conversation_id)) is node:
                break
        writes, reads = await self.here.socket(hanako), await self.there.socket(sakura)
        for socket in (writes, reads):
            await socket.join(conversation_id)
        self.pairs.append(Pair(hanako, conversation_id, writes, reads, self.here))
        return self.pairs[-1]


@pytest.fixture
def setup(io_loop: IOLoop, db, cluster: RedisCluster, here: Instance, there: Instance) -> Iterator[ShardedSetup]:
    setup = ShardedSetup(cluster, here, there)
    io_loop.run_sync(lambda: become_healthy(here, there))
    yield setup
    for pair in setup.pairs:
        io_loop.run_sync(pair.close)


async def test_each_node_carries_the_channels_of_its_slots(setup, cluster):
    expected = ["message_sent", "notification_received"]
    caught_up = CATCH_UPS._value.get()
    for node in cluster.primaries:
        pair = await setup.pair_on(node)
        elsewhere = [other.listeners(pair.channel) for other in cluster.primaries if other is not node]
        assert (node.listeners(pair.channel), elsewhere) == (2, [0, 0])
        await pair.type()
        await pair.send("こんにちは")
        received: list[str] = []  # two nodes may deliver them, so the order is not fixed
        while len(received) < 2:
            received += [name for name in [(await pair.reads.receive())["event"]] if name in expected]
        assert sorted(received) == expected
    assert CATCH_UPS._value.get() == caught_up


async def test_presence_is_counted_over_both_instances(setup, cluster):
    pair = await setup.pair_on(cluster.primaries[0])
    assert (await pair.writes.expect("user_online"))["userId"] == pair.reads.ready["userId"]
    assert (await pair.reads.expect("user_online"))["userId"] == pair.hanako.id


async def test_presence_returns_to_a_node_that_lost_its_data(setup, cluster, here, there):
    index = here.realtime.presence.index
    partitions = [partition for side in (here, there) for partition in side.realtime.presence.partitions.values()]
    lost = cluster.primaries[0]
    pairs = [await setup.pair_on(lost) for _ in range(4)]
    users = {user for pair in pairs for user in (pair.hanako.id, pair.reads.ready["userId"])}
    stay = {user for user in users if cluster.owner(index.partition_of(user)) is not lost}

    async def all_are_reported() -> float:
        """Return how many arrivals have been published."""
        async with asyncio.timeout(10):
            while await index.find_online(users) != users or any(p.dirty or p.pending_online for p in partitions):
                await asyncio.sleep(0.02)
        return events_published("user_online")._value.get()

    published = await all_are_reported()
    lost.ask("FLUSHALL")
    assert stay <= await index.find_online(users)
    for partition in partitions:
        await partition.heartbeat()
    assert await all_are_reported() == published


async def test_limits_are_counted_over_both_instances(setup, here, there, sharded, monkeypatch):
    monkeypatch.setattr(sharded, "limit_general", Limit(4, 60))
    monkeypatch.setattr(sharded, "limit_message", Limit(60, 60, 3))
    hanako = await setup.people.influencer()
    answers = [await api.get("/chat/contacts", hanako) for api in (setup.here, setup.there) * 3]
    assert [answer.status for answer in answers] == [200] * 4 + [429] * 2
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:4]] == ["3", "2", "1", "0"]
    assert [len(instance.services.rate_limits.local.counters) for instance in (here, there)] == [0, 0]


async def test_attempts_are_counted_over_both_instances(setup, here, there, sharded, monkeypatch):
    monkeypatch.setattr(sharded, "limit_auth_ip", Limit(50, 60))
    monkeypatch.setattr(sharded, "limit_auth", Limit(3, 60))
    hanako = await setup.people.influencer()
    guess = {"email": hanako.email, "password": "a wrong guess"}
    answers = await asyncio.gather(*(api.post("/auth/login", guess) for api in (setup.here, setup.there) * 3))
    assert sorted(answer.status for answer in answers) == [401] * 3 + [429] * 3
    assert [len(instance.services.rate_limits.local.counters) for instance in (here, there)] == [0, 0]


async def test_a_slot_moves(setup, cluster):
    pair = await setup.pair_on(cluster.primaries[0])
    stays = await setup.pair_on(cluster.primaries[1])
    old = cluster.owner(pair.channel)
    cluster.move(pair.channel)
    await pair.reads.expect("resync")
    await pair.writes.expect("resync")
    assert (cluster.owner(pair.channel).listeners(pair.channel), old.listeners(pair.channel)) == (2, 0)
    await pair.type()
    await stays.type()
    await pair.send("still here")
    assert (await pair.reads.expect("message_sent"))["content"] == "still here"


async def test_a_node_restarts(setup, cluster, here, there):
    node = cluster.primaries[1]
    pair, other = await setup.pair_on(node), await setup.pair_on(cluster.primaries[0])
    node.kill()
    began = time.monotonic()
    await pair.send("without a subscriber")
    assert time.monotonic() - began < 0.5
    await other.type()  # the other nodes' channels still work
    assert (await pair.reads.expect("message_sent"))["content"] == "without a subscriber"  # read from the database
    await wait_until(lambda: not there.realtime.relay.healthy)
    assert (await setup.there.get("/health/ready")).body["status"] == "degraded"
    node.start()
    await pair.reads.expect("resync")
    await pair.type()
    await pair.send("back again")
    assert (await pair.reads.expect("message_sent"))["content"] == "back again"
    assert [event["data"]["seq"] for event in pair.reads.events if event["event"] == "message_sent"] == [1, 2]
    await become_healthy(here, there)


async def test_a_node_dies_and_is_replaced(setup, cluster):
    dead = cluster.primaries[-1]
    pair, other = await setup.pair_on(dead), await setup.pair_on(cluster.primaries[0])
    dead.kill()
    await pair.writes.send("typing_start", {"conversationId": pair.conversation_id})
    cluster.replica.ask("CLUSTER FAILOVER", "TAKEOVER")
    await pair.reads.expect("resync")
    assert cluster.replica.listeners(pair.channel) > 0
    await pair.writes.send("typing_stop", {"conversationId": pair.conversation_id})
    await pair.reads.expect("user_stopped_typing")
    await pair.type()
    await other.type()
    await pair.send("from the replica")
    assert (await pair.reads.expect("message_sent"))["content"] == "from the replica"


async def test_the_whole_cluster_is_away(setup, cluster, here, there, sharded, monkeypatch):
    """Last in this file, because the cluster is not complete afterwards."""
    monkeypatch.setattr(sharded, "limit_general", Limit(4, 60))
    pair = await setup.pair_on(cluster.primaries[0])
    for node in cluster.nodes:
        node.kill()
    began = time.monotonic()
    await pair.send("by REST")
    assert time.monotonic() - began < 0.5
    answers = [await setup.here.get("/chat/contacts", pair.hanako) for _ in range(6)]
    assert [answer.status for answer in answers].count(429) == 3  # counted by this instance alone
    assert (await pair.writes.expect("message_sent"))["content"] == "by REST"
    assert (await pair.reads.expect("message_sent"))["content"] == "by REST"
    for node in cluster.nodes:
        node.start()
    await wait_until(lambda: cluster.primaries[0].listeners(pair.channel) == 2)
    await pair.type()


async def wait_until(done) -> None:
    async with asyncio.timeout(10):
        while not done():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(
    ("redis_url", "expected"),
    [
        ("redis://name:p%40ss@seed:7000/0", "redis://name:p%40ss@10.0.0.7:7001"),
        ("rediss://:pass@seed/0?ssl_cert_reqs=none", "rediss://:pass@10.0.0.7:7001?ssl_cert_reqs=none"),
        ("redis://[::1]:7000", "redis://10.0.0.7:7001"),
    ],
)
def test_the_url_of_another_node(redis_url, expected):
    assert url_of_node(redis_url, "10.0.0.7", 7001) == expected
    assert "@[fe80::1]:7001" in url_of_node("redis://:p@seed", "fe80::1", 7001)
