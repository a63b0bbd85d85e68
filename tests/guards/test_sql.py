"""Every SQL constant prepares against the migrated schema: Python's stand-in for SQL that is checked when compiled."""

import importlib
import pkgutil
import re
from collections.abc import Iterator

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
