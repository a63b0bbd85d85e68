"""Measure what presence costs Redis, by the number of instances; some seconds.

`.venv/bin/python -m bench.scale.presence`."""

import uuid
from pathlib import Path

from redis import Redis

from bench.scale.helpers import read_rounds, report
from bench.setup.machine import Meter
from db.packaged.servers import EmbeddedServers, stop_redis
from realtime.presence.presence import DEAD_SECONDS, FRESH_SECONDS
from realtime.presence.scripts import HEARTBEAT, INSTANCES, PRESENT, REPORT
from tests.helpers.scratch import scratch_folder

FRIENDS = 50  # of a user; a new socket asks which of them are online
BATCHES, BATCH_USERS = 100, 40


def measure(redis: Redis, pid: int, instances: int, rounds: int) -> None:
    """Measure with all users on one instance; the script asks every other instance too."""
    redis.flushdb()
    names = [f"{number:012x}" for number in range(instances)]
    for name in names:
        redis.eval(HEARTBEAT, 1, INSTANCES, name, DEAD_SECONDS)
    costs: dict[str, list[float]] = {"change": [], "heartbeat": [], "lookup": []}
    for _ in range(rounds):
        batches = [[str(uuid.uuid4()) for _ in range(BATCH_USERS)] for _ in range(BATCHES)]
        friends = [batch[number % BATCH_USERS] for number in range(FRIENDS) for batch in batches][:FRIENDS]
        with Meter(pid) as meter:
            for number, users in enumerate(batches):
                pairs = [part for user in users for part in (user, 1)]
                redis.eval(REPORT, 1, INSTANCES, names[number % instances], FRESH_SECONDS, *pairs)
        costs["change"].append(meter.seconds / BATCHES / BATCH_USERS * 1e6)
        with Meter(pid) as meter:
            for number in range(BATCHES):
                redis.eval(HEARTBEAT, 1, INSTANCES, names[number % instances], DEAD_SECONDS)
        costs["heartbeat"].append(meter.seconds / BATCHES * 1e6)
        with Meter(pid) as meter:
            for _ in range(BATCHES):
                redis.eval(PRESENT, 1, INSTANCES, *friends)
        costs["lookup"].append(meter.seconds / BATCHES * 1e6)
    report(f"{instances} instances: an arrival or departure", costs["change"], "µs of CPU")
    report(f"  which of {FRIENDS} users are online", costs["lookup"], "µs of CPU")
    report("  a heartbeat", costs["heartbeat"], "µs of CPU")


def main() -> None:
    rounds = read_rounds(__doc__)
    with scratch_folder("encer-bench-") as folder:
        url = EmbeddedServers(Path(folder)).start_redis()
        try:
            with Redis.from_url(url) as redis:
                pid = int(redis.info("server")["process_id"])
                for instances in (3, 30, 100):
                    measure(redis, pid, instances, rounds)
        finally:
            stop_redis(url)


if __name__ == "__main__":
    main()
