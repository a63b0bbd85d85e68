"""Measure what open sockets cost one instance, and what its polling costs the servers; about a minute and a half.

`.venv/bin/python -m bench.scale.sockets --sockets 10000` needs 13,000 open files (`ulimit -n`)."""

import argparse
import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator, Awaitable, Iterable
from pathlib import Path

import uvloop

from bench.scale.helpers import BenchServers, Floor, Socket, report
from bench.setup.machine import Meter, resident_bytes
from tests.helpers.scratch import scratch_folder

BATCHES = 4
OPENING_AT_ONCE = 50
SETTLE_SECONDS = 1.5
QUIET_SECONDS = 10.0
CALM_SECONDS = 12.0  # until all arrivals are announced
HEARTBEATS_SECONDS = 50.0  # two of them
SPARE_FILES = 500
BARE_EACH = 4  # one socket of the bare server per this many of the server

COUNT_TRANSACTIONS = "select xact_commit from pg_stat_database where datname = current_database()"


async def gathered(waiting: Iterable[Awaitable[Socket]]) -> list[Socket]:
    gate = asyncio.Semaphore(OPENING_AT_ONCE)

    async def one(awaitable: Awaitable[Socket]) -> Socket:
        async with gate:
            return await awaitable

    return await asyncio.gather(*map(one, waiting))


class Bench:
    def __init__(self, servers: BenchServers, floor: Floor) -> None:
        self.servers = servers
        self.floor = floor
        self.pid = servers.pids[0]

    async def measure_idle(self, seconds: float, what: str, sockets: int = 0, bare_sockets: int = 0) -> None:
        """Measure the instance while no user is active."""
        servers = self.servers
        before = await servers.db.fetchval(COUNT_TRANSACTIONS)
        with (
            Meter(self.pid) as instance,
            Meter(self.floor.pid) as bare,
            Meter(children_of=servers.postgres_pid) as postgres,
            Meter(servers.redis_pid) as redis,
        ):
            await asyncio.sleep(seconds)
        transactions = await servers.db.fetchval(COUNT_TRANSACTIONS) - before
        print(f"{what}, in each second:")
        for name, meter in (("instance", instance), ("bare Tornado", bare), ("PostgreSQL", postgres), ("Redis", redis)):
            count = bare_sockets if meter is bare else sockets
            each = f"; {meter.seconds / seconds / count * 1e6:.2f} µs a socket" if count else ""
            print(f"  {name:<14} {meter.seconds / seconds * 1e3:6.2f} ms of CPU{each}")
        print(f"  {transactions / seconds:.1f} transactions", flush=True)

    async def grow(self, pid: int, waiting: Iterable[Awaitable[Socket]]) -> tuple[list[Socket], float, float]:
        """Open the sockets; return them, and bytes and CPU for each."""
        held = resident_bytes(pid)
        with Meter(pid) as meter:
            sockets = await gathered(waiting)
            await asyncio.sleep(SETTLE_SECONDS)
        return sockets, (resident_bytes(pid) - held) / len(sockets), meter.seconds / len(sockets)

    async def open(self, wanted: int) -> tuple[list[Socket], list[Socket]]:
        """Open a socket for each user and join their conversation; then open sockets of a bare server."""
        servers, port = self.servers, self.servers.ports[0]
        pairs = [await servers.pair() for _ in range(wanted // 2)]
        share = len(pairs) // BATCHES
        opened: list[Socket] = []
        bare_opened: list[Socket] = []
        names = ("bytes", "bare bytes", "opening", "bare opening", "joined bytes", "joining")
        figures: dict[str, list[float]] = {name: [] for name in names}

        def note(size: str, cpu: str, grown: tuple[list[Socket], float, float]) -> list[Socket]:
            figures[size].append(grown[1] / 1024)
            figures[cpu].append(grown[2] * 1e3)
            return grown[0]

        for batch in range(BATCHES):
            group = pairs[batch * share : (batch + 1) * share]
            people = [(pair.conversation_id, token) for pair in group for token in pair.tokens]
            bare = (Socket.open(self.floor.port) for _ in people[::BARE_EACH])
            bare_opened += note("bare bytes", "bare opening", await self.grow(self.floor.pid, bare))
            sockets = note(
                "bytes", "opening", await self.grow(self.pid, (Socket.open(port, token) for _, token in people))
            )
            joins = (join(socket, id) for socket, (id, _) in zip(sockets, people, strict=True))
            opened += note("joined bytes", "joining", await self.grow(self.pid, joins))
        report("a socket, signed in", figures["bytes"], "KiB", figures["bare bytes"], "a bare Tornado WebSocket")
        report("  and its conversation, joined", figures["joined bytes"], "KiB")
        report("opening it", figures["opening"], "ms of CPU", figures["bare opening"], "a bare Tornado WebSocket")
        report("  joining", figures["joining"], "ms of CPU")
        return opened, bare_opened


async def join(socket: Socket, conversation_id: str) -> Socket:
    await socket.ask("join_conversation", {"conversationId": conversation_id})
    return socket


@contextlib.asynccontextmanager
async def bench_in(folder: Path) -> AsyncIterator[Bench]:
    async with BenchServers(folder, instances=1) as servers, Floor() as floor:
        yield Bench(servers, floor)


async def run(folder: Path, sockets: int) -> None:
    async with bench_in(folder) as bench:
        await asyncio.sleep(SETTLE_SECONDS)
        await bench.measure_idle(QUIET_SECONDS, "one instance without sockets")
        opened, bare = await bench.open(sockets)
        await asyncio.sleep(CALM_SECONDS)
        await bench.measure_idle(
            HEARTBEATS_SECONDS, f"{len(opened):,} sockets, joined and silent", len(opened), len(bare)
        )
        held = resident_bytes(bench.pid)
        await asyncio.gather(*(socket.close() for socket in [*opened, *bare]))
        await asyncio.sleep(SETTLE_SECONDS)
        kept = resident_bytes(bench.pid)
        print(f"{held / 2**20:.0f} MiB with all of them, {kept / 2**20:.0f} MiB after they have gone")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sockets", type=int, default=2_000)
    options = parser.parse_args()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    if options.sockets * (1 + 1 / BARE_EACH) + SPARE_FILES > hard:
        raise SystemExit(f"{options.sockets} sockets need more open files than this shell allows ({hard}): ulimit -n")
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(Path(folder), options.sockets))


if __name__ == "__main__":
    main()
