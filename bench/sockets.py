"""What a socket, a message and a delivery cost one instance: memory and CPU of a real server process.

`python -m bench.sockets --idle 10000` (needs as many open files: ulimit -n). Numbers for docs/scale.md.
"""

import argparse
import asyncio
import gc
import json
import os
import resource
import tempfile
import time
from pathlib import Path

import uvloop
import websockets
from redis import Redis

from db.embedded import free_port
from deploy.cluster import Cluster
from services.tokens import Tokens
from settings import load_settings
from tests.drills.stage import ADD_SESSION, ADD_USER, CONNECT, OFF, OPEN, Stage, processes_under

SIZE = "select pg_total_relation_size('{table}') / greatest(count(*), 1) from {table}"
OPENING_AT_ONCE = 50
SOCKETS_PER_USER = 10
SETTLE_SECONDS = 3.0
SAMPLE_SECONDS = 10.0


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Bench:
    """One instance without nginx, on servers of its own."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        self.folder = folder

    async def start(self) -> None:
        stage = self.stage
        stage.urls = await asyncio.to_thread(stage.servers.start)
        self.cluster = Cluster(self.folder, [free_port()], None, stage.urls, **OFF)
        await asyncio.to_thread(self.cluster.start)
        self.instance = self.cluster.instances[0]
        assert self.instance.process
        self.pid = self.instance.process.pid
        self.url = f"ws://127.0.0.1:{self.instance.port}/ws"
        self.tokens = Tokens(load_settings(data_dir=self.folder / "data"))
        self.db = await stage.connect()
        self.redis_pid = int(Redis.from_url(stage.urls.redis_url).info("server")["process_id"])

    async def stop(self) -> None:
        await self.db.close()
        await asyncio.to_thread(self.cluster.stop)
        await asyncio.to_thread(self.stage.servers.stop)

    def cpu_beneath(self) -> tuple[float, float]:
        """Of PostgreSQL with its backends, and of Redis."""
        backends = processes_under(self.stage.postgres_pid())
        return sum(map(cpu_seconds, backends)), cpu_seconds(self.redis_pid)

    async def user(self, name: str, role: str) -> tuple[str, str]:
        user_id = await self.db.fetchval(ADD_USER, name, f"{name}@example.com", role)
        return user_id, self.tokens.access(user_id, role, await self.db.fetchval(ADD_SESSION, user_id))

    async def pair(self, number: int) -> tuple[str, str, str]:
        """A conversation, and the tokens of its two."""
        (one, one_token), (other, other_token) = (
            await self.user(f"i{number}", "INFLUENCER"),
            await self.user(f"s{number}", "SALON"),
        )
        await self.db.execute(CONNECT, one, other)
        return await self.db.fetchval(OPEN, one, other), one_token, other_token

    async def open(self, token: str) -> websockets.ClientConnection:
        headers = {"Authorization": f"Bearer {token}"}
        ws = await websockets.connect(
            self.url, additional_headers=headers, compression=None, proxy=None, ping_interval=None, open_timeout=60
        )
        await ws.recv()  # ready
        return ws


async def measure_idle(bench: Bench, wanted: int) -> None:
    gate = asyncio.Semaphore(OPENING_AT_ONCE)
    tokens = [(await bench.user(f"idle{n}", "INFLUENCER"))[1] for n in range(wanted // SOCKETS_PER_USER)]

    async def open_one(token: str) -> websockets.ClientConnection:
        async with gate:
            return await bench.open(token)

    warm = await asyncio.gather(*(open_one(token) for token in tokens[:10]))
    await asyncio.sleep(SETTLE_SECONDS)
    before, cpu, began = resident_bytes(bench.pid), cpu_seconds(bench.pid), time.monotonic()
    opened = await asyncio.gather(*(open_one(token) for token in tokens for _ in range(SOCKETS_PER_USER - 1)))
    spent, took = cpu_seconds(bench.pid) - cpu, time.monotonic() - began
    await asyncio.sleep(SETTLE_SECONDS)
    held = resident_bytes(bench.pid) - before
    cpu = cpu_seconds(bench.pid)
    await asyncio.sleep(SAMPLE_SECONDS * 3)  # heartbeats come every 25 s
    idle = (cpu_seconds(bench.pid) - cpu) / (SAMPLE_SECONDS * 3)
    total = len(opened) + len(warm)
    print(f"{total:,} idle sockets: {held / len(opened) / 1024:.1f} KiB each, resident {before / 2**20:.0f} MiB before")
    print(
        f"  opening and signing in: {spent / len(opened) * 1000:.2f} ms of CPU each, {len(opened) / took:.0f} a second"
    )
    print(f"  idling: {idle * 100:.1f} % of a core, {idle / total * 1e6:.1f} µs of CPU a socket and second")
    for ws in [*opened, *warm]:
        ws.transport.abort()
    await asyncio.sleep(SETTLE_SECONDS)
    print(f"  {(resident_bytes(bench.pid) - before) / 2**20:+.0f} MiB after all have gone", flush=True)


async def measure_messages(bench: Bench, conversations: int, listeners: int, rate: float) -> float:
    """CPU a message, sent by socket, with `listeners` sockets a side joined; at a steady rate far from saturation."""
    senders = []
    drains = []
    for number in range(conversations):
        conversation_id, one, other = await bench.pair(listeners * 1_000 + number)
        sockets = [await bench.open(token) for token in (one, other) for _ in range(listeners)]
        for ws in sockets:
            await ws.send(json.dumps({"event": "join_conversation", "data": conversation_id, "id": 1}))
        senders.append((conversation_id, sockets[0]))
        drains += [asyncio.create_task(drain(ws)) for ws in sockets]
    await asyncio.sleep(SETTLE_SECONDS)
    idle = cpu_seconds(bench.pid)
    await asyncio.sleep(SAMPLE_SECONDS / 2)
    idle = (cpu_seconds(bench.pid) - idle) / (SAMPLE_SECONDS / 2)
    cpu, began, sent = cpu_seconds(bench.pid), time.monotonic(), 0
    beneath = bench.cpu_beneath()
    while (passed := time.monotonic() - began) < SAMPLE_SECONDS:
        while sent < passed * rate:
            conversation_id, ws = senders[sent % len(senders)]
            data = {"conversationId": conversation_id, "content": f"{sent} " + "message " * 12}
            await ws.send(json.dumps({"event": "send_message", "data": data, "id": sent + 10}))
            sent += 1
        await asyncio.sleep(0.002)
    spent = cpu_seconds(bench.pid) - cpu - idle * SAMPLE_SECONDS
    database, redis = (after - before for before, after in zip(beneath, bench.cpu_beneath(), strict=True))
    print(f"a message, {listeners * 2} sockets listening: {spent / sent * 1000:.2f} ms of CPU in the instance,"
          f" {database / sent * 1000:.2f} in PostgreSQL, {redis / sent * 1000:.3f} in Redis", flush=True)  # fmt: skip
    for task in drains:
        task.cancel()
    await asyncio.gather(*drains, return_exceptions=True)
    return spent / sent


async def drain(ws: websockets.ClientConnection) -> None:
    async for _ in ws:
        pass


async def run(folder: Path, idle: int) -> None:
    bench = Bench(folder)
    await bench.start()
    try:
        few = await measure_messages(bench, 20, 1, 100)
        many = await measure_messages(bench, 20, 10, 100)
        print(f"a delivery to one more socket: {(many - few) / 18 * 1e6:.0f} µs")
        for table in ("messages", "notifications", "conversations"):
            size = await bench.db.fetchval(SIZE.format(table=table))
            print(f"{table}: {size} bytes a row, indexes included", flush=True)
        await measure_idle(bench, idle)
    finally:
        await bench.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--idle", type=int, default=2_000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.idle + 200 > hard:
        raise SystemExit(f"{options.idle} sockets need more open files than this shell allows ({hard}): ulimit -n")
    gc.freeze()
    with tempfile.TemporaryDirectory(prefix="encer-bench-", ignore_cleanup_errors=True) as folder:
        uvloop.run(run(Path(folder), options.idle))


if __name__ == "__main__":
    main()
