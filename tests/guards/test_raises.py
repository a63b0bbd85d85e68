"""Exceptions are created where they are raised: a shared exception keeps the frames of every raise."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDERS = ("services", "db", "realtime", "handlers", "jobs")


def test_no_shared_exception_is_raised():
    shared = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Name) and node.exc.id.isupper()
    ]
    assert shared == []
