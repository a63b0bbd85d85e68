"""Notifications as more than one room writes them: in the transaction that causes them, told after its commit."""

from typing import Any, NamedTuple

import orjson

from db.fragments import unread_notifications
from db.pool import Queries
from db.schemas.shapes import Notification


class NotificationChange(NamedTuple):
    """What `NotificationReceived` and `NotificationUpdated` of realtime/events.py tell."""

    user_id: str
    notification: orjson.Fragment
    unread_count: int


class NoticeId(NamedTuple):
    """What `NotificationRead` and `NotificationDeleted` tell of one notification."""

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
        {unread_notifications("$1")} + 1 as unread_count
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
    """Add one; the caller publishes NotificationReceived of it after the commit."""
    about = orjson.dumps(metadata).decode() if metadata else None
    row = await queries.fetch_one(
        ADD_NOTIFICATION, user_id, type, title, message, connection_request_id, conversation_id, actor_id, about
    )
    return NotificationChange(*row)
