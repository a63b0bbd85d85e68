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


# What would stay with a connection for its next user: in the pool (db/pool.py), or behind a pooler that gives each
# transaction another server connection. Our SQL is lower case.
SESSION_STATE = re.compile(
    r"^\s*(listen|set(?! local)|create temp(?!.* on commit drop)|prepare) \w"
    r"|\bpg_(try_)?advisory_lock|\bwith hold\b|\bset_config\((?!.*\btrue\))"
)
STAYS = [
    "listen news", "set lock_timeout = '3s'", "create temp table t (n int)", "prepare p as select 1",
    "select pg_advisory_lock(1)", "select pg_try_advisory_lock_shared(1)", "declare c cursor with hold for select 1",
    "select set_config('jit', 'off', false)",
]  # fmt: skip
ENDS_WITH_ITS_TRANSACTION = [
    "set local lock_timeout = '3s'", "create temp table t on commit drop as select 1",
    "select pg_advisory_xact_lock(1)",
    "select set_config('jit', 'off', true)",
    "update users set name = $1", "select 1",
]  # fmt: skip


def texts(module: str) -> Iterator[str]:
    spec = importlib.util.find_spec(module)
    assert spec and spec.origin
    for node in ast.walk(ast.parse(Path(spec.origin).read_text())):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value


def test_no_statement_leaves_anything_with_its_connection():
    modules = {module.name for room in ROOMS for module in pkgutil.iter_modules(room.__path__, f"{room.__name__}.")}
    assert {"db.migrate", "db.pool"} <= modules
    found = [(module, text) for module in sorted(modules) for text in texts(module) if SESSION_STATE.search(text)]
    assert not found


@pytest.mark.parametrize("statement", STAYS)
def test_what_stays_is_found(statement: str):
    assert SESSION_STATE.search(statement)


@pytest.mark.parametrize("statement", ENDS_WITH_ITS_TRANSACTION)
def test_what_ends_with_its_transaction_is_allowed(statement: str):
    assert not SESSION_STATE.search(statement)
