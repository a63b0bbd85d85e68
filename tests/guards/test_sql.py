"""Every SQL constant prepares against the migrated schema: Python's stand-in for SQL that is checked when compiled."""

import ast
import importlib
import importlib.util
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import db
import handlers
import jobs
import realtime
from db.pool import Database

STATEMENT = re.compile(r"\s*(select|insert|update|delete|with)\s", re.IGNORECASE)
ROOMS = (db, handlers, jobs, realtime)


def constants() -> Iterator[tuple[str, str]]:
    for room in ROOMS:
        for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}."):
            if module.name.endswith("__main__"):
                continue
            for name, value in vars(importlib.import_module(module.name)).items():
                if name.isupper() and isinstance(value, str) and STATEMENT.match(value) and "gexec" not in value:
                    yield f"{module.name}.{name}", value


STATEMENTS = dict(constants())


def test_there_are_statements():
    assert len(STATEMENTS) > 40


@pytest.mark.parametrize("name", STATEMENTS)
async def test_statement_prepares(db: Database, name: str):
    async with db.connection() as conn:
        await conn.prepare(STATEMENTS[name])


# What would stay with a connection of the pool (db/pool.py) for whoever gets it next; our SQL is lower case.
SESSION_STATE = re.compile(
    r"^\s*(listen|set(?! local)|create temp) \w|\bpg_(try_)?advisory_lock|\bwith hold\b|\bset_config\("
)
WITH_CONNECTIONS_OF_THEIR_OWN = {"db.migrate", "db.embedded"}


def texts(module: str) -> Iterator[str]:
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_statement_leaves_anything_with_its_connection():
    modules = {module.name for room in ROOMS for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")}
    found = [
        (module, text)
        for module in sorted(modules - WITH_CONNECTIONS_OF_THEIR_OWN)
        for text in texts(module)
        if SESSION_STATE.search(text)
    ]
    assert not found
    assert any(map(SESSION_STATE.search, texts("db.migrate")))  # it would find one
