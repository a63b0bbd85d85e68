"""Measure what presence costs Redis, by the number of instances: one server, then a cluster of three; half a minute.

`.venv/bin/python -m bench.scale.presence`."""

import asyncio
import contextlib
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from redis import Redis

from bench.scale.helpers import read_rounds, report
from bench.setup.machine import Meter
from db.packaged.servers import EmbeddedServers, stop_redis
from realtime.presence.index import PresenceIndex
from services.redis_client import connect_redis
from services.redis_scripts import Scripts, scripts_of
from tests.helpers.scratch import scratch_folder
from tests.helpers.servers.redis_cluster import RedisCluster

FRIENDS = 50  # of a user; a new socket asks which of them are online
BATCHES, BATCH_USERS = 100, 40
INSTANCES = (3, 30, 100)
ANSWER_SECONDS = 10.0


def new_users(digit: int) -> list[str]:
    """Return ids that end with this digit, so that they belong to one partition."""
    return [f"{str(uuid.uuid4())[:-1]}{digit % 16:x}" for _ in range(BATCH_USERS)]


async def measure(clients: list[Scripts], pids: list[int], sharded: bool, rounds: int) -> None:
    """Measure with one client for each instance, and all users on one instance each; the number of the other instances
    must not matter."""
    instances = len(clients)
    indexes = [PresenceIndex(scripts, f"{number:012x}", sharded) for number, scripts in enumerate(clients)]
    partitions = indexes[0].partitions
    for index in indexes:
        for partition in partitions:
            await index.heartbeat(partition)
    batches: list[list[str]] = []

    async def change(number: int) -> None:
        index = indexes[number % instances]
        await index.report(index.partition_of(batches[number][0]), dict.fromkeys(batches[number], 1))

    async def look_up(number: int) -> None:
        friends = [batches[(number + friend) % BATCHES][friend % BATCH_USERS] for friend in range(FRIENDS)]
        assert len(await indexes[number % instances].find_online(friends)) == FRIENDS

    async def send_heartbeat(number: int) -> None:
        for partition in partitions:
            await indexes[number % instances].heartbeat(partition)

    parts: dict[str, tuple[int, Callable[[int], Awaitable[None]]]] = {
        "an arrival or departure": (BATCH_USERS, change),
        f"  which of {FRIENDS} users are online": (1, look_up),
        "  a heartbeat": (1, send_heartbeat),
    }
    costs: dict[str, list[float]] = {name: [] for name in parts}
    busiest: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(rounds):
        batches[:] = [new_users(number) for number in range(BATCHES)]
        for name, (users, act) in parts.items():
            with contextlib.ExitStack() as stack:
                meters = [stack.enter_context(Meter(pid)) for pid in pids]
                for number in range(BATCHES):
                    await act(number)
            used = [meter.seconds / BATCHES / users * 1e6 for meter in meters]
            costs[name].append(sum(used))
            busiest[name].append(max(used))
    print(f"{instances} instances")
    for name in parts:
        report(name, costs[name], "µs of CPU")
        if len(pids) > 1:
            report("    in the busiest node", busiest[name], "µs of CPU")


@contextlib.contextmanager
def one_server(folder: Path) -> Iterator[tuple[str, list[int]]]:
    url = EmbeddedServers(folder).start_redis()
    try:
        with Redis.from_url(url) as redis:
            yield url, [int(redis.info("server")["process_id"])]
    finally:
        stop_redis(url)


@contextlib.contextmanager
def cluster_of_three(folder: Path) -> Iterator[tuple[str, list[int]]]:
    cluster = RedisCluster(folder, replica=False)
    try:
        cluster.start()
        yield cluster.url, [node.process.pid for node in cluster.primaries if node.process]
    finally:
        cluster.stop()


async def measure_all(url: str, pids: list[int], rounds: int, sharded: bool) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients: list[Scripts] = []
        for instances in INSTANCES:
            while len(clients) < instances:
                redis = connect_redis(url, sharded, ANSWER_SECONDS)
                stack.push_async_callback(redis.aclose)
                scripts = scripts_of(redis, ANSWER_SECONDS)
                stack.push_async_callback(scripts.close)
                clients.append(scripts)
            await measure(clients, pids, sharded, rounds)


def main() -> None:
    rounds = read_rounds(__doc__)
    with scratch_folder("encer-bench-") as folder:
        for name, start in (("one server", one_server), ("a cluster of three", cluster_of_three)):
            print(f"-- {name}")
            with start(Path(folder)) as (url, pids):
                asyncio.run(measure_all(url, pids, rounds, sharded=start is cluster_of_three))


if __name__ == "__main__":
    main()
