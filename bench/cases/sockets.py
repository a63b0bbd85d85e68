"""Open sockets: CPU to open, to keep and to resume them, and memory. A floor's sockets are measured in turns.

A round is a fifth of the sockets, and a quarter of these return. The people of a pair have SOCKET_PARTNERS
conversations each, and are online for each other. The floor is a bare Tornado WebSocket with pings.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.data import SOCKET_MESSAGES
from bench.results import Result, at_least
from bench.setup.environment import Environment, print_progress
from bench.setup.machine import Meter, resident_bytes
from bench.setup.processes import ClientProcess, Measured

OPENING, KEEPING, OWN_ROOM, JOINED, RETURNING = NAMES = (
    "opening a socket",
    "keeping a socket",
    "memory of a socket",
    "memory of a socket, 5 joined",
    "resuming a socket",
)
WARM = 20  # sockets that are opened before, so that no code runs for the first time
PING_SECONDS = 25.0
RETURN_PERCENT = 25  # of a round's sockets: more than a second of CPU
SETTLE_SECONDS = 2.0  # the announcements of presence and the closing of sockets
TARGETS = {OPENING: 0.50, KEEPING: 0.50, OWN_ROOM: 1.0, JOINED: 0.87, RETURNING: 0.50}
UNITS = {OPENING: "ms", KEEPING: "µs/s", OWN_ROOM: "KiB", JOINED: "KiB", RETURNING: "ms"}


@dataclass
class Side:
    """One of the two servers, and by how much its memory grew when the sockets of each round were opened."""

    name: str
    server: Measured
    bytes: dict[int, int] = field(default_factory=dict)


class SocketBench:
    def __init__(self, environment: Environment, client: ClientProcess) -> None:
        self.environment, self.client = environment, client
        self.rounds = environment.size.rounds
        self.share = len(environment.socket_people) // self.rounds
        self.sides = [
            Side("ours", environment.start_server()),
            Side("floor", environment.start_floor("sockets", environment.urls.database_url)),
        ]
        self.file = self.write_people(environment.folder / "people.json")
        self.results = {name: Result(name, UNITS[name], at_least(TARGETS[name])) for name in NAMES}

    def write_people(self, file: Path) -> str:
        people = []
        for person in self.environment.socket_people:
            joins = {after: [join(id, after) for id in person.conversations] for after in (None, SOCKET_MESSAGES - 2)}
            people.append(
                {"token": person.token, "frames": {"join": joins[None], "resume": joins[SOCKET_MESSAGES - 2]}}
            )
        file.write_text(json.dumps(people))
        return str(file)

    def turns(self) -> Iterator[tuple[int, Side]]:
        for number in range(self.rounds):
            for side in self.sides if number % 2 == 0 else reversed(self.sides):
                yield number, side

    def note(self, name: str, side: Side, figure: float) -> None:
        result = self.results[name]
        (result.ours if side.name == "ours" else result.floor).append(figure)

    async def order(self, do: str, side: Side, number: int = 0, **more: object) -> None:
        share = {"first": number * self.share, "count": self.share, **more}
        answer = await self.client.order(do=do, group=side.name, port=side.server.port, file=self.file, **share)
        if answer["lost"]:
            raise SystemExit(f"{side.name}: {answer['lost']} sockets were closed")

    async def settle(self) -> None:
        await asyncio.sleep(SETTLE_SECONDS)

    async def open(self) -> None:
        for side in self.sides:
            await self.order("open", side, count=WARM)
            await self.order("ask", side, count=WARM, frames="resume")
            await self.order("abort", side)
        await self.settle()
        for number, side in self.turns():
            before = resident_bytes(side.server.pid)
            with Meter(side.server.pid) as meter:
                await self.order("open", side, number)
                await self.settle()
            self.note(OPENING, side, meter.seconds / self.share * 1e3)
            side.bytes[number] = resident_bytes(side.server.pid) - before
            self.note(OWN_ROOM, side, side.bytes[number] / self.share / 1024)

    async def keep(self) -> None:
        """Measure windows as long as the time between two pings, so that each socket has one ping in each window."""
        sockets = self.share * self.rounds
        for _ in range(self.rounds):
            with Meter(self.sides[0].server.pid) as ours, Meter(self.sides[1].server.pid) as floor:
                await asyncio.sleep(PING_SECONDS)
            for side, meter in zip(self.sides, (ours, floor), strict=True):
                self.note(KEEPING, side, meter.seconds / PING_SECONDS / sockets * 1e6)

    async def join(self) -> None:
        for number, side in self.turns():
            before = resident_bytes(side.server.pid)
            await self.order("ask", side, number, frames="join")
            grown = resident_bytes(side.server.pid) - before + side.bytes[number]
            self.note(JOINED, side, grown / self.share / 1024)

    async def resume(self) -> None:
        for side in self.sides:
            await self.order("abort", side)
        await self.settle()
        count = self.share * RETURN_PERCENT // 100
        for number, side in self.turns():
            with Meter(side.server.pid) as meter:
                await self.order("open", side, number, count=count)
                await self.order("ask", side, number, count=count, frames="resume")
            self.note(RETURNING, side, meter.seconds / count * 1e3)


def join(conversation_id: str, after: int | None) -> str:
    more = {} if after is None else {"after": after}
    return json.dumps({"event": "join_conversation", "data": {"conversationId": conversation_id, **more}, "id": 7})


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench = SocketBench(environment, await environment.start_client("sockets"))
    await bench.open()
    if KEEPING in wanted:
        print_progress("keeping sockets open")
        await bench.keep()
    if wanted & {JOINED, RETURNING}:
        await bench.join()
    if RETURNING in wanted:
        await bench.resume()
    for name in NAMES:
        if name in wanted and bench.results[name].ours:
            yield bench.results[name]
