"""A deep page of a list costs no more than the first: its plan, also a generic one, starts at its key in an index.

So does the generic plan of what instances look up all the time: what has changed within the last seconds.
"""

import asyncio

import psycopg
import pytest

from db.queries.conversations import LIST_CHANGED_CONVERSATIONS
from db.queries.sessions import LIST_ENDED
from handlers.admin.connections import LIST_ALL, LIST_ALL_FOUND, LIST_STATUS, LIST_STATUS_FOUND
from handlers.admin.stats import LIST_ACTIVITIES, LIST_ACTIVITIES_DEEP
from handlers.admin.users import LISTS
from handlers.chat.messages import LIST_MESSAGES, LIST_MESSAGES_AFTER
from handlers.connections import LIST_EITHER, LIST_RECEIVED, LIST_SENT
from handlers.notifications import LIST_NOTIFICATIONS
from realtime.catch_up import LIST_NOTICES

BY_TIME = "(ROW(created_at, id) < ROW("
OF_STATUS = "((status >= $1) AND (ROW(status, created_at, id) < ROW("
OF_SENDER = "((sender_id = $1) AND (status = wanted.status) AND (ROW(created_at, id) < ROW("
OF_RECEIVER = OF_SENDER.replace("sender", "receiver")

SEEKS = {
    "connections": (LIST_ALL, BY_TIME),
    "connections, searched": (LIST_ALL_FOUND, BY_TIME),
    "connections of a status": (LIST_STATUS, OF_STATUS),
    "connections of a status, searched": (LIST_STATUS_FOUND, OF_STATUS),
    "activity logs": (LIST_ACTIVITIES, BY_TIME),
    "activity logs, further in": (LIST_ACTIVITIES_DEEP, BY_TIME),
    "notifications": (LIST_NOTIFICATIONS, "((user_id = $1) AND (ROW(updated_at, id) < ROW("),
    "sent requests": (LIST_SENT, OF_SENDER),
    "received requests": (LIST_RECEIVED, OF_RECEIVER),
    "one's connections, asked": (LIST_EITHER, OF_SENDER),
    "one's connections, answered": (LIST_EITHER, OF_RECEIVER),
    "messages": (LIST_MESSAGES, "((conversation_id = c.id) AND (seq < "),
    "messages, from a number on": (LIST_MESSAGES_AFTER, "((conversation_id = c.id) AND (seq > "),
    **{
        f"users by {sort} {order}{place}": (statement, f"(ROW({column}, user_id) ")
        for sort, column in (("createdAt", "created_at"), ("name", "name"), ("email", "email"))
        for order in ("asc", "desc")
        for place, statement in (("", LISTS[sort, order].near), (", further in", LISTS[sort, order].deep))
    },
}


# Many rows, of which few belong to one user. The users need not exist.
FILL = """
    set local session_replication_role = replica;
    insert into connection_requests (sender_id, receiver_id, status)
        select new_id(), new_id(), (array['PENDING', 'ACCEPTED', 'REJECTED'])[1 + n % 3]
        from generate_series(1, 5000) n;
    analyze connection_requests
"""


def explain(url: str, sql: str) -> str:
    """Return the generic plan of a statement; on tables this small, scans and sorts must be disabled to get it."""
    with psycopg.connect(url) as conn, conn.transaction(force_rollback=True):
        conn.execute(FILL)
        conn.execute("set local enable_seqscan = off; set local enable_sort = off")
        return "\n".join(row[0] for row in conn.execute(f"explain (generic_plan, costs off) {sql}"))


@pytest.mark.parametrize("name", SEEKS)
async def test_deep_pages_start_in_the_index(instance, servers, name: str):
    sql, seek = SEEKS[name]
    plan = await asyncio.to_thread(explain, servers.database_url, sql)
    assert f"Index Cond: {seek}" in plan, plan


# Many rows, of which few are recent.
FILL_RECENT = """
    set local session_replication_role = replica;
    insert into sessions (user_id, expires_at, ended_at, end_reason)
        select new_id(), now(), now() - make_interval(mins => n), 'LOGGED_OUT' from generate_series(1, 5000) n;
    insert into conversations (low_id, high_id, updated_at)
        select least(a, b), greatest(a, b), now() - make_interval(mins => n)
        from (select n, new_id() as a, new_id() as b from generate_series(1, 5000) n) pairs;
    insert into notifications (user_id, type, title, message, changed_at)
        select new_id(), 'SYSTEM', 'a', 'b', now() - make_interval(mins => n) from generate_series(1, 5000) n;
    insert into deleted_notifications (id, user_id, deleted_at)
        select new_id(), new_id(), now() - make_interval(mins => n) from generate_series(1, 5000) n;
    analyze sessions, conversations, notifications, deleted_notifications
"""
RECENT = {
    "ended_at": LIST_ENDED,
    "updated_at": LIST_CHANGED_CONVERSATIONS,
    "changed_at": LIST_NOTICES,
    "deleted_at": LIST_NOTICES,
}


def explain_recent(url: str, sql: str) -> str:
    with psycopg.connect(url) as conn, conn.transaction(force_rollback=True):
        conn.execute(FILL_RECENT)
        return "\n".join(row[0] for row in conn.execute(f"explain (generic_plan, costs off) {sql}"))


@pytest.mark.parametrize("column", RECENT)
async def test_what_has_just_changed_is_found_by_its_time(instance, servers, column: str):
    plan = await asyncio.to_thread(explain_recent, servers.database_url, RECENT[column])
    assert f"Index Cond: (({column} > (now() - make_interval(" in plan, plan
