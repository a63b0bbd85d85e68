"""Count the processor's instructions of a request, of this server and of its floor, with valgrind.

`.venv/bin/python -m bench.instructions profile send`. The instructions of the kernel are not counted. Unlike CPU time,
the figure hardly depends on the load of the machine: two runs of one commit differ by up to 5 %.
"""

import argparse
import asyncio
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Awaitable
from pathlib import Path

import uvloop

from bench.__main__ import setting
from bench.cases.http import CASES, CONNECTIONS, Case, HttpBench
from bench.setup.environment import QUICK, Environment
from bench.setup.processes import Measured
from tests.helpers.scratch import scratch_folder

REQUESTS = 300  # that are counted
CONTROL_SECONDS = 60.0  # for an order to valgrind, which a process carries out between two of its instructions
POLL_SECONDS = 0.1
TOTAL = re.compile(r"^totals: (\d+)$", re.MULTILINE)


def control(server: Measured, *options: str) -> None:
    command = ["callgrind_control", *options, str(server.pid)]
    subprocess.run(command, check=True, capture_output=True, timeout=CONTROL_SECONDS)


async def read_total(folder: Path, server: Measured) -> int:
    """Write the counters and return their sum."""
    control(server, "--dump")
    deadline = time.monotonic() + CONTROL_SECONDS
    while True:
        files = list(folder.glob(f"callgrind.{server.pid}.*"))
        totals = [int(found[1]) for file in files if (found := TOTAL.search(file.read_text()))]
        if totals:
            for file in files:
                file.unlink()
            return max(totals)
        if time.monotonic() > deadline:
            raise SystemExit("valgrind did not write its counters")
        await asyncio.sleep(POLL_SECONDS)


async def count(folder: Path, server: Measured, work: Awaitable[None]) -> int:
    """Return the instructions of the server during the work."""
    control(server, "--zero")
    control(server, "--instr=on")
    await work
    control(server, "--instr=off")
    return await read_total(folder, server)


async def count_request(environment: Environment, server: Measured, file: Path) -> float:
    """Return thousands of instructions per request, without those of the server's periodic tasks."""
    load, folder = environment.load, environment.folder
    await load.run(server.port, file, environment.size.users, CONNECTIONS)  # warm: plans, caches, tokens
    began = time.monotonic()
    total = await count(folder, server, load.run(server.port, file, REQUESTS, CONNECTIONS))
    periodic = await count(folder, server, asyncio.sleep(time.monotonic() - began))
    return (total - periodic) / REQUESTS / 1e3


async def run(folder: Path, cases: list[Case], settings: dict[str, str]) -> None:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that a signal stops all processes
    out = f"--callgrind-out-file={folder}/callgrind.%p"
    valgrind = ("valgrind", "--tool=callgrind", "--instr-atstart=no", out, "-q")
    async with Environment(folder, QUICK, None, settings, runner=valgrind) as environment:
        bench = HttpBench(environment)
        for case in cases:
            ours = await count_request(environment, bench.ours, bench.files.ours(case))
            floor = await count_request(environment, bench.floor, bench.files.floor(case))
            print(
                f"{case.name:<28} {ours:6,.0f} thousand, floor {floor:6,.0f}, floor ÷ ours {floor / ours:.2f}",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.instructions", description=__doc__)
    parser.add_argument("cases", nargs="+", choices=[case.name for case in CASES], metavar="case")
    parser.add_argument("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", dest="settings")
    options = parser.parse_args()
    if not shutil.which("callgrind_control"):
        raise SystemExit("Install valgrind, and run this again.")
    os.environ["HOST"] = "127.0.0.1"  # valgrind's pipes have it in their names, and it is a setting of the server
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(Path(folder), [case for case in CASES if case.name in options.cases], dict(options.settings)))


if __name__ == "__main__":
    main()
