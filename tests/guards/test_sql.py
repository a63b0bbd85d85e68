"""Every SQL constant is prepared against the migrated schema, as a compiler would check it.

The constants are found twice, in the source and at runtime, and both must be the same ones.
"""

import ast
import importlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from db.pool import Database
from tests.guards.product import FILES, PACKAGES, module_name, parse, read

STATEMENT = re.compile(r"\s*(select|insert|update|delete|with)\s")  # our SQL is lower case

# SQL inside a function or class is allowed here only. What builders return is kept in constants, which are prepared.
BUILDERS = {
    "db.queries.directory.list_directory",
    "db.queries.listings.list_listings",
    "db.rotate_keys.Column",
    "handlers.admin.connections.list_connections",
    "handlers.admin.stats.list_activities",
    "handlers.admin.users.UserList",
    "handlers.connections.list_requests",
    "handlers.connections.count_requests",
    "jobs.housekeeping.oldest",
}
# Parts of statements that are prepared.
FRAGMENTS = {
    "db.fragments.withdraw_notices",
    "handlers.admin.connections.requests_of",
    "handlers.http.paging.with_total",
}
# These ask the server or the pooler, not the schema.
INLINE = {"db.connect.ask", "db.connect.Connector", "db.migrate.lock", "db.migrate.name_of", "db.migrate.turn"}
FOR_PSQL = {"db.packaged.servers.CREATE_DATABASE"}  # ends with \gexec, a command of psql


def begins_statement(node: ast.AST) -> bool:
    if isinstance(node, ast.JoinedStr):
        return bool(node.values) and begins_statement(node.values[0])
    return isinstance(node, ast.Constant) and isinstance(node.value, str) and bool(STATEMENT.match(node.value))


# Most files have no SQL. Each worker of pytest reads this module, so the others are not parsed for it.
LITERAL = re.compile(rf"[\"'}}]{STATEMENT.pattern}")
CALL = re.compile(rf"\b({'|'.join(name.rpartition('.')[2] for name in BUILDERS)})\(")


def may_hold_sql(source: str) -> bool:
    return bool(LITERAL.search(source) or CALL.search(source))


def has_statement(node: ast.AST) -> bool:
    return any(begins_statement(part) for part in ast.walk(node))


def calls_builder(node: ast.AST) -> bool:
    names = {name.rpartition(".")[2] for name in BUILDERS}
    return any(isinstance(part, ast.Call) and ast.unparse(part.func) in names for part in ast.walk(node))


def find_sql() -> Iterator[tuple[Path, str, bool]]:
    """Yield the top-level names whose definition holds or builds SQL: the file, the name, whether it is a constant."""
    for file in FILES:
        for node in parse(file).body if may_hold_sql(read(file)) else []:
            if not has_statement(node) and not calls_builder(node):
                continue
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                yield file, node.name, False
            else:
                for name in ast.walk(node):
                    if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store) and name.id.isupper():
                        yield file, name.id, True


def statements_in(value: Any) -> Iterator[str]:
    """Yield the statements in a constant: a text, a collection, or an object with statements as attributes."""
    if isinstance(value, str):
        if STATEMENT.match(value):
            yield value
    elif isinstance(value, dict | list) or type(value) is tuple:
        for part in value.values() if isinstance(value, dict) else value:
            yield from statements_in(part)
    elif type(value).__module__.partition(".")[0] in PACKAGES:
        for name in dir(value):
            if not name.startswith("_"):
                yield from statements_in(getattr(value, name))


def load_constants() -> Iterator[tuple[str, str]]:
    """Yield all statements that constants of the product hold at runtime, each with its name."""
    for file in FILES:
        if file.name == "__main__.py":  # importing it may run it
            continue
        module = importlib.import_module(module_name(file))
        own = set(re.findall(r"\b_*[A-Z]\w*", read(file)))
        for name in sorted(own & {name for name in vars(module) if name.isupper()}):
            for number, statement in enumerate(statements_in(getattr(module, name))):
                yield f"{module.__name__}.{name}{f' {number}' if number else ''}", statement


WRITTEN = {f"{module_name(file)}.{name}": is_constant for file, name, is_constant in find_sql()}
CONSTANTS = {name for name, is_constant in WRITTEN.items() if is_constant} - FOR_PSQL
LOADED = dict(load_constants())
STATEMENTS = {name: statement for name, statement in LOADED.items() if name.partition(" ")[0] in CONSTANTS}


def test_each_constant_in_the_source_is_prepared():
    assert {name.partition(" ")[0] for name in STATEMENTS} == CONSTANTS


def test_each_statement_that_is_loaded_is_prepared():
    assert set(LOADED.values()) - set(STATEMENTS.values()) == {LOADED[name] for name in FOR_PSQL}


def test_all_other_sql_is_built_by_a_known_function_or_asks_no_table():
    assert {name for name, is_constant in WRITTEN.items() if not is_constant} == BUILDERS | FRAGMENTS | INLINE


@pytest.mark.parametrize("name", STATEMENTS)
async def test_statement_prepares(db: Database, name: str):
    async with db.connection() as conn:
        await conn.prepare(STATEMENTS[name])


# Statements that change a connection for its next user: in the pool (db/pool.py), or behind a pooler that gives each
# transaction another server connection. Our SQL is lower case.
SESSION_STATE = re.compile(
    r"^\s*(listen|set(?! local)|create temp(?!.* on commit drop)|prepare) \w"
    r"|\bpg_(try_)?advisory_lock|\bwith hold\b|\bset_config\((?!.*\btrue\))"
)
STAYS = [
    "listen news",
    "set lock_timeout = '3s'",
    "create temp table t (n int)",
    "prepare p as select 1",
    "select pg_advisory_lock(1)",
    "select pg_try_advisory_lock_shared(1)",
    "declare c cursor with hold for select 1",
    "select set_config('jit', 'off', false)",
]
ENDS_WITH_ITS_TRANSACTION = [
    "set local lock_timeout = '3s'",
    "create temp table t on commit drop as select 1",
    "select pg_advisory_xact_lock(1)",
    "select set_config('jit', 'off', true)",
    "update users set name = $1",
    "select 1",
]


@cache
def texts(file: Path) -> list[str]:
    return [
        node.value for node in ast.walk(parse(file)) if isinstance(node, ast.Constant) and isinstance(node.value, str)
    ]


def test_no_other_file_holds_sql():
    others = [file for file in FILES if not may_hold_sql(read(file))]
    assert len(others) > 100
    assert [file for file in others if any(STATEMENT.match(text) for text in texts(file))] == []


def test_no_statement_leaves_anything_with_its_connection():
    found = [(str(file), text) for file in FILES for text in texts(file) if SESSION_STATE.search(text)]
    assert found == []


@pytest.mark.parametrize("statement", STAYS)
def test_what_stays_is_found(statement: str):
    assert SESSION_STATE.search(statement)


@pytest.mark.parametrize("statement", ENDS_WITH_ITS_TRANSACTION)
def test_what_ends_with_its_transaction_is_allowed(statement: str):
    assert not SESSION_STATE.search(statement)
