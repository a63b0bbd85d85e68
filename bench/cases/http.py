"""The HTTP cases: CPU of the server process per request, in turns with a floor that runs the same SQL."""

import json
import statistics
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from operator import truediv
from pathlib import Path

from bench.clients.http import SEPARATOR
from bench.data import TEXT, Pair, Person
from bench.results import Result, at_least
from bench.setup.environment import Environment, Size
from bench.setup.machine import Meter
from bench.setup.processes import Measured
from bench.setup.wrk import WRK, run_wrk

CONNECTIONS = 16  # concurrent requests: a busy instance, not an overloaded one
WARM = 10 * CONNECTIONS  # requests to a floor, whose cost does not depend on the user
# floor(case) ÷ floor(health) must stay within FLOOR_TOLERANCE of these, so that no target is met by a slow floor.
FLOOR_SHAPE = {
    "/profile": 1.7,
    "/discovery": 3.5,
    "/notifications": 2.9,
    "/conversations": 4.1,
    "/contacts": 2.9,
    "/messages": 3.2,
    "/send": 2.8,
}
FLOOR_TOLERANCE = 0.15
API = "/api/v1"


@dataclass
class Case:
    """`arguments` are those of the floor's statement; each request is made for one pair."""

    name: str
    path: Callable[[Pair], str]
    floor: str
    arguments: Callable[[Pair], list[object]]
    target: float
    who: Callable[[Pair], Person] = lambda pair: pair.influencer
    body: dict[str, str] | None = None


def discover(search: str | None) -> Callable[[Pair], list[object]]:
    return lambda pair: ["INFLUENCER", search, None, None, None, None, None, None, 21, 0, pair.salon.id, False]


def salon(pair: Pair) -> Person:
    return pair.salon


def messages_of(pair: Pair) -> list[object]:
    return [pair.conversation_id, pair.influencer.id, None, 51, 0]


def messages_path(more: str) -> Callable[[Pair], str]:
    return lambda pair: f"{API}/chat/conversations/{pair.conversation_id}/messages{more}"


def fixed(path: str) -> Callable[[Pair], str]:
    return lambda pair: API + path


INFLUENCERS = "/discovery/influencers"
SEARCH = "yuki"
SEARCH_TOTAL = fixed(f"{INFLUENCERS}?search={SEARCH}&page=1&limit=20")
CASES = (
    Case("health", lambda pair: "/health", "/health", lambda pair: [], 0.85),
    Case("profile", fixed("/profile/me"), "/profile", lambda pair: [pair.influencer.id], 0.70),
    Case("discovery", fixed(INFLUENCERS), "/discovery", discover(None), 0.75, salon),
    Case("discovery, total", fixed(f"{INFLUENCERS}?page=1&limit=20"), "/discovery", discover(None), 0.70, salon),
    Case("search", fixed(f"{INFLUENCERS}?search={SEARCH}"), "/discovery", discover(SEARCH), 0.75, salon),
    # The floor of a page with a total is that of the page; the next but one runs the statement with the total.
    Case("search, total", SEARCH_TOTAL, "/discovery", discover(SEARCH), 0.68, salon),
    Case("search, total, and its SQL", SEARCH_TOTAL, "/discovery-total", discover(SEARCH), 0.75, salon),
    Case(
        "notifications",
        fixed("/notifications"),
        "/notifications",
        lambda pair: [pair.influencer.id, None, None, 51],
        0.75,
    ),
    Case(
        "conversations",
        fixed("/chat/conversations?limit=50"),
        "/conversations",
        lambda pair: [pair.influencer.id, None, None, 51],
        0.78,
    ),
    Case(
        "contacts",
        fixed("/chat/contacts?limit=20"),
        "/contacts",
        lambda pair: [pair.influencer.id, None, None, None, None, 21],
        0.75,
    ),
    Case("messages, peek", messages_path("?peek=true"), "/messages", messages_of, 0.72),
    Case("messages, read mark", messages_path(""), "/messages", messages_of, 0.72),
    Case(
        "send",
        messages_path(""),
        "/send",
        lambda pair: [pair.conversation_id, pair.influencer.id],
        0.65,
        body={"content": TEXT},
    ),
)


def encode(path: str, token: str, arguments: Sequence[object], body: dict[str, str] | None) -> bytes:
    payload = json.dumps(body).encode() if body else b""
    head = f"{'POST' if body else 'GET'} {path} HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n"
    if token:
        head += f"Authorization: Bearer {token}\r\n"
    if arguments:
        head += f"X-Arguments: {json.dumps(arguments)}\r\n"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(payload)}\r\n"
    return f"{head}\r\n".encode() + payload


class RequestFiles:
    """Files of requests for the load client: one request for each pair."""

    def __init__(self, environment: Environment, pairs: int | None = None) -> None:
        self.folder = environment.folder
        end = 1 + (environment.size.users if pairs is None else pairs)
        self.pairs = environment.pairs[1:end]  # the first one has the long conversation

    def write(self, name: str, requests: Sequence[bytes]) -> Path:
        file = self.folder / name
        file.write_bytes(SEPARATOR.join(requests))
        return file

    def requests(self, case: Case) -> list[bytes]:
        return [encode(case.path(pair), case.who(pair).token, [], case.body) for pair in self.pairs]

    def ours(self, case: Case) -> Path:
        return self.write(f"{case.name}.txt", self.requests(case))

    def floor(self, case: Case) -> Path:
        requests = [encode(case.floor, "", case.arguments(pair), case.body) for pair in self.pairs]
        return self.write(f"{case.name}, floor.txt", requests)


@dataclass
class Side:
    """A server with the requests that it gets, and what the turns of a round have cost it."""

    server: Measured
    file: Path
    figures: list[float]  # milliseconds of CPU per request, of each round
    seconds: float = 0.0
    count: int = 0

    def end_round(self) -> None:
        self.figures.append(self.seconds / self.count * 1e3)
        self.seconds, self.count = 0.0, 0


def find_wrk(size: Size) -> str | None:
    """Return the path of wrk if it sends the requests."""
    return WRK if size.wrk_seconds else None


class HttpBench:
    def __init__(self, environment: Environment) -> None:
        self.environment, self.size = environment, environment.size
        self.ours = environment.start_server()
        self.floor = environment.start_floor("http", environment.urls.database_url)
        self.old = environment.start_server(environment.old_checkout) if environment.old_checkout else None
        self.files = RequestFiles(environment)

    async def send(self, port: int, file: Path) -> int:
        """Send the requests of a turn; return their number."""
        if wrk := find_wrk(self.size):
            return await run_wrk(wrk, port, file, self.size.wrk_seconds, CONNECTIONS)
        return await self.environment.load.run_for(port, file, self.size.turn_seconds, CONNECTIONS)

    async def run(self, case: Case) -> Result:
        """Measure rounds. Each one has several short turns, so that a change of the machine's speed meets all sides."""
        result = Result(case.name, "ms", at_least(case.target))
        file = self.files.ours(case)
        sides = [Side(self.ours, file, result.ours), Side(self.floor, self.files.floor(case), result.floor)]
        if self.old:
            sides.append(Side(self.old, file, result.old))
        for side in sides:  # warm: plans, caches, connections, tokens
            count = WARM if side.server is self.floor else self.size.users
            await self.environment.load.run(side.server.port, side.file, count, CONNECTIONS)
        health = Side(self.floor, self.files.floor(CASES[0]), result.floor_of_health)
        for number in range(self.size.rounds):
            if case.floor in FLOOR_SHAPE:
                await self.turn(health)
                health.end_round()
            for turn in range(self.size.turns):
                for side in sides if (number + turn) % 2 == 0 else reversed(sides):
                    await self.turn(side)
            for side in sides:
                side.end_round()
        return result

    async def turn(self, side: Side) -> None:
        with Meter(side.server.pid) as meter:
            side.count += await self.send(side.server.port, side.file)
        side.seconds += meter.seconds


NAMES = tuple(case.name for case in CASES)


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench = HttpBench(environment)
    for case in CASES:
        if case.name in wanted:
            yield await bench.run(case)


def check_floors(results: Sequence[Result]) -> list[str]:
    """Return how the floors' costs relate to the floor of /health in the same rounds, and which are out of bounds."""
    lines = []
    for result, case in ((result, case) for result in results for case in CASES if case.name == result.case):
        expected = FLOOR_SHAPE.get(case.floor)
        if expected:
            ratio = statistics.median(map(truediv, result.floor, result.floor_of_health))
            fits = abs(ratio / expected - 1) <= FLOOR_TOLERANCE
            lines.append(f"floor of {case.name:<20} {ratio:.2f} × health, expected {expected}{'' if fits else ' OUT'}")
    return lines
