"""Queries: pages at any depth, searches among all listings, and the number of statements of a request.

CPU of the server and of PostgreSQL together. The floor of a deep page is the first page, that of a search is the bare
server that runs the same statement.
"""

import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

from bench.cases.http import CASES, INFLUENCERS, Case, RequestFiles, discover, encode, fixed, messages_path, salon
from bench.results import Result, at_most, at_most_times
from bench.setup.environment import NO_LIMIT, Environment
from bench.setup.machine import Meter
from bench.setup.processes import Measured

DEEP = "the deepest page of messages"
SEARCHES = {f"search by {len(text)} character{'s' * (len(text) > 1)}": text for text in ("k", "yu", "akura")}
READS, WRITE, TOTAL = ("statements of a read", "statements of a message", "statements of a page, total")
NAMES = (DEEP, *SEARCHES, READS, WRITE, TOTAL)
CONNECTIONS = 4  # PostgreSQL shares its core with the client
PAGE = 50
ASKED = 40  # requests of each kind whose statements are counted
# An entry of PostgreSQL's log; a prepared statement has a name that differs between connections.
STATEMENT = re.compile(r"LOG:  (?:execute [^:]*|statement): (.*?)(?=^\d{4}-|\Z)", re.MULTILINE | re.DOTALL)


class QueryBench:
    def __init__(self, environment: Environment) -> None:
        self.environment, self.size = environment, environment.size
        self.server = environment.start_server(LIMIT_GENERAL=NO_LIMIT)
        self.files = RequestFiles(environment)

    async def cost(self, server: Measured, file: Path) -> float:
        """Return milliseconds of CPU per request, of the server and PostgreSQL."""
        with Meter(server.pid, children_of=self.environment.postgres_pid) as meter:
            count = await self.environment.load.run_for(server.port, file, self.size.turn_seconds, CONNECTIONS)
        return meter.seconds / count * 1e3

    async def compare(self, result: Result, ours: tuple[Measured, Path], floor: tuple[Measured, Path]) -> Result:
        turns = [(*ours, result.ours), (*floor, result.floor)]
        for number in range(self.size.rounds + 1):
            for server, file, figures in turns if number % 2 else reversed(turns):
                figure = await self.cost(server, file)
                if number:  # the first one warms
                    figures.append(figure)
        return result

    async def deep_page(self) -> Result:
        """The newest page and the oldest one of the long conversation."""
        pair = self.environment.pairs[0]
        files = [
            self.files.write(name, [encode(messages_path(query)(pair), pair.influencer.token, [], None)])
            for name, query in (("deep.txt", f"?peek=true&before={PAGE + 1}"), ("first.txt", "?peek=true"))
        ]
        return await self.compare(
            Result(DEEP, "ms", at_most_times(1.2)), (self.server, files[0]), (self.server, files[1])
        )

    async def search(self, name: str, floor: Measured) -> Result:
        text = SEARCHES[name]
        case = Case(name, fixed(f"{INFLUENCERS}?search={text}"), "/discovery", discover(text), 0, salon)
        return await self.compare(
            Result(name, "ms", at_most_times(1.5)),
            (self.server, self.files.ours(case)),
            (floor, self.files.floor(case)),
        )

    async def statements(self, server: Measured, cases: Sequence[Case]) -> list[float]:
        """Return how many statements a request of each case runs, without those of the server's own tasks."""
        log = self.environment.packaged.pgdata / "server.log"
        found = []
        for case in cases:
            file = RequestFiles(self.environment, ASKED).ours(case)
            await self.environment.load.run(server.port, file, ASKED, 1)  # callers are known from now on
            start = log.stat().st_size
            await self.environment.load.run(server.port, file, ASKED, 1)
            with log.open("rb") as lines:
                lines.seek(start)
                counts = Counter(STATEMENT.findall(lines.read().decode()))
            found.append(float(sum(round(count / ASKED) for count in counts.values() if count >= ASKED / 2)))
        return found


def cases_named(choose: Callable[[str], bool]) -> list[Case]:
    return [case for case in CASES if case.name != "health" and choose(case.name)]


def is_read(name: str) -> bool:
    return name != "send" and "total" not in name


async def measure_statements(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench = QueryBench(environment)
    await environment.db.execute("alter database encer set log_statement = 'all'")
    server = environment.start_server(LIMIT_GENERAL=NO_LIMIT)
    await environment.db.execute("alter database encer reset log_statement")
    kinds: dict[str, Callable[[str], bool]] = {
        READS: is_read,
        WRITE: "send".__eq__,
        TOTAL: lambda name: "total" in name,
    }
    for name, choose in kinds.items():
        if name in wanted:
            figures = await bench.statements(server, cases_named(choose))
            yield Result(name, "at most", at_most(1), [max(figures)])


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    if wanted & {DEEP, *SEARCHES}:
        bench = QueryBench(environment)
        if DEEP in wanted:
            yield await bench.deep_page()
        floor = environment.start_floor("http", environment.urls.database_url)
        for name in SEARCHES:
            if name in wanted:
                yield await bench.search(name, floor)
        await environment.end_case()
    if wanted & {READS, WRITE, TOTAL}:
        async for result in measure_statements(environment, wanted):
            yield result
