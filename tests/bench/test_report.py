"""The figures of `make bench`: what counts as met, and the page that they are written to."""

import os
import subprocess
import time
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from bench.report import PAGE, PICTURE, write
from bench.results import Result, at_least, at_most, at_most_times
from bench.setup.machine import USABLE, Waits, Watch, core_delay, on_core

FAST = Result("fast", "ms", at_least(0.7), [1.0, 1.1], [0.9, 0.9])
MIXED = Result("mixed & odd", "MB", at_most(3), [4.0, 4.0, 2.0])
SLOW = Result("slow", "s", at_most_times(1.2), [3.0, 4.0], [2.0, 2.0])
DELAYED = Result("delayed", "ms", at_least(0.8), [20.0, 10.0], [5.0, 9.0])
DELAYED.waits, DELAYED.floor_waits = [Waits(300, 40, 20, 1), Waits(20, 3, 2, 0)], [Waits(1, 2, 3, 4)] * 2


def measured(*results: Result) -> dict[str, Any]:
    about = {"commit": "abc", "command": "x", "python": "3", "cores": 2, "machine": "m", "load": "0", "seconds": 1.0}
    return {
        **about,
        "client": "wrk",
        "floors": ["floor of fast 1.7"],
        "results": [result.as_json() for result in results],
    }


def test_a_target_is_missed_only_if_no_round_meets_it():
    assert [result.verdict for result in (FAST, MIXED, SLOW)] == ["yes", "in spread", "NO"]
    assert [result.missed for result in (FAST, MIXED, SLOW)] == [False, False, True]


def test_a_run_replaces_the_figures_of_the_run_before(tmp_path: Path):
    page = tmp_path / "performance.md"
    page.write_text("before\n<!-- figures -->\nold\n<!-- end of figures -->\nafter\n")
    write(measured(SLOW), page)
    write(measured(FAST, MIXED), page)
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("<!-- end of figures -->\nafter\n")
    assert "old" not in text and "slow" not in text
    assert "1 of 2 cases meet their target" in text and "wrk sent the requests" in text
    assert "| fast, ms | 1.05 (1–1.1) | 0.9 (0.9–0.9) | 0.859 (0.818–0.9) | floor ÷ ours ≥ 0.7 | yes |" in text
    bars = ElementTree.parse(tmp_path / PICTURE).findall(".//{http://www.w3.org/2000/svg}rect[@fill]")
    assert len(bars) == 3  # the background and two cases


def test_the_page_names_the_waits_of_the_fastest_and_the_slowest_round(tmp_path: Path):
    page = tmp_path / "performance.md"
    page.write_text("<!-- figures --><!-- end of figures -->")
    write(measured(FAST, DELAYED), page)
    [line] = [line for line in page.read_text().splitlines() if line.startswith("- delayed")]
    assert line == (
        "- delayed, ms: ours 10 (20, 3, 2, 0) to 20 (300, 40, 20, 1); floor 5 (1, 2, 3, 4) to 9 (1, 2, 3, 4)"
    )


def test_a_watch_notices_a_process_that_waits_for_a_core():
    deadline = time.monotonic() + 10
    with on_core(USABLE[0]), subprocess.Popen(["sh", "-c", "while :; do :; done"]) as busy:
        watch = Watch([busy.pid], os.getpid())
        try:
            with watch:
                before = core_delay(busy.pid)
                while core_delay(busy.pid) == before and time.monotonic() < deadline:
                    pass  # this process needs the same core
        finally:
            busy.kill()
    assert watch.take().servers > 0
    assert not any(watch.total)


def test_the_page_has_a_place_for_figures(tmp_path: Path):
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE.read_text())
    write(measured(FAST), copy)
