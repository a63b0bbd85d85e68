"""The data of every server → client event, by name (contract §4): the closed set, for client authors and for tests."""

from typing import Literal
from uuid import UUID

from pydantic import Field

from db.schemas.shapes import Message, Notification, Shape, Time


class Ready(Shape):
    user_id: UUID
    session_id: UUID
    heartbeat_ms: int
    unread_notifications: int
    unread_messages: int


class DeletedMessage(Shape):
    message_id: UUID
    conversation_id: UUID
    seq: int
    rev: int


class ReadMark(Shape):
    conversation_id: UUID
    user_id: UUID
    seq: int
    read_at: Time


class Typist(Shape):
    conversation_id: UUID
    user_id: UUID


class SeenUser(Shape):
    user_id: UUID
    last_seen_at: Time | None


class NotificationWithCount(Shape):
    notification: Notification
    unread_count: int


class ChangedNotifications(Shape):
    """`notificationId` null and `all` true: every one of them."""

    notification_id: UUID | None
    all: bool = False
    unread_count: int


class ClosedConversation(Shape):
    conversation_id: UUID
    reason: str


class Resync(Shape):
    """Something may have been missed: fetch this conversation, or everything, anew."""

    conversation_id: UUID | None = None
    reason: str


class GoingAway(Shape):
    reconnect_after_ms: int


class Ack(Shape):
    """The answer to a frame that came with an `id`; its fields depend on the command."""

    model_config = {**Shape.model_config, "extra": "allow"}


class Error(Shape):
    model_config = {**Shape.model_config, "extra": "allow"}
    error: str = Field(min_length=1)
    message: str = Field(min_length=1)
    code: str = Field(min_length=1)


class Nothing(Shape):
    pass


EventName = Literal[
    "ready", "ack", "pong", "error", "message_sent", "message_edited", "message_deleted", "message_read", "user_typing",
    "user_stopped_typing", "user_online", "user_offline", "notification_received", "notification_updated",
    "notification_read", "notification_deleted", "conversation_closed", "resync", "going_away",
]  # fmt: skip

EVENT_SHAPES: dict[EventName, type[Shape]] = {
    "ready": Ready,
    "ack": Ack,
    "pong": Nothing,
    "error": Error,
    "message_sent": Message,
    "message_edited": Message,
    "message_deleted": DeletedMessage,
    "message_read": ReadMark,
    "user_typing": Typist,
    "user_stopped_typing": Typist,
    "user_online": SeenUser,
    "user_offline": SeenUser,
    "notification_received": NotificationWithCount,
    "notification_updated": NotificationWithCount,
    "notification_read": ChangedNotifications,
    "notification_deleted": ChangedNotifications,
    "conversation_closed": ClosedConversation,
    "resync": Resync,
    "going_away": GoingAway,
}
