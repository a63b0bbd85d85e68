"""The instrument of `make bench`: every case and its floor in turns, one table, exit 1 where a target is missed.

Options: `--quick` (less data and fewer rounds), `--only profile,send` (beginnings of case names), `--json FILE`,
`--compare DIR` (another checkout of this repository, measured in the same turns), `--set LIMIT_MESSAGE=off` (a setting
of the measured server, to see what a part of it costs). docs/performance.md explains it.
"""

import argparse
import asyncio
import json
import os
import platform
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import uvloop

from bench.cases import delivery, frames, http, logins, process, queries, sockets
from bench.results import Result, print_table
from bench.setup.environment import FULL, QUICK, Environment, Size, print_progress
from bench.setup.processes import ROOT
from tests.helpers.scratch import scratch_folder

GROUPS = (http, queries, frames, sockets, delivery, logins, process)
# A quarter to half a minute each; --quick measures them if --only names them.
LONG = (frames.FAN_OUT, sockets.KEEPING, delivery.RATE, delivery.STALLED, process.START)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"two rounds on less data, without {', '.join(LONG)}")
    parser.add_argument("--only", default="", metavar="NAMES", help="a comma list of the starts of case names")
    parser.add_argument("--rounds", type=int, help="rounds of each case; 5, or 2 with --quick")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures of all rounds")
    parser.add_argument("--compare", type=Path, metavar="DIR", help="another checkout, measured in the same turns")
    parser.add_argument("--set", action="append", default=[], type=setting, metavar="NAME=VALUE", dest="settings")
    return parser.parse_args()


def setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise argparse.ArgumentTypeError("must be NAME=VALUE, such as LIMIT_MESSAGE=off")
    return name, value


async def run(folder: Path, options: argparse.Namespace, results: list[Result]) -> None:
    """Measure, and append each result."""
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that a signal stops all processes
    starts = tuple(options.only.split(","))
    old = options.compare.resolve() if options.compare else None
    began = time.monotonic()
    async with Environment(folder, size_of(options), old, dict(options.settings)) as environment:
        print_progress(f"the environment is ready, {time.monotonic() - began:.0f} s")
        began = time.monotonic()
        for group in GROUPS:
            wanted = {name for name in group.NAMES if name.startswith(starts)}
            if options.quick and not options.only:
                wanted.difference_update(LONG)
            if not wanted:
                continue
            print_progress(f"measuring {', '.join(name for name in group.NAMES if name in wanted)}")
            async for result in group.measure(environment, wanted):
                if result.case in wanted:
                    results.append(result)
                    print_progress(f"{result.line()}, {time.monotonic() - began:.0f} s")
                    began = time.monotonic()
            await environment.end_case()


def size_of(options: argparse.Namespace) -> Size:
    size = QUICK if options.quick else FULL
    return size._replace(rounds=options.rounds or size.rounds)


def about(options: argparse.Namespace) -> dict[str, Any]:
    arguments = ("FILE" if text == str(options.json) else text for text in sys.argv[1:])
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "commit": commit.stdout.strip(),
        "command": shlex.join([".venv/bin/python", "-m", "bench", *arguments]),
        "python": platform.python_version(),
        "cores": os.cpu_count(),
        "machine": processor(),
        "client": "wrk" if http.find_wrk(size_of(options)) else "bench/clients/http.py",
        "load": ", ".join(f"{value:.1f}" for value in os.getloadavg()),
    }


def processor() -> str:
    """Return the processor's name, on Linux."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def main() -> int:
    options = parse()
    began = time.monotonic()
    told, results = about(options), list[Result]()
    try:
        with scratch_folder("encer-bench-") as folder:
            uvloop.run(run(Path(folder), options, results))
    finally:  # a case that fails does not take the figures of the others with it
        report(results, {**told, "seconds": time.monotonic() - began}, options.json)
    return int(any(result.missed for result in results))


def report(results: list[Result], told: dict[str, Any], file: Path | None) -> None:
    print_table(results)
    told["floors"] = http.check_floors(results)
    print("", *told["floors"], f"commit {told['commit']}, load {told['load']}, {told['seconds']:.0f} s", sep="\n")
    if file:
        file.write_text(json.dumps({**told, "results": [result.as_json() for result in results]}, indent=1))


if __name__ == "__main__":
    sys.exit(main())
