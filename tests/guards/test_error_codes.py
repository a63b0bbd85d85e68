"""Every error code is declared in one place (mypy checks that), and none is declared that nothing answers."""

import ast
from pathlib import Path

from db.error_codes import ERROR_CODES

ROOT = Path(__file__).parents[2]
ROOMS = ("services", "realtime", "handlers")


def texts() -> set[str]:
    """Every string constant of the rooms that answer clients."""
    files = [path for room in ROOMS for path in (ROOT / room).rglob("*.py")]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_declared_code_is_answered_somewhere():
    assert set(ERROR_CODES) - texts() == set()
    assert len(set(ERROR_CODES)) == len(ERROR_CODES)
