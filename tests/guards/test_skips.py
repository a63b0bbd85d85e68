"""A test is skipped only for a missing program, by the one mark that .ci/run can turn into an error."""

import re
from pathlib import Path

import pytest

from tests.helpers import programs
from tests.helpers.programs import REQUIRED, needs_machine, needs_namespace, needs_program, needs_small_disk

TESTS = Path(__file__).parents[1]
SKIP = re.compile(r"\bskipif\(|\bskip\(|mark\.skip\b|importorskip|\bxfail\b|collect_ignore")
ALLOWED = {"helpers/programs.py", "guards/test_skips.py"}


def test_tests_are_skipped_for_missing_programs_only():
    files = {str(path.relative_to(TESTS)) for path in TESTS.rglob("*.py") if SKIP.search(path.read_text())}
    assert files <= ALLOWED


def test_a_skip_names_the_package(monkeypatch):
    monkeypatch.delenv(REQUIRED, raising=False)
    mark = needs_program("no-such-program", package="some-package").mark
    assert mark.args == (True,)
    assert "install the package some-package" in mark.kwargs["reason"]
    assert needs_program("sh", package="dash").mark.args == (False,)


def test_a_missing_program_is_an_error_where_it_is_required(monkeypatch):
    monkeypatch.setenv(REQUIRED, "1")
    assert needs_program("sh", package="dash").mark.args == (False,)
    with pytest.raises(RuntimeError, match="install the package some-package"):
        needs_program("no-such-program", package="some-package")


@pytest.mark.parametrize("needs", [needs_machine, needs_namespace, needs_small_disk])
def test_a_machine_that_refuses_namespaces_is_an_error_where_they_are_required(needs, monkeypatch):
    monkeypatch.setattr(programs, "can_boot", lambda: False)
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.delenv(REQUIRED, raising=False)
    assert needs().mark.args == (True,)
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(RuntimeError, match=f"unset {REQUIRED}"):
        needs()
