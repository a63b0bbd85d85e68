"""The process itself: CPU of its start, CPU without requests, and memory before and after load."""

import asyncio
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

from bench.cases.http import CASES, CONNECTIONS, RequestFiles
from bench.results import Result, Target, at_most, at_most_times
from bench.stage.machine import Meter, cpu_of_tree, resident_bytes
from bench.stage.processes import ROOT
from bench.stage.stage import Stage, say

START, IDLE, AT_REST, LOADED, GROWTH = NAMES = (
    "CPU of a start",
    "CPU of an idle process",
    "memory, idle",
    "memory after load",
    "memory, growth",
)
BASELINE = "3a4d052"  # the commit that the start is compared with: the last one before it was made faster
WARM_REQUESTS = 20_000  # of all cases together
MANY = ("health", "profile", "contacts")  # the cases of the requests after that


def checkout_baseline(folder: Path) -> Path | None:
    """Unpack the commit BASELINE; None if this copy of the repository does not contain it."""
    target = folder / "baseline"
    target.mkdir(exist_ok=True)
    archive = subprocess.run(["git", "archive", BASELINE], cwd=ROOT, capture_output=True)  # noqa: S607
    if archive.returncode:
        return None
    subprocess.run(["tar", "-x", "-C", str(target)], input=archive.stdout, check=True)  # noqa: S607
    return target


async def empty_database(stage: Stage, name: str, checkout: Path = ROOT) -> str:
    """Create a database with the migrations of a checkout, and return its URL."""
    await stage.db.execute(f"create database {name}")
    url = stage.urls.database_url.replace("/encer?", f"/{name}?")
    command = [str(ROOT / ".venv/bin/python"), "-m", "db.migrate"]
    process = await asyncio.create_subprocess_exec(
        *command, cwd=checkout, env=stage.environment(DATABASE_URL=url), stdout=subprocess.DEVNULL
    )
    if await process.wait():
        raise SystemExit(f"the migrations of {checkout} failed")
    return url


async def measure_start(stage: Stage) -> Result:
    """Measure the process and its children until the first answer of /health/ready."""
    old = stage.old_checkout or checkout_baseline(stage.folder)
    result = Result(START, "s", at_most_times(0.62))
    turns = [(ROOT, await empty_database(stage, "bench_start"), result.ours)]
    if old is None:
        say(f"commit {BASELINE} is not in this repository: the start is not compared")
        result.target = Target("ours", "≤", 0.7)
    else:
        turns.append((old, await empty_database(stage, "bench_start_old", old), result.floor))
    for number in range(stage.size.rounds + 1):
        for checkout, url, figures in turns if number % 2 else reversed(turns):
            server = stage.start_server(checkout, DATABASE_URL=url, JOBS_ENABLED="true")
            if number:  # the first one compiles the modules
                figures.append(cpu_of_tree(server.pid))
            await stage.end_case()
    return result


async def measure_idle(stage: Stage) -> AsyncIterator[Result]:
    """Measure a server that runs its jobs, on an empty database."""
    url = await empty_database(stage, "bench_idle")
    server = stage.start_server(DATABASE_URL=url, JOBS_ENABLED="true")
    seconds = stage.size.idle_seconds
    await asyncio.sleep(seconds * 1.5)  # until each task has run once, and the first jobs
    idle, memory = Result(IDLE, "ms/s", at_most(1.5)), Result(AT_REST, "MB", at_most(75))
    for _ in range(stage.size.rounds):
        with Meter(server.pid) as meter:
            await asyncio.sleep(seconds)
        idle.ours.append(meter.seconds / seconds * 1e3)
        memory.ours.append(resident_bytes(server.pid) / 1e6)
    yield idle
    yield memory


async def measure_load(stage: Stage) -> AsyncIterator[Result]:
    """Measure the memory after requests of all cases, and by how much it grows over many more."""
    files, server, grown = RequestFiles(stage), stage.start_server(), Result(GROWTH, "MB", at_most(3))
    warm = stage.folder / "warm.txt"
    requests = [line for case in CASES for line in files.ours(case).read_text().splitlines()]
    warm.write_text("\n".join(requests))
    await stage.load.run(server.port, warm, min(WARM_REQUESTS, stage.size.many_requests), CONNECTIONS)
    loaded = resident_bytes(server.pid) / 1e6
    yield Result(LOADED, "MB", at_most(90), [loaded])
    many = stage.folder / "many.txt"
    lines = [files.ours(case).read_text().splitlines() for case in CASES if case.name in MANY]
    many.write_text("\n".join(line for group in zip(*lines, strict=True) for line in group))
    for _ in range(stage.size.rounds):
        await stage.load.run(server.port, many, stage.size.many_requests // stage.size.rounds, CONNECTIONS)
    grown.ours.append(resident_bytes(server.pid) / 1e6 - loaded)
    yield grown


async def measure(stage: Stage, wanted: set[str]) -> AsyncIterator[Result]:
    if START in wanted:
        yield await measure_start(stage)
    if wanted & {IDLE, AT_REST}:
        async for result in measure_idle(stage):
            yield result
        await stage.end_case()
    if wanted & {LOADED, GROWTH}:
        async for result in measure_load(stage):
            yield result
