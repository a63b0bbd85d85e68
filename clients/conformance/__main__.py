"""Run the conformance scenarios: `.venv/bin/python -m clients.conformance [short|long|readmes] [--seed N]`."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from clients.conformance import readme_programs
from clients.conformance.local import LocalEnvironment
from clients.conformance.runner import Result, Runner, load
from db.migrate import migrate
from db.packaged.servers import EmbeddedServers
from deploy.cluster import find_nginx
from services.logs import configure_logs
from tests.drills.environment import Environment
from tests.helpers.scratch import scratch_folder

DEADLINE_SECONDS = 900.0
# The drills' environment is without limits, because the scenario sends more in two minutes than a user may in ten. The
# limit of frames stays: the clients must keep it.
LIMITS = {"LIMIT_SOCKET_FRAMES": "20/1s+60"}


def show(result: Result) -> None:
    found = result.findings
    print(
        f"  {', '.join(f'{count} {name}' for name, count in sorted(result.counts.items()))} in {result.seconds:.0f} s"
    )
    print(
        f"  {len(found.lost)} lost, {len(found.duplicated)} duplicated, {len(found.order)} out of order,"
        f" {len(found.different)} different, {len(result.errors)} errors"
    )
    for line in [*found.lost, *found.duplicated, *found.order, *found.different, *result.errors][:40]:
        print(f"    {line}")


@contextmanager
def environment_of(scenario: dict[str, Any], folder: Path) -> Iterator[Environment | LocalEnvironment]:
    token_seconds = scenario["tokenSeconds"]
    if scenario["processes"]:
        yield Environment(folder, ACCESS_TOKEN_EXPIRES_IN=f"{token_seconds}s", **LIMITS)
        return
    configure_logs("text", "ERROR")
    servers = EmbeddedServers(folder / "servers")
    try:
        urls = servers.start()
        migrate(urls.database_url)
        yield LocalEnvironment(folder, urls, token_seconds)
    finally:
        servers.stop()


def run_readme_programs() -> int:
    with scratch_folder("encer-conformance-") as folder:
        restart = readme_programs.chat_through_a_rolling_restart(Path(folder))
        wrong = asyncio.run(asyncio.wait_for(restart, DEADLINE_SECONDS))
    print(
        f"The READMEs' programs, {2 * readme_programs.LINES} lines through a rolling restart: {len(wrong)} differences"
    )
    print("\n".join(wrong)[:4000])
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scenario", nargs="?", default="short", choices=("short", "long", "readmes"))
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if find_nginx() is None:
        print("The conformance suite needs nginx: apt-get install nginx")
        return 1
    if options.scenario == "readmes":
        return run_readme_programs()
    scenario = load(options.scenario)
    with scratch_folder("encer-conformance-") as folder, environment_of(scenario, folder) as environment:
        runner = Runner(environment, scenario, options.seed)
        result = asyncio.run(asyncio.wait_for(runner.run(), DEADLINE_SECONDS))
    print(f"Conformance, {options.scenario}: Python and TypeScript through nginx and three instances")
    show(result)
    return 0 if result.clean else 1


if __name__ == "__main__":
    sys.exit(main())
