"""Server → client events: a closed set, each with its data, its channel and who is left out (contract §4)."""

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson
from pydantic.alias_generators import to_camel

from realtime import channels

Notice = tuple[str, str, int]  # a notification's id, the moment of its last change, a checksum of its state
Mark = tuple[str, int]  # a user, and the seq up to which they have read
READ: Notice = ("", "", 0)  # some were read
GONE = "~"  # sorts after every time: later events of a deleted notification are dropped


@dataclass(frozen=True, slots=True)
class Envelope:
    """A frame on its way: encoded once, whatever the number of sockets and instances it goes to."""

    channel: str
    frame: bytes
    rev: int | None = None  # of a change to a conversation: delivered in order, once
    except_user: str | None = None
    author: str | None = None  # of a new message: who has stopped typing with it
    closes: bool = False  # whoever has joined the channel is removed from it
    notice: Notice | None = None  # the notification that it tells of, or READ
    mark: Mark | None = None  # the read mark that it tells of
    unread: int | None = None  # how many unread notifications it says there are
    typing: bool | None = None  # whether `except_user` is typing

    def pack(self, instance_id: str, number: int) -> bytes:
        """For Redis: a line of JSON about the frame, then the frame as it goes to the sockets."""
        about = {"i": instance_id, "n": number, "r": self.rev, "x": self.except_user, "a": self.author,
                 "c": self.closes, "o": self.notice, "m": self.mark, "u": self.unread, "t": self.typing}  # fmt: skip
        return orjson.dumps(about) + b"\n" + self.frame

    @classmethod
    def unpack(cls, channel: str, packed: bytes) -> tuple["Envelope", str, int]:
        """The envelope, the instance it comes from and its number there."""
        head, _, frame = packed.partition(b"\n")
        about = orjson.loads(head)
        notice = tuple(about["o"]) if about.get("o") else None
        mark = tuple(about["m"]) if about.get("m") else None
        told = (about["r"], about["x"], about["a"], about["c"], notice, mark, about.get("u"), about.get("t"))
        return cls(channel, frame, *told), about["i"], about["n"]


def encode(name: str, data: Any, id: str | int | None = None) -> bytes:
    """A frame: `{"event", "data", "id"?}`."""
    return orjson.dumps({"event": name, "data": data} if id is None else {"event": name, "data": data, "id": id})


@dataclass(frozen=True)
class Event:
    """Its fields are its data, in camelCase, unless it says otherwise."""

    name: ClassVar[str]

    def data(self) -> Any:
        return {to_camel(key): value for key, value in vars(self).items()}

    def envelopes(self) -> Iterator[Envelope]:
        raise NotImplementedError


@dataclass(frozen=True)
class MessageChange(Event):
    """A change to a conversation's messages; `message` is the Message as PostgreSQL built it."""

    conversation_id: str
    rev: int
    message: orjson.Fragment

    def data(self) -> Any:
        return self.message

    def envelopes(self) -> Iterator[Envelope]:
        yield Envelope(channels.conversation(self.conversation_id), encode(self.name, self.data()), rev=self.rev)


@dataclass(frozen=True)
class MessageSent(MessageChange):
    name = "message_sent"
    sender_id: str | None

    def envelopes(self) -> Iterator[Envelope]:
        author = None if self.sender_id is None else str(self.sender_id)
        channel = channels.conversation(self.conversation_id)
        yield Envelope(channel, encode(self.name, self.message), rev=self.rev, author=author)


class MessageEdited(MessageChange):
    name = "message_edited"


@dataclass(frozen=True)
class MessageDeleted(Event):
    name = "message_deleted"
    message_id: str
    conversation_id: str
    seq: int
    rev: int

    def envelopes(self) -> Iterator[Envelope]:
        yield Envelope(channels.conversation(self.conversation_id), encode(self.name, self.data()), rev=self.rev)


@dataclass(frozen=True)
class MessageRead(Event):
    name = "message_read"
    conversation_id: str
    user_id: str
    seq: int
    read_at: str

    def envelopes(self) -> Iterator[Envelope]:
        mark = (str(self.user_id), self.seq)
        yield Envelope(channels.conversation(self.conversation_id), encode(self.name, self.data()), mark=mark)


@dataclass(frozen=True)
class Typing(Event):
    typing: ClassVar[bool]
    conversation_id: str
    user_id: str

    def envelopes(self) -> Iterator[Envelope]:
        channel = channels.conversation(self.conversation_id)
        frame = encode(self.name, self.data())
        yield Envelope(channel, frame, except_user=str(self.user_id), typing=self.typing)


class UserTyping(Typing):
    name = "user_typing"
    typing = True


class UserStoppedTyping(Typing):
    name = "user_stopped_typing"
    typing = False


@dataclass(frozen=True)
class ConversationClosed(Event):
    """Whoever has joined is told, and removed."""

    name = "conversation_closed"
    conversation_id: str
    reason: str

    def envelopes(self) -> Iterator[Envelope]:
        yield Envelope(channels.conversation(self.conversation_id), encode(self.name, self.data()), closes=True)


@dataclass(frozen=True)
class Presence(Event):
    user_id: str
    last_seen_at: str | None
    tell: tuple[str, ...]  # the users connected to this one

    def envelopes(self) -> Iterator[Envelope]:
        frame = encode(self.name, {"userId": self.user_id, "lastSeenAt": self.last_seen_at})
        for user_id in self.tell:
            yield Envelope(channels.user(user_id), frame)


class UserOnline(Presence):
    name = "user_online"


class UserOffline(Presence):
    name = "user_offline"


@dataclass(frozen=True)
class NotificationEvent(Event):
    user_id: str
    notification: orjson.Fragment
    unread_count: int

    def envelopes(self) -> Iterator[Envelope]:
        data = {"notification": self.notification, "unreadCount": self.unread_count}
        row = orjson.dumps(self.notification)
        known = orjson.loads(row)
        notice = (known["id"], known["updatedAt"], zlib.crc32(row))
        yield Envelope(channels.user(self.user_id), encode(self.name, data), notice=notice, unread=self.unread_count)


class NotificationReceived(NotificationEvent):
    name = "notification_received"


class NotificationUpdated(NotificationEvent):
    """A message behind it was edited or deleted, or some of its messages were read."""

    name = "notification_updated"


@dataclass(frozen=True)
class NotificationsChanged(Event):
    """One notification, or all of them (`notification_id` None)."""

    user_id: str
    notification_id: str | None
    unread_count: int

    def envelopes(self) -> Iterator[Envelope]:
        data = {"notificationId": self.notification_id, "unreadCount": self.unread_count}
        if self.notification_id is None:
            data["all"] = True
        frame = encode(self.name, data)
        yield Envelope(channels.user(self.user_id), frame, notice=self.notice(), unread=self.unread_count)

    def notice(self) -> Notice:
        return READ


class NotificationRead(NotificationsChanged):
    name = "notification_read"


class NotificationDeleted(NotificationsChanged):
    name = "notification_deleted"

    def notice(self) -> Notice:
        return (self.notification_id, GONE, 0) if self.notification_id else READ
