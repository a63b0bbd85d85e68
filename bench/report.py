"""Write a measurement into docs/performance.md: its table between two marks, and the picture of its ratios.

`make bench OPTIONS="--json FILE"`, then `.venv/bin/python -m bench.report FILE`.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from bench.picture import draw
from bench.results import Result, spread
from bench.setup.processes import ROOT

PAGE = ROOT / "docs" / "performance.md"
PICTURE = "performance.svg"
BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"
HEAD = "| case | ours | floor | ratio | target | met |\n|---|---|---|---|---|---|\n"
WAITS = (
    "The lowest and the highest figures of the cases with delays. In brackets, in milliseconds per second of these "
    "rounds: the server processes were ready to run and had no core; the same of the client, PostgreSQL and Redis; a "
    "process of the machine waited for the disk; the host gave the cores to other virtual machines."
)


def sentence(found: dict[str, Any]) -> str:
    return (
        f"Commit {found['commit']}, Python {found['python']}, {found['cores']} cores ({found['machine']}), "
        f"load average at the start {found['load']}, {found['seconds']:.0f} s: `{found['command']}`. "
        f"{found['client']} sent the requests of the HTTP cases. "
        "Median (lowest–highest) of the rounds. “yes”: the median meets the target; “in spread”: it does not, but some "
        "rounds do; “NO”: no round does."
    )


def line(result: Result) -> str:
    cells = (
        result.title,
        spread(result.ours),
        spread(result.floor),
        spread(result.ratios),
        str(result.target),
        result.verdict,
    )
    return f"| {' | '.join(cells)} |\n"


def text(found: dict[str, Any]) -> str:
    """Return what stands between the marks."""
    results = [Result.from_json(result) for result in found["results"]]
    met, missed = sum(result.met for result in results), sum(result.missed for result in results)
    partly = len(results) - met - missed
    table = HEAD + "".join(map(line, results))
    floors = "".join(f"- {floor}\n" for floor in found["floors"])
    delays = "".join(f"- {result.waiting()}\n" for result in results if result.waits)
    waits = f"\n{WAITS}\n\n{delays}" if delays else ""
    shape = f"\nThe floors, relative to the floor of `/health`:\n\n{floors}" if floors else ""
    picture = f"![Ratios of all cases to their targets]({PICTURE})"
    count = f"{met} of {len(results)} cases meet their target, {partly} in some rounds, {missed} in none."
    return f"{sentence(found)}\n{count}\n\n{picture}\n\n{table}{waits}{shape}"


def write(found: dict[str, Any], page: Path = PAGE) -> None:
    before, begin, rest = page.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{page} needs the marks {BEGIN} and {END}")
    page.write_text(f"{before}{BEGIN}\n{text(found)}{END}{after}")
    results = [Result.from_json(result) for result in found["results"]]
    title = f"Ratios of all cases to their targets, commit {found['commit']}"
    (page.parent / PICTURE).write_text(draw(results, title))


def main() -> None:
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m bench.report", description=__doc__)
    parser.add_argument("file", type=Path, help="written by --json")
    write(json.loads(parser.parse_args().file.read_text()))


if __name__ == "__main__":
    main()
