"""Statements that callers share (db/shared.py)."""

import asyncio
import uuid
from typing import Any

import pytest

from db.pool import Database, DatabaseUnavailable
from db.shared import SharedStatements

ECHO = "select id as key, upper(id::text) as said from unnest($1::uuid[]) id where id <> $1[array_length($1, 1)]"


class Watched:
    """A database that lists the keys of its statements."""

    def __init__(self, db: Database) -> None:
        self.db = db
        self.asked: list[list[str]] = []

    async def fetch(self, sql: str, keys: list[str]) -> Any:
        self.asked.append(keys)
        return await self.db.fetch(sql, keys)


async def test_calls_of_one_time_share_a_statement(db: Database):
    watched: Any = Watched(db)
    shared = SharedStatements(watched)
    ids = [str(uuid.uuid4()) for _ in range(3)]
    rows = await asyncio.gather(*(shared.fetchrow(ECHO, id) for id in ids))
    assert [row and row["said"] for row in rows] == [ids[0].upper(), ids[1].upper(), None]  # the last has no row
    assert watched.asked == [ids]
    await shared.fetchrow(ECHO, ids[0])
    assert watched.asked == [ids, [ids[0]]]
    assert shared.waiting == {}


async def test_a_call_during_a_statement_waits_for_the_next_one(db: Database):
    watched: Any = Watched(db)
    shared = SharedStatements(watched)
    first, second = str(uuid.uuid4()), str(uuid.uuid4())
    calls = [asyncio.create_task(shared.fetchrow(ECHO, first))]
    while not watched.asked:
        await asyncio.sleep(0)
    calls.append(asyncio.create_task(shared.fetchrow(ECHO, second)))
    await asyncio.gather(*calls)
    assert watched.asked == [[first], [second]]


async def test_an_error_reaches_all_callers_and_a_cancelled_one_disturbs_nobody(db: Database, monkeypatch):
    shared = SharedStatements(db)

    async def away(*_: Any) -> None:
        raise DatabaseUnavailable

    ids = [str(uuid.uuid4()) for _ in range(3)]
    gone, kept, _ = calls = [asyncio.create_task(shared.fetchrow(ECHO, id)) for id in ids]
    await asyncio.sleep(0)
    gone.cancel()
    row = await kept
    assert row and row["said"] == ids[1].upper()
    monkeypatch.setattr(db, "fetch", away)
    for error in await asyncio.gather(*(shared.fetchrow(ECHO, id) for id in ids), return_exceptions=True):
        assert isinstance(error, DatabaseUnavailable)
    with pytest.raises(asyncio.CancelledError):
        await calls[0]
