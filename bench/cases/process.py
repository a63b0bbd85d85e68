"""The process itself: CPU of its start, CPU without requests, and memory before and after load."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from bench.cases.http import CASES, CONNECTIONS, RequestFiles
from bench.results import Result, Target, at_most, at_most_times
from bench.setup.environment import Environment, print_progress
from bench.setup.machine import Meter, cpu_of_tree, resident_bytes
from bench.setup.processes import ROOT

START, IDLE, AT_REST, LOADED, GROWTH = NAMES = (
    "CPU of a start",
    "CPU of an idle process",
    "memory, idle",
    "memory after load",
    "memory, growth",
)
BASELINE = "3a4d052"  # the commit that the start is compared with: the last one before it was made faster
WARM_REQUESTS = 10_000  # of all cases together
MANY = ("health", "profile")  # the cases of the requests after that


def checkout_baseline(folder: Path) -> Path | None:
    """Unpack the commit BASELINE; None if this copy of the repository does not contain it."""
    target = folder / "baseline"
    target.mkdir(exist_ok=True)
    archive = subprocess.run(["git", "archive", BASELINE], cwd=ROOT, capture_output=True)
    if archive.returncode:
        return None
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)
    return target


async def empty_database(environment: Environment, name: str, checkout: Path = ROOT) -> str:
    """Create a database with the migrations of a checkout, and return its URL."""
    await environment.db.execute(f"create database {name}")
    url = environment.urls.database_url.replace("/encer?", f"/{name}?")
    command = [str(ROOT / ".venv/bin/python"), "-m", "db.migrate"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=checkout, env=environment.environment(DATABASE_URL=url), stdout=subprocess.DEVNULL
    )
    if await process.wait():
        raise SystemExit(f"the migrations of {checkout} failed")
    return url


async def measure_start(environment: Environment) -> Result:
    """Measure the process and its children until the first answer of /health/ready."""
    old = environment.old_checkout or checkout_baseline(environment.folder)
    result = Result(START, "s", at_most_times(0.62))
    turns = [(ROOT, await empty_database(environment, "bench_start"), result.ours)]
    if old is None:
        print_progress(f"commit {BASELINE} is not in this repository: the start is not compared")
        result.target = Target("ours", "≤", 0.7)
    else:
        turns.append((old, await empty_database(environment, "bench_start_old", old), result.floor))
    for number in range(environment.size.rounds + 1):
        for checkout, url, figures in turns if number % 2 else reversed(turns):
            server = environment.start_server(checkout, DATABASE_URL=url, JOBS_ENABLED="true")
            if number:  # the first one compiles the modules
                figures.append(cpu_of_tree(server.pid))
            await environment.end_case()
    return result


async def measure_idle(environment: Environment) -> AsyncIterator[Result]:
    """Measure a server that runs its jobs, on an empty database. The floor is an event loop that wakes as often."""
    url = await empty_database(environment, "bench_idle")
    server, floor = environment.start_server(DATABASE_URL=url, JOBS_ENABLED="true"), environment.start_floor("idle")
    seconds = environment.size.idle_seconds
    await asyncio.sleep(seconds * 1.5)  # until each task has run once, and the first jobs
    idle, memory = Result(IDLE, "ms/s", at_most(1.5)), Result(AT_REST, "MB", at_most(75))
    for _ in range(environment.size.rounds):
        with Meter(server.pid) as ours, Meter(floor.pid) as bare:
            await asyncio.sleep(seconds)
        idle.ours.append(ours.seconds / seconds * 1e3)
        idle.floor.append(bare.seconds / seconds * 1e3)
        memory.ours.append(resident_bytes(server.pid) / 1e6)
    yield idle
    yield memory


async def measure_load(environment: Environment) -> AsyncIterator[Result]:
    """Measure the memory after requests of all cases, and by how much it grows over many more."""
    files, server, grown = RequestFiles(environment), environment.start_server(), Result(GROWTH, "MB", at_most(3))
    warm = files.write("warm.txt", [request for case in CASES for request in files.requests(case)])
    await environment.load.run(server.port, warm, min(WARM_REQUESTS, environment.size.many_requests), CONNECTIONS)
    loaded = resident_bytes(server.pid) / 1e6
    yield Result(LOADED, "MB", at_most(90), [loaded])
    requests = [files.requests(case) for case in CASES if case.name in MANY]
    many = files.write("many.txt", [request for group in zip(*requests, strict=True) for request in group])
    for _ in range(environment.size.rounds):
        await environment.load.run(
            server.port, many, environment.size.many_requests // environment.size.rounds, CONNECTIONS
        )
    grown.ours.append(resident_bytes(server.pid) / 1e6 - loaded)
    yield grown


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    if START in wanted:
        yield await measure_start(environment)
    if wanted & {IDLE, AT_REST}:
        async for result in measure_idle(environment):
            yield result
        await environment.end_case()
    if wanted & {LOADED, GROWTH}:
        async for result in measure_load(environment):
            yield result
