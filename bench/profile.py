"""Draw where the CPU of the server goes during requests of one case, as a flame graph.

`.venv/bin/python -m bench.profile profile FILE.svg`; py-spy needs to run as root, or kernel.yama.ptrace_scope 0.
"""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

import uvloop

from bench.cases.http import CASES, CONNECTIONS, RequestFiles
from bench.setup.environment import QUICK, Environment
from tests.helpers.scratch import scratch_folder

SECONDS = 10
RATE = 200  # samples a second
PART = 1_000  # requests of a turn


async def run(folder: Path, name: str, target: Path) -> None:
    task = asyncio.current_task()
    assert task
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # so that a signal stops all processes
    case = next(case for case in CASES if case.name == name)
    async with Environment(folder, QUICK, None) as environment:
        server = environment.start_server(LIMIT_GENERAL="100000000/1d")
        file = RequestFiles(environment).ours(case)
        await environment.load.run(server.port, file, PART, CONNECTIONS)  # warm
        program = Path(sys.executable).parent / "py-spy"
        options = ["record", "-o", str(target), "-d", str(SECONDS), "-r", str(RATE), "-p", str(server.pid)]
        profiler = await asyncio.create_subprocess_exec(str(program), *options)
        while profiler.returncode is None:
            await environment.load.run(server.port, file, PART, CONNECTIONS)
        if profiler.returncode:
            raise SystemExit("py-spy failed; run it as root, or set kernel.yama.ptrace_scope to 0")


def main() -> None:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.profile", description=__doc__)
    parser.add_argument("case", choices=[case.name for case in CASES])
    parser.add_argument("file", type=Path, help="the flame graph, an SVG")
    options = parser.parse_args()
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(Path(folder), options.case, options.file.resolve()))


if __name__ == "__main__":
    main()
