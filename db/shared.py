"""Statements that several callers share: each needs the row of one key, and the statement takes an array of keys.

A statement costs this process about as much for twenty keys as for one. The first call starts a statement at once;
calls that arrive before its answer wait for the next one. So it costs nothing while few clients sign in, and little
when thousands return at once.
"""

import asyncio
from typing import Any, Protocol

import asyncpg

KEYS_AT_ONCE = 200


class RowSource(Protocol):
    """The database (db/pool.py)."""

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]: ...


class SharedStatements:
    """`fetchrow` of one key. The statement takes `$1::uuid[]`, and its column `key` is the id that a row belongs to."""

    def __init__(self, database: RowSource) -> None:
        self.database = database
        # By statement: the keys and futures of the next one; at most one for each request or socket that waits.
        self.waiting: dict[str, list[tuple[str, asyncio.Future[asyncpg.Record | None]]]] = {}
        self.running: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references to tasks

    async def fetchrow(self, sql: str, key: str) -> asyncpg.Record | None:
        answer: asyncio.Future[asyncpg.Record | None] = asyncio.get_running_loop().create_future()
        waiting = self.waiting.get(sql)
        if waiting is not None:
            waiting.append((key, answer))
        else:
            self.waiting[sql] = [(key, answer)]
            task = asyncio.create_task(self._run(sql))
            self.running.add(task)
            task.add_done_callback(self.running.discard)
        return await answer

    async def _run(self, sql: str) -> None:
        while calls := self.waiting[sql][:KEYS_AT_ONCE]:
            del self.waiting[sql][:KEYS_AT_ONCE]
            try:
                rows = await self.database.fetch(sql, [key for key, _ in calls])
            except Exception as error:  # each caller handles it
                for _, answer in calls:
                    if not answer.done():
                        answer.set_exception(error)
                continue
            found = {row["key"]: row for row in rows}
            for key, answer in calls:
                if not answer.done():  # cancelled, because the caller waits no longer
                    answer.set_result(found.get(key))
        del self.waiting[sql]
