"""Notifications: added in the transaction that causes them, published after its commit."""

from typing import Any, NamedTuple

import orjson

from db.pool import Queries
from db.schemas.shapes import Notification


class NotificationChange(NamedTuple):
    """The data of `NotificationReceived` and `NotificationUpdated` (realtime/events.py)."""

    user_id: str
    notification: orjson.Fragment
    unread_count: int


class NoticeId(NamedTuple):
    """The data of `NotificationRead` and `NotificationDeleted` (realtime/events.py)."""

    user_id: str
    notification_id: str
    unread_count: int


ADD_NOTIFICATION = f"""
    with added as (
        insert into notifications
            (user_id, type, title, message, connection_request_id, conversation_id, actor_id, metadata)
        values ($1, $2, $3, $4, $5, $6, $7, $8)
        returning *
    )
    select n.user_id, {Notification.sql("n")} as notification,
        count_unread_notifications($1) as unread_count
    from added n
"""


async def notify(
    queries: Queries,
    user_id: str,
    type: str,
    title: str,
    message: str,
    *,
    connection_request_id: str | None = None,
    conversation_id: str | None = None,
    actor_id: str | None = None,
    metadata: dict[str, Any] | None = None,
) -> NotificationChange:
    """Add a notification; the caller publishes NotificationReceived after the commit."""
    about = orjson.dumps(metadata).decode() if metadata else None
    row = await queries.fetch_one(
        ADD_NOTIFICATION, user_id, type, title, message, connection_request_id, conversation_id, actor_id, about
    )
    return NotificationChange(*row)
