"""Measure what a published event costs Redis: one server by the number of instances, then a cluster of three with
classic and with sharded pub/sub. `.venv/bin/python -m bench.scale.pubsub`; half a minute."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import orjson
import uvloop
from orjson import Fragment
from redis import asyncio as aioredis

from bench.scale.helpers import TEXT, read_rounds, report
from bench.setup.machine import Meter
from db.packaged.servers import EmbeddedServers, stop_redis
from realtime.events import MessageSent
from realtime.redis.packet import pack
from tests.helpers.scratch import scratch_folder
from tests.helpers.servers.redis_cluster import Node, RedisCluster

EVENTS = 20_000
BATCH = 200  # as realtime/redis/publisher.py sends them
CHANNELS = [f"encer:conversation:{number}" for number in range(BATCH)]
# A message_sent as it goes over Redis: about 700 bytes.
MESSAGE = Fragment(orjson.dumps({"content": TEXT, "more": "x" * 480}))
PACKED = pack("0" * 12, 10**6, MessageSent("0" * 36, 7, MESSAGE, "0" * 36))


async def publish(nodes: Sequence[aioredis.Redis], commands: list[list[tuple[Any, ...]]]) -> None:
    """Send each node its commands, EVENTS / BATCH times."""
    for _ in range(EVENTS // BATCH):
        for node, batch in zip(nodes, commands, strict=True):
            async with node.pipeline(transaction=False) as pipeline:
                for command in batch:
                    pipeline.execute_command(*command)
                await pipeline.execute()


@contextlib.asynccontextmanager
async def listening(url: str, command: str, channels: list[str]) -> AsyncIterator[None]:
    """One connection of one instance."""
    redis = aioredis.Redis.from_url(url, protocol=2)
    connection = redis.connection_pool.make_connection()  # type: ignore[no-untyped-call]
    await connection.connect()
    for channel in channels:
        await connection.send_command(command, channel)
        await connection.read_response()

    async def read() -> None:
        while True:
            await connection.read_response()

    task = asyncio.create_task(read())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await connection.disconnect(nowait=True)
    await redis.aclose()


async def one_server(url: str, rounds: int) -> None:
    redis = aioredis.Redis.from_url(url, protocol=2)
    pid = int((await redis.info("server"))["process_id"])
    floor: list[float] = []
    costs: dict[int, list[float]] = {0: [], 1: [], 2: [], 4: []}
    for _ in range(rounds):
        with Meter(pid) as meter:
            await publish([redis], [[("ECHO", PACKED)] * BATCH])
        floor.append(meter.seconds / EVENTS * 1e6)
        for listeners, cost in costs.items():
            async with contextlib.AsyncExitStack() as stack:
                for _ in range(listeners):
                    await stack.enter_async_context(listening(url, "SUBSCRIBE", CHANNELS))
                with Meter(pid) as meter:
                    await publish([redis], [[("PUBLISH", channel, PACKED) for channel in CHANNELS]])
                cost.append(meter.seconds / EVENTS * 1e6)
    await redis.aclose()
    report(f"ECHO of {len(PACKED)} bytes", floor, "µs of CPU")
    for listeners, cost in costs.items():
        report(f"an event that {listeners} instances receive", cost, "µs of CPU", floor, "ECHO")


async def cluster_of_three(cluster: RedisCluster, rounds: int) -> None:
    """Measure all three nodes and the bus between them; two instances subscribe to every channel."""
    nodes = cluster.primaries
    own = [[channel for channel in CHANNELS if cluster.owner(channel) is node] for node in nodes]
    thirds = [CHANNELS[number::3] for number in range(3)]
    # Classic: any node accepts an event, and an instance subscribes at one node. Sharded: each channel has its node.
    everything: list[list[list[str]]] = [[CHANNELS], [CHANNELS], []]
    classic = ("SUBSCRIBE", everything, "PUBLISH", thirds)
    sharded = ("SSUBSCRIBE", [[channels, channels] for channels in own], "SPUBLISH", own)
    figures: dict[str, dict[str, list[float]]] = {}
    for _ in range(rounds):
        for name, (subscribe, receivers, command, said) in (("classic", classic), ("sharded", sharded)):
            figure = figures.setdefault(name, {"all": [], "busiest": [], "bus": []})
            async with contextlib.AsyncExitStack() as stack:
                for node, instances in zip(nodes, receivers, strict=True):
                    for channels in instances:
                        await stack.enter_async_context(listening(node.url, subscribe, channels))
                used, bus = await work(nodes, command, said)
            figure["all"].append(sum(used))
            figure["busiest"].append(max(used))
            figure["bus"].append(bus)
    for name, figure in figures.items():
        report(f"{name}: an event, in all three nodes", figure["all"], "µs of CPU")
        report("  in the busiest", figure["busiest"], "µs of CPU")
        report("  messages between the nodes", figure["bus"], "an event")


async def work(nodes: Sequence[Node], command: str, said: list[list[str]]) -> tuple[list[float], float]:
    """Return µs of CPU per event in each node, and messages per event over the cluster's bus."""
    pids = [node.process.pid for node in nodes if node.process]
    clients = [aioredis.Redis.from_url(node.url, protocol=2) for node in nodes]
    before = sum(bus_messages(node) for node in nodes)
    with contextlib.ExitStack() as stack:
        meters = [stack.enter_context(Meter(pid)) for pid in pids]
        await publish(clients, [[(command, channel, PACKED) for channel in channels] for channels in said])
        await asyncio.sleep(0.2)  # until messages in transit have arrived
    for client in clients:
        await client.aclose()
    bus = sum(bus_messages(node) for node in nodes) - before
    return [meter.seconds / EVENTS * 1e6 for meter in meters], bus / EVENTS


def bus_messages(node: Node) -> int:
    state = node.ask("CLUSTER INFO")
    return sum(int(state.get(f"cluster_stats_messages_{kind}_sent", 0)) for kind in ("publish", "publishshard"))


def main() -> None:
    rounds = read_rounds(__doc__)
    with scratch_folder("encer-bench-") as folder:
        url = EmbeddedServers(Path(folder)).start_redis()
        try:
            uvloop.run(one_server(url, rounds))
        finally:
            stop_redis(url)
        cluster = RedisCluster(Path(folder), replica=False)
        try:
            cluster.start()
            uvloop.run(cluster_of_three(cluster, rounds))
        finally:
            cluster.stop()


if __name__ == "__main__":
    main()
