"""Server → client events (docs/api.md, Realtime): one class per event, with its data, schema, channel and recipients.

An event is encoded once, whatever the number of sockets and instances it goes to. Between instances travels its frame
with a header: the fields that receiving instances need to order and filter it (realtime/redis/packet.py).
"""

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import UnionType
from typing import Annotated, Any, ClassVar, Literal, Self, Union, get_args, get_origin, get_type_hints
from uuid import UUID

import orjson
from pydantic import ConfigDict, Field, create_model
from pydantic.alias_generators import to_camel

from db.schemas.shapes import Message, Notification, Shape, Time
from realtime import channels

Id = Annotated[str, UUID]  # text in Python, a UUID in the JSON schema
MessageJson = Annotated[orjson.Fragment, Message]  # built by PostgreSQL, sent undecoded
NotificationJson = Annotated[orjson.Fragment, Notification]

ROUTING: Any = {"use": "routing"}  # in the header, not in the client's data
LOCAL: Any = {"use": "local"}  # in neither: known to the publishing instance alone

THE_SOCKET = "the socket"
JOINED = "all sockets that joined the conversation"
THE_USER = "all sockets of the user"
CONNECTED = "all sockets of the users who are connected to this user"


def encode(name: str, data: Any, id: str | int | None = None) -> bytes:
    """Return a frame: `{"event", "data", "id"?}`."""
    return orjson.dumps({"event": name, "data": data} if id is None else {"event": name, "data": data, "id": id})


@dataclass(frozen=True)
class Event:
    """Its fields are its data, in camelCase, unless a field says otherwise."""

    name: ClassVar[str]
    recipients: ClassVar[str] = THE_SOCKET
    schema: ClassVar[type[Shape] | None] = None

    def channels(self) -> Iterable[str]:
        """Return the channels it is published on; none for an event of one socket."""
        return ()

    def data(self) -> Any:
        """Return what clients read. A field whose default is None is left out while it is None."""
        shown = {item.name: (getattr(self, item.name), item.default) for item in fields(self) if not item.metadata}
        return {to_camel(name): value for name, (value, default) in shown.items() if not (value is default is None)}

    @cached_property
    def frame(self) -> bytes:
        return encode(self.name, self.data())

    def header(self) -> dict[str, Any]:
        """Return the fields that another instance needs beside the frame."""
        hints = get_hints(type(self))
        return {
            item.name: getattr(self, item.name)
            for item in fields(self)
            if item.metadata.get("use") != "local" and not is_fragment(hints[item.name])
        }

    @classmethod
    def restore(cls, header: Mapping[str, Any], frame: bytes) -> Self:
        """Rebuild an event of another instance. What only the frame contains stays None."""
        hints = get_hints(cls)
        only_in_frame = {item.name: None for item in fields(cls) if is_fragment(hints[item.name])}
        event = cls(**only_in_frame, **header)
        event.__dict__["frame"] = frame
        return event

    @classmethod
    def shape(cls) -> type[Shape]:
        """Return the schema of its data: `schema` if the class names one, else the fields."""
        if cls.schema is not None:
            return cls.schema
        hints = get_hints(cls)
        shown: dict[str, Any] = {
            item.name: (schema_type(hints[item.name]), None if item.default is None else ...)
            for item in fields(cls)
            if not item.metadata
        }
        return create_model(cls.__name__, __base__=Shape, __doc__=cls.__doc__, **shown)


HINTS: dict[type, dict[str, Any]] = {}


def get_hints(cls: type) -> dict[str, Any]:
    if cls not in HINTS:
        HINTS[cls] = get_type_hints(cls, include_extras=True)
    return HINTS[cls]


def is_fragment(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] is orjson.Fragment


def schema_type(hint: Any) -> Any:
    """Return the type that describes a field to clients: what stands beside the Python type, if it is a type."""
    if get_origin(hint) is Annotated:
        shown = get_args(hint)[1]
        return shown if isinstance(shown, type) else hint
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        return Union[tuple(schema_type(part) for part in get_args(hint))]  # noqa: UP007  made from a tuple
    return hint


# -- conversations -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class ConversationEvent(Event):
    recipients = JOINED
    conversation_id: Id

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


@dataclass(frozen=True)
class MessageDeleted(ConversationEvent):
    """The sender deleted a message."""

    name = "message_deleted"
    message_id: Id
    seq: int
    rev: int


@dataclass(frozen=True)
class MessageRead(ConversationEvent):
    """A participant has read all messages up to and including `seq`."""

    name = "message_read"
    user_id: Id
    seq: int
    read_at: Time


@dataclass(frozen=True)
class TypingEvent(ConversationEvent):
    recipients = "all sockets that joined the conversation, except the typist's"
    user_id: Id


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
    reason: str = "disconnected"


# -- users -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class PresenceEvent(Event):
    recipients = CONNECTED
    user_id: Id
    last_seen_at: Time | None
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


# A state of a notification: its id, the time of its last change, a checksum that tells equal times apart.
NoticeStamp = tuple[str, str, int]


def stamp_of(notification: orjson.Fragment) -> NoticeStamp:
    row = orjson.dumps(notification)
    known = orjson.loads(row)
    return known["id"], known["updatedAt"], zlib.crc32(row)


@dataclass(frozen=True)
class NotificationEvent(Event):
    recipients = THE_USER
    user_id: Id = field(metadata=ROUTING)

    def channels(self) -> Iterable[str]:
        return (channels.user(self.user_id),)


@dataclass(frozen=True)
class NotificationState(NotificationEvent):
    """A notification as it is now, with the user's number of unread notifications."""

    notification: NotificationJson
    unread_count: int
    stamp: NoticeStamp = field(default=("", "", 0), metadata=ROUTING)

    def __post_init__(self) -> None:
        stamp = stamp_of(self.notification) if self.stamp[0] == "" else tuple(self.stamp)
        object.__setattr__(self, "stamp", stamp)


@dataclass(frozen=True)
class NotificationReceived(NotificationState):
    """The user got a notification, or one message more in an unread notification."""

    name = "notification_received"


@dataclass(frozen=True)
class NotificationUpdated(NotificationState):
    """A message that an unread notification shows was edited, deleted or read in part."""

    name = "notification_updated"


@dataclass(frozen=True)
class NotificationsChanged(NotificationEvent):
    """`notificationId` null and `all` true: all notifications."""

    notification_id: Id | None
    unread_count: int
    all: bool | None = None

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
    user_id: Id
    session_id: Id
    heartbeat_ms: int
    unread_notifications: int
    unread_messages: int


@dataclass(frozen=True)
class Resync(Event):
    """Events may be missing: fetch this conversation, or everything if there is no `conversationId`."""

    name = "resync"
    recipients = "sockets that may have missed events"
    reason: str
    conversation_id: Id | None = None


@dataclass(frozen=True)
class GoingAway(Event):
    """The instance stops. Reconnect after `reconnectAfterMs`."""

    name = "going_away"
    recipients = "all sockets of the instance"
    reconnect_after_ms: int


class AnyData(Shape):
    """Its fields depend on the command."""

    model_config = ConfigDict(**{**Shape.model_config, "extra": "allow"})


class NoData(Shape):
    pass


class ErrorData(AnyData):
    """Some codes add fields, such as `details` or `retryAfter`."""

    error: str = Field(min_length=1)
    message: str = Field(min_length=1)
    code: str = Field(min_length=1)


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


EventName = Literal[
    "ready", "ack", "pong", "error", "message_sent", "message_edited", "message_deleted", "message_read", "user_typing",
    "user_stopped_typing", "user_online", "user_offline", "notification_received", "notification_updated",
    "notification_read", "notification_deleted", "conversation_closed", "resync", "going_away",
]  # fmt: skip

EVENTS: dict[str, type[Event]] = {
    event.name: event
    for event in (
        Ready, Ack, Pong, Error, MessageSent, MessageEdited, MessageDeleted, MessageRead, UserTyping, UserStoppedTyping,
        UserOnline, UserOffline, NotificationReceived, NotificationUpdated, NotificationRead, NotificationDeleted,
        ConversationClosed, Resync, GoingAway,
    )
}  # fmt: skip
