"""Helpers for the tests of admin routes."""

from typing import Any

import asyncpg

from db.pool import Database

NOBODY = "00000000-0000-4000-8000-000000000000"  # the id of no user; the same for every worker of a run
FROM = {"User-Agent": "Browser/1.0 (é)"}

LIST_LOGS = "select * from activity_logs order by created_at, id"


async def logs(db: Database) -> list[asyncpg.Record]:
    return await db.fetch(LIST_LOGS)


async def only_log(db: Database, admin: Any, action: str, target: Any = None) -> asyncpg.Record:
    """Return the only row of the activity log, after checking its admin, action, target and address."""
    [row] = await logs(db)
    assert (row["action"], row["admin_id"], row["admin_name"], row["admin_email"]) == (
        action,
        admin.id,
        admin.name,
        admin.email,
    )
    if target:
        assert (row["target_user_id"], row["target_user_name"]) == (target.id, target.name)
    assert row["ip_address"] == "127.0.0.1"
    assert row["user_agent"] == FROM["User-Agent"]
    return row
