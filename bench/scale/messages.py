"""Measure what a message costs: sent by REST and by socket, delivered on this and on another instance, and in
PostgreSQL and Redis. `.venv/bin/python -m bench.scale.messages`; about a minute."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvloop

from bench.scale.helpers import TEXT, BenchServers, Floor, Http, Pair, Socket, read_rounds, report
from bench.setup.machine import Meter
from tests.helpers.scratch import scratch_folder

SENDERS = 8  # concurrent senders: a busy instance, not an overloaded one
MESSAGES = 400  # a round and kind
SOCKETS = 10  # per side with many sockets
EVENTS = 2  # a message is one in its conversation's channel and one in the receiver's
DELIVERIES = 3  # frames per message and socket: both sides get the message, the receiver the notification too
MS, US = 1e3, 1e6
Act = Callable[[int], Awaitable[None]]


async def by_turns(act: Act) -> None:
    """Call `act` MESSAGES times, SENDERS at once, with the sender's number."""

    async def send(sender: int) -> None:
        for _ in range(MESSAGES // SENDERS):
            await act(sender)

    await asyncio.gather(*(send(sender) for sender in range(SENDERS)))


class Bench:
    def __init__(self, servers: BenchServers, floor: Floor) -> None:
        self.servers = servers
        self.floor = floor
        self.figures: dict[str, list[float]] = defaultdict(list)

    async def prepare(self) -> None:
        servers, (here, there) = self.servers, self.servers.ports
        self.idle_pairs = [await servers.pair() for _ in range(SENDERS)]  # without sockets
        self.receivers = {(port, count): await self.audience(port, count) for port, count in audiences(here, there)}
        self.posts = [await Http.open(here) for _ in range(SENDERS)]
        self.bare_posts = [await Http.open(self.floor.port) for _ in range(SENDERS)]
        self.sockets = [await Socket.open(here, pair.tokens[0]) for pair in self.idle_pairs]
        self.bare_sockets = [await Socket.open(self.floor.port) for _ in range(max(SENDERS, SOCKETS * DELIVERIES))]

    async def audience(self, port: int, count: int) -> tuple[list[Pair], list[Socket]]:
        """Return pairs with `count` joined sockets per side on this instance."""
        pairs = [await self.servers.pair() for _ in range(SENDERS)]
        sockets = []
        for pair in pairs:
            for token in pair.tokens * count:
                sockets.append(await Socket.open(port, token))
                await sockets[-1].ask("join_conversation", {"conversationId": pair.conversation_id})
        return pairs, sockets

    def post(self, pairs: list[Pair]) -> Act:
        def act(sender: int) -> Awaitable[None]:
            pair = pairs[sender]
            path = f"/api/v1/chat/conversations/{pair.conversation_id}/messages"
            return self.posts[sender].post(path, {"content": TEXT}, pair.tokens[0])

        return act

    async def cost(self, pid: int, act: Act) -> float:
        with Meter(pid) as meter:
            await by_turns(act)
        return meter.seconds / MESSAGES

    async def cost_of_delivery(self, pid: int, port: int, count: int) -> float:
        """Return CPU per message of the process `pid`, while sockets on `port` receive it."""
        pairs, sockets = self.receivers[port, count]
        before = sum(socket.frames for socket in sockets)
        with Meter(pid) as meter:
            await by_turns(self.post(pairs))
            async with asyncio.timeout(20):
                while sum(socket.frames for socket in sockets) - before < MESSAGES * count * DELIVERIES:
                    await asyncio.sleep(0.01)
        return meter.seconds / MESSAGES

    async def round(self) -> None:
        (here_pid, there_pid), (here, there) = self.servers.pids, self.servers.ports
        note, bare = self.figures, self.floor.pid
        note["bare post"].append(await self.cost(bare, lambda n: self.bare_posts[n].post("/post", {"content": TEXT})))
        await self.measure_servers(here_pid)
        note["bare echo"].append(await self.cost(bare, lambda n: self.bare_sockets[n].ask("echo", {"content": TEXT})))
        for name, event, more in COMMANDS:
            data = [{"conversationId": pair.conversation_id, **more} for pair in self.idle_pairs]
            act = lambda n, event=event, data=data: self.sockets[n].ask(event, data[n])  # noqa: E731
            note[name].append(await self.cost(here_pid, act))
        frames = SOCKETS * DELIVERIES
        echo = await self.cost(bare, lambda n: self.bare_sockets[n].ask("write", {"n": frames, "content": TEXT}))
        note["bare write"].append((echo - note["bare echo"][-1]) / frames)
        for where, pid, port, taken in (
            ("here", here_pid, here, note["by rest"][-1]),
            ("there", there_pid, there, 0.0),
        ):
            few, many = await self.cost_of_delivery(pid, port, 1), await self.cost_of_delivery(pid, port, SOCKETS)
            each = (many - few) / (frames - DELIVERIES)
            note[f"a frame {where}"].append(each)
            note[f"an event {where}"].append((few - taken - DELIVERIES * each) / EVENTS)

    async def measure_servers(self, pid: int) -> None:
        """Measure messages by REST, and their cost in PostgreSQL and Redis."""
        servers, note = self.servers, self.figures
        wal, traffic = await self.wal_bytes(), self.redis_bytes()
        with Meter(children_of=servers.postgres_pid) as postgres, Meter(servers.redis_pid) as redis:
            note["by rest"].append(await self.cost(pid, self.post(self.idle_pairs)))
        note["postgres"].append(postgres.seconds / MESSAGES)
        note["redis"].append(redis.seconds / MESSAGES)
        note["wal"].append((await self.wal_bytes() - wal) / MESSAGES)
        note["redis in"].append((self.redis_bytes() - traffic) / MESSAGES)

    async def wal_bytes(self) -> int:
        return int(await self.servers.db.fetchval("select pg_current_wal_insert_lsn() - '0/0'::pg_lsn"))

    def redis_bytes(self) -> int:
        value: int = self.servers.redis.info("stats")["total_net_input_bytes"]
        return value

    def report(self) -> None:
        note = self.figures

        def row(what: str, name: str, unit: str, scale: float, floor: str = "", of: str = "") -> None:
            least = [value * scale for value in note[floor]] if floor else []
            report(what, [value * scale for value in note[name]], unit, least, of)

        row("a message by REST", "by rest", "ms of CPU", MS, "bare post", "a bare Tornado POST")
        row("  in PostgreSQL", "postgres", "ms of CPU", MS)
        row("  written to its log", "wal", "bytes", 1)
        row("  in Redis (limits, 2 events without a subscriber)", "redis", "ms of CPU", MS)
        row("  sent to Redis", "redis in", "bytes", 1)
        for name, _, _ in COMMANDS:
            row(f"{name} by socket", name, "ms of CPU", MS, "bare echo", "a bare Tornado echo")
        for where in ("here", "there"):
            instance = "this instance" if where == "here" else "another instance"
            row(f"an event that sockets of {instance} receive", f"an event {where}", "µs of CPU", US)
            row("  and one frame to each of them", f"a frame {where}", "µs of CPU", US, "bare write", "a bare write")


def audiences(here: int, there: int) -> list[tuple[int, int]]:
    return [(port, count) for port in (here, there) for count in (1, SOCKETS)]


COMMANDS: list[tuple[str, str, dict[str, Any]]] = [
    ("a message", "send_message", {"content": TEXT}),
    ("a read mark", "mark_read", {"seq": 2**40}),
    ("joining", "join_conversation", {}),
    ("leaving", "leave_conversation", {}),
]


async def run(folder: Path, rounds: int) -> None:
    async with BenchServers(folder, instances=2) as servers, Floor() as floor:
        bench = Bench(servers, floor)
        await bench.prepare()
        await bench.round()  # warm: plans, caches, connections
        bench.figures.clear()
        for _ in range(rounds):
            await bench.round()
        bench.report()


def main() -> None:
    rounds = read_rounds(__doc__)
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(Path(folder), rounds))


if __name__ == "__main__":
    main()
