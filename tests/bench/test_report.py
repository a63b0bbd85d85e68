"""The figures of `make bench`: what counts as met, and the page that they are written to."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

from bench.report import PAGE, PICTURE, write
from bench.results import Result, at_least, at_most, at_most_times

FAST = Result("fast", "ms", at_least(0.7), [1.0, 1.1], [0.9, 0.9])
MIXED = Result("mixed & odd", "MB", at_most(3), [4.0, 4.0, 2.0])
SLOW = Result("slow", "s", at_most_times(1.2), [3.0, 4.0], [2.0, 2.0])


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


def test_the_page_has_a_place_for_figures(tmp_path: Path):
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE.read_text())
    write(measured(FAST), copy)
