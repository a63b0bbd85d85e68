"""Every declared error code is used, and mypy checks that every used code is declared."""

import ast
import re
from pathlib import Path

from db.error_codes import ERROR_CODES

ROOT = Path(__file__).parents[2]
FOLDERS = ("db", "services", "realtime", "handlers")
DECLARATION = ROOT / "db" / "error_codes.py"


def texts() -> set[str]:
    """Return every string constant of the modules that answer clients."""
    files = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py") if path != DECLARATION]
    nodes = [node for path in files for node in ast.walk(ast.parse(path.read_text()))]
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def codes_of_nginx() -> set[str]:
    """Return the codes of errors that nginx answers itself."""
    block = (ROOT / "deploy" / "nginx.conf").read_text().partition("map $status $error_code {")[2].partition("}")[0]
    return set(re.findall(r"\b([A-Z_]+);", block))


def test_nginx_answers_declared_codes():
    assert codes_of_nginx() - set(ERROR_CODES) == set()
    assert len(codes_of_nginx()) > 10


def test_every_declared_code_is_answered_somewhere():
    assert set(ERROR_CODES) - texts() - codes_of_nginx() == set()
    assert len(set(ERROR_CODES)) == len(ERROR_CODES)
