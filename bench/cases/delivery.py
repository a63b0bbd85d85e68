"""Delivery over two instances: its delay at a moderate rate, and the highest rate at which it stays short.

Both instances of a side share the measured core. A message is sent by REST to one; a socket of the other receives it.
The last case delivers on one instance, to 1,000 sockets, while one more client reads its long messages or does not.
"""

import json
import statistics
from collections.abc import AsyncIterator
from pathlib import Path

from bench.data import Person
from bench.results import Result, at_least, at_most_times, rate_at_least
from bench.setup.environment import NO_LIMIT, Environment
from bench.setup.processes import ClientProcess

DELAY, RATE, STALLED = NAMES = ("delivery, p99 at 75/s", "delivery, highest rate", "a stalled reader, others' p99")
API = "/api/v1/chat/conversations"
PAIRS = 50
CALM_RATE = 75.0
MANY_SOCKETS = 10  # of each user of a pair, in the last case: 1,000 in all
MANY_RATE = 100.0
SHORT_MS = 100.0  # p99 of a rate that counts
STEP = 1.1  # between two rates
FIRST_STEP = 1.5  # of the first round, until the range is known
FIRST_RATE, LAST_RATE = 75.0, 5_000.0
BACK = 0.7  # a later round starts from this part of the last rate


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
    """Write the pairs for the client, with `each` sockets of both users, or with one socket of the receiver.

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


class DeliveryBench:
    def __init__(self, environment: Environment, client: ClientProcess) -> None:
        self.environment, self.client = environment, client
        self.start: dict[str, float] = {}

    async def prepare(self) -> None:
        environment, urls = self.environment, self.environment.urls
        ours = [environment.start_server(), environment.start_server()]
        floor = [environment.start_floor("delivery", urls.database_url, urls.redis_url) for _ in range(2)]
        for group, (posts, sockets) in (("ours", ours), ("floor", floor)):
            file = write_pairs(environment, f"{group}.json", group == "floor", 0)
            await self.client.order(do="prepare", group=group, file=str(file), posts=posts.port, sockets=sockets.port)
            await self.delays(group, CALM_RATE, 2.0)  # warm

    async def delays(self, group: str, rate: float, seconds: float, **more: bool) -> float:
        """Return p99 in milliseconds."""
        answer = await self.client.order(do="send", group=group, rate=rate, seconds=seconds, **more)
        return p99(answer["delays"])

    async def stays_short(self, group: str, rate: float) -> bool:
        """Return whether p99 is short in one of two steps, because another program may delay one of them."""
        for _ in range(2):
            if await self.delays(group, rate, self.environment.size.step_seconds) < SHORT_MS:
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

    def order_of(self, number: int) -> tuple[str, str]:
        return ("ours", "floor") if number % 2 == 0 else ("floor", "ours")


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench = DeliveryBench(environment, await environment.start_client("delivery"))
    delay, rate = Result(DELAY, "ms", at_least(0.80)), Result(RATE, "1/s", rate_at_least(0.85))
    if wanted & {DELAY, RATE}:
        await bench.prepare()
        for number in range(environment.size.rounds):
            for group in bench.order_of(number):
                if DELAY in wanted:
                    figures = delay.ours if group == "ours" else delay.floor
                    figures.append(await bench.delays(group, CALM_RATE, environment.size.seconds))
                if RATE in wanted:
                    figures = rate.ours if group == "ours" else rate.floor
                    figures.append(await bench.highest_rate(group))
        for result in (delay, rate):
            if result.ours:
                yield result
        await environment.end_case()
    if STALLED in wanted:
        yield await measure_stalled(environment)


async def measure_stalled(environment: Environment) -> Result:
    """Compare the delays of the others while a client does not read with those while it reads."""
    bench = DeliveryBench(environment, await environment.start_client("delivery"))
    server = environment.start_server(LIMIT_GENERAL=NO_LIMIT)
    file = write_pairs(environment, "many.json", False, MANY_SOCKETS)
    await bench.client.order(do="prepare", group="ours", file=str(file), posts=server.port, sockets=server.port)
    await bench.delays("ours", MANY_RATE, 2.0)
    result = Result(STALLED, "ms", at_most_times(1.2))
    for number in range(environment.size.rounds):
        for stalled in (True, False) if number % 2 == 0 else (False, True):
            figures = result.ours if stalled else result.floor
            figures.append(await bench.delays("ours", MANY_RATE, environment.size.seconds, stalled=stalled))
    return result
