"""The form of the code: bounded files and folders, layout by the formatter, no assert that the product relies on."""

import ast
from collections import Counter
from pathlib import Path

from tests.guards.product import FILES, ROOT, parse

MAX_LINES = 400
MAX_MODULES = 18  # about fifteen; more in one folder hides what belongs together
MAX_SKIPS = 10  # tables that are laid out by hand
OTHERS = ("bench", "clients", "deploy", "examples", "tests", "tools")


def python_files() -> list[Path]:
    """Return the Python files of the repository, without those of installed packages."""
    found = [ROOT / "server.py", *(ROOT / file for file in FILES)]
    for folder in OTHERS:
        found += [path for path in (ROOT / folder).rglob("*.py") if "node_modules" not in path.parts]
    return found


def test_a_file_can_be_read_at_once():
    lengths = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in python_files()}
    assert len(lengths) > 400
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_a_folder_has_few_modules():
    counts = Counter(path.parent.relative_to(ROOT) for path in python_files() if path.name != "__init__.py")
    assert {str(folder): count for folder, count in counts.items() if count > MAX_MODULES} == {}


def test_the_formatter_lays_out_the_code():
    skips = {
        str(path.relative_to(ROOT)): count
        for path in python_files()
        if "tests" not in path.relative_to(ROOT).parts and (count := path.read_text().count("# fmt: skip"))
    }
    assert sum(skips.values()) <= MAX_SKIPS, skips


def test_the_product_raises_and_does_not_assert():
    asserting = [str(file) for file in FILES if any(isinstance(node, ast.Assert) for node in ast.walk(parse(file)))]
    assert asserting == []


def test_tests_are_in_the_folder_of_what_they_test():
    assert [path.name for path in (ROOT / "tests").glob("test_*.py")] == []
