"""Delivery over two instances: its delay at a moderate rate, and the highest rate at which it stays short.

Both instances of a side share the measured core. A message is sent by REST to one; a socket of the other receives it.
The last case delivers on one instance, to 1,000 sockets, while one more client reads its long messages or does not.
"""

import json
import statistics
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.data import Person
from bench.results import Result, at_least, at_most_times, digits, rate_at_least
from bench.setup.environment import NO_LIMIT, Environment, print_progress
from bench.setup.machine import Waits, Watch
from bench.setup.processes import ClientProcess, Measured

DELAY, RATE, STALLED = NAMES = ("delivery, p99 at 75/s", "delivery, highest rate", "a stalled reader, others' p99")
API = "/api/v1/chat/conversations"
PAIRS = 50
CALM_RATE = 75.0  # messages a second in the first case
MANY_SOCKETS = 10  # of each user of a pair, in the last case: 1,000 in all
MANY_RATE = 100.0  # the same in the last case
SHORT_MS = 100.0  # the p99 of a rate that counts is below this
STEP = 1.1  # between two rates
FIRST_STEP = 1.5  # of the first round, until the range is known
FIRST_RATE, LAST_RATE = 75.0, 5_000.0
BACK = 0.75  # a later round starts from this part of the last rate


def p99(delays: list[float]) -> float:
    return statistics.quantiles(delays, n=100)[98]


def describe(sender: Person, receiver: Person, floor: bool, tokens: list[str]) -> dict[str, object]:
    [conversation_id] = set(sender.conversations[:5]) & set(receiver.conversations[:5])
    arguments = json.dumps([conversation_id, sender.id])
    join = {"event": "join_conversation", "data": {"conversationId": conversation_id}, "id": 7}
    return {
        "path": "/post" if floor else f"{API}/{conversation_id}/messages",
        "headers": f"X-Arguments: {arguments}\r\n" if floor else f"Authorization: Bearer {sender.token}\r\n",
        "join": json.dumps(join),
        "tokens": tokens,
    }


def write_pairs(environment: Environment, name: str, floor: bool, each: int) -> Path:
    """Write the pairs for the client, with `each` sockets of both users; if it is 0, with one socket of the receiver.

    The floor has pairs of its own. It publishes nothing to the instances, so in a shared conversation they would find a
    gap before their next message, and hold this message back until they have read the gap from the database.
    """
    file = environment.folder / name
    described = []
    for sender, receiver in zip(environment.socket_people[0::2], environment.socket_people[1::2], strict=True):
        tokens = [sender.token, receiver.token] * each if each else [receiver.token]
        described.append(describe(sender, receiver, floor, tokens))
    first = PAIRS + 1 if floor else 0
    file.write_text(json.dumps({"pairs": described[first : first + PAIRS], "flood": described[PAIRS]}))
    return file


@dataclass
class Side:
    """One side of a comparison: the order that its client gets, and the figures of its rounds."""

    name: str
    order: dict[str, Any]
    watch: Watch
    figures: list[float]
    waits: list[Waits]
    delays: list[float] = field(default_factory=list)  # in milliseconds, of this round's turns

    def end_round(self, figure: float) -> None:
        self.figures.append(figure)
        self.waits.append(self.watch.take())
        self.delays = []
        print_progress(f"{self.name}: {digits(figure)} ({self.waits[-1]})")


class DeliveryBench:
    def __init__(self, environment: Environment, client: ClientProcess) -> None:
        self.environment, self.client, self.size = environment, client, environment.size
        self.servers: dict[str, tuple[Measured, ...]] = {}
        self.start: dict[str, float] = {}

    async def prepare(self, group: str, file: Path, *servers: Measured) -> None:
        """Open the sockets on the last server; messages are sent to the first one."""
        ports = {"posts": servers[0].port, "sockets": servers[-1].port}
        await self.client.order(do="prepare", group=group, file=str(file), **ports)
        self.servers[group] = servers
        await self.delays({"group": group}, CALM_RATE, 2.0)  # warm

    def sides(self, result: Result, ours: dict[str, Any], floor: dict[str, Any]) -> list[Side]:
        """Return both sides of a case; `ours` and `floor` are orders."""
        first, second = (self.environment.watch(self.servers[order["group"]]) for order in (ours, floor))
        return [
            Side(f"{result.case}, ours", ours, first, result.ours, result.waits),
            Side(f"{result.case}, floor", floor, second, result.floor, result.floor_waits),
        ]

    async def delays(self, order: dict[str, Any], rate: float, seconds: float) -> list[float]:
        answer = await self.client.order(do="send", rate=rate, seconds=seconds, **order)
        delays: list[float] = answer["delays"]
        return delays

    async def measure_delay(self, sides: list[Side], rate: float, number: int) -> None:
        """Measure the p99 of all turns of a round together, because one pause of the machine decides that of a turn."""
        seconds = self.size.seconds * CALM_RATE / rate  # the number of messages is the same at each rate
        for turn in range(self.size.delay_turns):
            for side in in_turn(sides, number + turn):
                with side.watch:
                    side.delays += await self.delays(side.order, rate, seconds)
        for side in sides:
            side.end_round(p99(side.delays))

    async def measure_rate(self, sides: list[Side], number: int) -> None:
        for side in in_turn(sides, number):
            with side.watch:
                rate = await self.highest_rate(side.order["group"])
            side.end_round(rate)

    async def stays_short(self, group: str, rate: float) -> bool:
        """Return whether the p99 is short in one of two tries, because another program may delay one of them."""
        for _ in range(2):
            if p99(await self.delays({"group": group}, rate, self.size.step_seconds)) < SHORT_MS:
                return True
        return False

    async def highest_rate(self, group: str) -> float:
        if group not in self.start:
            self.start[group] = await self.climb(group, FIRST_RATE, FIRST_STEP)
        rate = await self.climb(group, self.start[group], STEP)
        self.start[group] = max(FIRST_RATE, rate * BACK)
        return rate

    async def climb(self, group: str, rate: float, step: float) -> float:
        while rate < LAST_RATE and await self.stays_short(group, rate):
            rate *= step
        return rate / step


def in_turn(sides: list[Side], number: int) -> list[Side]:
    return sides if number % 2 == 0 else sides[::-1]


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    if wanted & {DELAY, RATE}:
        async for result in measure_instances(environment, wanted):
            yield result
        await environment.end_case()
    if STALLED in wanted:
        yield await measure_stalled(environment)


async def measure_instances(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench, urls = DeliveryBench(environment, await environment.start_client("delivery")), environment.urls
    ours = [environment.start_server() for _ in range(2)]
    floor = [environment.start_floor("delivery", urls.database_url, urls.redis_url) for _ in range(2)]
    await bench.prepare("ours", write_pairs(environment, "ours.json", False, 0), *ours)
    await bench.prepare("floor", write_pairs(environment, "floor.json", True, 0), *floor)
    delay, rate = Result(DELAY, "ms", at_least(0.80)), Result(RATE, "1/s", rate_at_least(0.85))
    groups = {"group": "ours"}, {"group": "floor"}
    if DELAY in wanted:
        sides = bench.sides(delay, *groups)
        for number in range(environment.size.rounds):
            await bench.measure_delay(sides, CALM_RATE, number)
        yield delay
    if RATE in wanted:
        sides = bench.sides(rate, *groups)
        for number in range(environment.size.rounds):
            await bench.measure_rate(sides, number)
        yield rate


async def measure_stalled(environment: Environment) -> Result:
    """Compare the delays of the others while a client does not read with those while it reads."""
    bench = DeliveryBench(environment, await environment.start_client("delivery"))
    server = environment.start_server(LIMIT_GENERAL=NO_LIMIT)
    await bench.prepare("ours", write_pairs(environment, "many.json", False, MANY_SOCKETS), server)
    result = Result(STALLED, "ms", at_most_times(1.2))
    sides = bench.sides(result, *({"group": "ours", "stalled": stalled} for stalled in (True, False)))
    for number in range(environment.size.rounds):
        await bench.measure_delay(sides, MANY_RATE, number)
    return result
