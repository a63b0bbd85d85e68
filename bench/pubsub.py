"""What a published event costs Redis, by who listens: `python -m bench.pubsub`. Numbers for docs/scale.md."""

import asyncio
import tempfile
from pathlib import Path

import uvloop
from redis import asyncio as aioredis

from bench.sockets import cpu_seconds
from db.embedded import EmbeddedServers, stop_redis

EVENTS = 40_000
BATCH = 200
FRAME = b"x" * 700


async def measure(url: str, pid: int, subscribers: int) -> None:
    """One channel a conversation; each is heard by `subscribers` connections, as by so many instances."""
    redis = aioredis.Redis.from_url(url)
    listening = [redis.pubsub() for _ in range(subscribers)]
    for pubsub in listening:
        await pubsub.subscribe(*(f"channel {n}" for n in range(BATCH)))
    reading = [asyncio.create_task(read(pubsub)) for pubsub in listening]
    before = cpu_seconds(pid)
    for _ in range(EVENTS // BATCH):
        async with redis.pipeline(transaction=False) as pipeline:
            for n in range(BATCH):
                pipeline.publish(f"channel {n}", FRAME)
            await pipeline.execute()
    spent = (cpu_seconds(pid) - before) / EVENTS
    print(
        f"{subscribers} instances listen: {spent * 1e6:.1f} µs of CPU an event, {1 / spent:,.0f} events a second a core"
    )
    for task in reading:
        task.cancel()
    await asyncio.gather(*reading, return_exceptions=True)
    await redis.aclose()


async def read(pubsub: aioredis.client.PubSub) -> None:
    while True:
        await pubsub.get_message(timeout=1)


async def run(url: str) -> None:
    redis = aioredis.Redis.from_url(url)
    pid = int((await redis.info("server"))["process_id"])
    await redis.aclose()
    for subscribers in (0, 1, 2, 4):
        await measure(url, pid, subscribers)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="encer-bench-") as folder:
        url = EmbeddedServers(Path(folder)).start_redis(None)
        try:
            uvloop.run(run(url))
        finally:
            stop_redis(url)


if __name__ == "__main__":
    main()
