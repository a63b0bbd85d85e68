"""Server → client events (docs/api.md, Realtime): one class per event, with its data, schema, channel and recipients.

Each field has its description and an example, which /asyncapi.json and the page at /docs/realtime show.
"""

import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import ConfigDict, Field

from db.error_codes import ErrorCode
from db.schemas.shape import Shape, Time
from db.schemas.shapes import Message, Notification
from realtime import channels
from realtime.event import CONNECTED, JOINED, LOCAL, ROUTING, THE_USER, Event, encode

__all__ = ["EVENTS", "Event"]  # with every event below


def described(description: str, *examples: Any) -> Any:
    return Field(description=description, examples=list(examples))


Id = Annotated[str, UUID]  # text in Python, a UUID in the JSON schema
MessageJson = Annotated[orjson.Fragment, Message]  # built by PostgreSQL, sent undecoded
NotificationJson = Annotated[
    orjson.Fragment, Notification, Field(description="The notification as it is now; replace an older state of it.")
]
ConversationId = Annotated[
    Id, described("The conversation that the event is about.", "3f2b8c1e-5d0a-4f4e-9c37-2a6f0d9b7e11")
]
UserId = Annotated[Id, described("The user that the event is about.", "9a4c2d7e-81b3-4c5f-a6d0-5e7f1b2c3d4e")]
NotificationId = Annotated[Id, described("The notification.", "c7d8e9f0-1a2b-4c3d-8e4f-5a6b7c8d9e0f")]
UnreadCount = Annotated[int, described("How many of the user's notifications are unread now: the badge.", 3)]

ResyncReason = Literal["redis", "overflow", "version", "notifications", "behind"]
RESYNC_REASONS: dict[ResyncReason, str] = {
    "redis": "The instance was not subscribed to some channels for a short time: its connection to Redis failed, or a "
    "cluster moved them.",
    "overflow": "A queue of events was full and was dropped: the database or Redis was unavailable for too long.",
    "version": "An instance of another version published an event, during an upgrade.",
    "behind": "The conversation of `conversationId` has changed too often since the socket's last event.",
    "notifications": "A notification was read on another instance, or an unread count was wrong.",
}
ClosedReason = Literal["disconnected", "deleted"]
CLOSED_REASONS: dict[ClosedReason, str] = {
    "disconnected": "The connection between the two participants has ended.",
    "deleted": "One of the two accounts was deleted.",
}


# -- conversations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConversationEvent(Event):
    """An event for the sockets that joined a conversation."""

    recipients = JOINED
    conversation_id: ConversationId

    def channels(self) -> Iterable[str]:
        return (channels.conversation(self.conversation_id),)


@dataclass(frozen=True)
class MessageChange(ConversationEvent):
    """A new or changed message; a conversation's changes are delivered in the order of `rev`, each once."""

    schema = Message
    rev: int
    message: MessageJson

    def data(self) -> Any:
        return self.message


@dataclass(frozen=True)
class MessageSent(MessageChange):
    """A participant sent a message. It ends the sender's typing."""

    name = "message_sent"
    sender_id: Id | None


@dataclass(frozen=True)
class MessageEdited(MessageChange):
    """The sender edited a message."""

    name = "message_edited"
    example = {
        "content": "Would Saturday at 11 suit you?",
        "rev": 45,
        "isEdited": True,
        "updatedAt": "2026-01-31T09:31:20.000Z",
    }


@dataclass(frozen=True)
class MessageDeleted(ConversationEvent):
    """The sender deleted a message."""

    name = "message_deleted"
    message_id: Annotated[Id, described("The deleted message.", "5b1d7f90-64c2-4b0e-8d1f-0c9e8a7b6d55")]
    seq: Annotated[int, described("The number of the message in its conversation.", 41)]
    rev: Annotated[int, described("The new `rev`: the number of this change. Keep the highest one to resume.", 44)]


@dataclass(frozen=True)
class MessageRead(ConversationEvent):
    """A participant has read all messages up to and including `seq`."""

    name = "message_read"
    user_id: Annotated[UserId, described("The participant who has read.", "9a4c2d7e-81b3-4c5f-a6d0-5e7f1b2c3d4e")]
    seq: Annotated[int, described("The `seq` of the last message that was read.", 42)]
    read_at: Annotated[Time, described("When the participant read it.", "2026-01-31T09:30:12.000Z")]


@dataclass(frozen=True)
class TypingEvent(ConversationEvent):
    recipients = "all sockets that joined the conversation, except the typist's"
    user_id: Annotated[UserId, described("The typist.", "9a4c2d7e-81b3-4c5f-a6d0-5e7f1b2c3d4e")]


@dataclass(frozen=True)
class UserTyping(TypingEvent):
    """A participant is typing. It ends with `user_stopped_typing`, six seconds after the last repetition or sooner."""

    name = "user_typing"


@dataclass(frozen=True)
class UserStoppedTyping(TypingEvent):
    """A participant no longer types."""

    name = "user_stopped_typing"


@dataclass(frozen=True)
class ConversationClosed(ConversationEvent):
    """The participants are no longer connected. All sockets leave the conversation."""

    name = "conversation_closed"
    reason: Annotated[ClosedReason, described("Why it was closed.", "disconnected")] = "disconnected"


# -- users -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PresenceEvent(Event):
    """An event for the users who are connected to `user_id`."""

    recipients = CONNECTED
    user_id: UserId
    last_seen_at: Annotated[
        Time | None,
        described("When the user was last online; null for users who have never been.", "2026-01-31T09:12:05.000Z"),
    ]
    connected: tuple[str, ...] = field(default=(), metadata=LOCAL)  # the users to deliver it to

    def channels(self) -> Iterable[str]:
        return map(channels.user, self.connected)


@dataclass(frozen=True)
class UserOnline(PresenceEvent):
    """A connected user opened a first socket, or is online when this socket opens."""

    name = "user_online"


@dataclass(frozen=True)
class UserOffline(PresenceEvent):
    """A connected user has had no socket for 10 seconds."""

    name = "user_offline"


# A state of a notification: its id, the time of its last change, a checksum that distinguishes equal times. The time of
# a read one begins with READ, which is later than all digits: a notification stays read.
NoticeStamp = tuple[str, str, int]
READ = "}"


def stamp_of(notification: orjson.Fragment) -> NoticeStamp:
    row = orjson.dumps(notification)
    known = orjson.loads(row)
    return known["id"], (READ if known["isRead"] else "") + known["updatedAt"], zlib.crc32(row)


@dataclass(frozen=True)
class NotificationEvent(Event):
    """An event for the sockets of one user."""

    recipients = THE_USER
    user_id: Id = field(metadata=ROUTING)

    def channels(self) -> Iterable[str]:
        return (channels.user(self.user_id),)


@dataclass(frozen=True)
class NotificationState(NotificationEvent):
    """A notification as it is now, with the user's number of unread notifications."""

    notification: NotificationJson
    unread_count: UnreadCount
    stamp: NoticeStamp = field(default=("", "", 0), metadata=ROUTING)

    def __post_init__(self) -> None:
        stamp = stamp_of(self.notification) if self.stamp[0] == "" else tuple(self.stamp)
        object.__setattr__(self, "stamp", stamp)


@dataclass(frozen=True)
class NotificationReceived(NotificationState):
    """The user received a notification, or one more message in an unread notification."""

    name = "notification_received"


@dataclass(frozen=True)
class NotificationUpdated(NotificationState):
    """A message that an unread notification shows was edited, deleted or read in part."""

    name = "notification_updated"


@dataclass(frozen=True)
class NotificationsChanged(NotificationEvent):
    """`notificationId` null and `all` true: all notifications."""

    notification_id: Annotated[
        Id | None, described("The notification; null if all of them.", "c7d8e9f0-1a2b-4c3d-8e4f-5a6b7c8d9e0f")
    ]
    unread_count: UnreadCount
    all: Annotated[Literal[True] | None, described("Present, and true, if all notifications are meant.")] = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "all", True if self.notification_id is None else None)


@dataclass(frozen=True)
class NotificationRead(NotificationsChanged):
    """A notification was read. `notificationId` null and `all` true: all of them."""

    name = "notification_read"


@dataclass(frozen=True)
class NotificationDeleted(NotificationsChanged):
    """A notification was deleted or withdrawn. `notificationId` null and `all` true: all of them."""

    name = "notification_deleted"


# -- one socket --------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ready(Event):
    """The first event after sign-in."""

    name = "ready"
    user_id: Annotated[UserId, described("The signed-in user.", "1c0e6a52-7f3d-4b8e-9d24-6b5a4c3d2e1f")]
    session_id: Annotated[Id, described("The session of the access token.", "e2d1c0b9-a897-4f6e-8d5c-4b3a29180716")]
    heartbeat_ms: Annotated[int, described("Send `ping` this often, in milliseconds.", 25000)]
    unread_notifications: Annotated[int, described("How many of the user's notifications are unread.", 3)]
    unread_messages: Annotated[int, described("How many messages are unread, over all conversations.", 5)]


@dataclass(frozen=True)
class Resync(Event):
    """Events may be missing.

    With `conversationId`: join that conversation again with `after`; if the `ack` has `complete: false`, fetch its
    messages. Without it: fetch the notifications, and the conversations with their read positions; the server sends
    missed messages without a request.
    """

    name = "resync"
    recipients = "sockets that may have missed events"
    reason: Annotated[ResyncReason, described("Why events may be missing.", "behind")]
    conversation_id: ConversationId | None = None


@dataclass(frozen=True)
class GoingAway(Event):
    """The instance stops. It soon closes the socket with 1001; reconnect `reconnectAfterMs` after that."""

    name = "going_away"
    recipients = "all sockets of the instance"
    reconnect_after_ms: Annotated[
        int, described("Reconnect after this many milliseconds; the value differs from socket to socket.", 1840)
    ]


class AnyData(Shape):
    """Its fields depend on the command."""

    model_config = ConfigDict(**{**Shape.model_config, "extra": "allow"})


class NoData(Shape):
    """No fields."""


class ErrorDetail(Shape):
    """An invalid field."""

    field: str = described("The field's name in the data.", "seq")
    message: str = described("What is wrong with it, as a sentence for a person.", "Seq must be a whole number")


class ErrorData(AnyData):
    """Why a frame was refused, as in REST responses. Some codes add fields."""

    error: str = Field(min_length=1, description="A short sentence for a person.", examples=["Conversation not found"])
    message: str = Field(
        min_length=1, description="What to do, for a person.", examples=["Please reload your conversations"]
    )
    code: ErrorCode = Field(title="ErrorCode", description="For programs.", examples=["NOT_FOUND"])
    details: list[ErrorDetail] = Field([], description="With VALIDATION_ERROR: every invalid field.")
    retry_after: int = Field(0, description="With RATE_LIMITED: seconds to wait.")


@dataclass(frozen=True)
class Reply(Event):
    """The answer to a frame; it repeats the frame's `id`."""

    recipients = "the socket that sent the frame"
    content: dict[str, Any]
    id: str | int | None

    @cached_property
    def frame(self) -> bytes:
        return encode(self.name, self.content, self.id)


@dataclass(frozen=True)
class Ack(Reply):
    """The command was carried out. The data depends on the command."""

    name = "ack"
    schema = AnyData


@dataclass(frozen=True)
class Pong(Reply):
    """The answer to `ping`."""

    name = "pong"
    schema = NoData


@dataclass(frozen=True)
class Error(Reply):
    """The frame was refused. Some codes add fields, such as `details` or `retryAfter`."""

    name = "error"
    schema = ErrorData


EVENTS: dict[str, type[Event]] = {
    event.name: event
    for event in (
        Ready,
        Ack,
        Pong,
        Error,
        MessageSent,
        MessageEdited,
        MessageDeleted,
        MessageRead,
        UserTyping,
        UserStoppedTyping,
        UserOnline,
        UserOffline,
        NotificationReceived,
        NotificationUpdated,
        NotificationRead,
        NotificationDeleted,
        ConversationClosed,
        Resync,
        GoingAway,
    )
}
