"""Client → server frames: a closed set. Each names its data, says what it does, and returns its ack (contract §4)."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, Field, model_validator

from db.error_codes import ErrorCode
from db.queries import conversations, unread
from db.queries.conversations import Changes, ConversationNotFound, ConversationReadOnly, NewMessage, UnknownAttachment
from db.schemas.fields import UUID_PATTERN, Body, Id
from realtime.events import (
    MessageRead,
    MessageSent,
    NotificationRead,
    NotificationReceived,
    NotificationUpdated,
    encode,
)
from realtime.feeds import Feed, replay
from services.security.rate_limit import Claim

if TYPE_CHECKING:
    from realtime.sockets.socket import Socket

JOINED_CONVERSATIONS = 100
REPLAY_BYTES = 384 * 1024  # a page of a replay: with its escapes well below what a socket's queue holds


class CommandError(Exception):
    """Told to the client as an `error` frame."""

    def __init__(self, code: ErrorCode, error: str, **extra: Any) -> None:
        super().__init__(error)
        self.code = code
        self.extra = extra


def not_found() -> CommandError:
    return CommandError("NOT_FOUND", "Conversation not found")


def read_only() -> CommandError:
    return CommandError("FORBIDDEN", "You are no longer connected; this conversation is read-only")


class Nothing(Body):
    pass


class Authenticate(Body):
    token: str = Field(max_length=4096)


class InConversation(Body):
    conversation_id: Id


def or_bare_id(schema: dict[str, Any]) -> None:
    described = dict(schema)
    schema.clear()
    schema["anyOf"] = [described, {"type": "string", "pattern": UUID_PATTERN}]


class JoinConversation(InConversation):
    model_config = ConfigDict(json_schema_extra=or_bare_id)

    after: int | None = Field(None, ge=0, lt=2**53)

    @model_validator(mode="before")
    @classmethod
    def read_bare_id(cls, data: Any) -> Any:
        """A client may send the id alone instead of an object."""
        return {"conversationId": data} if isinstance(data, str) else data


class SendMessage(NewMessage):
    conversation_id: Id


class MarkRead(InConversation):
    seq: int = Field(ge=0, lt=2**53)


Data = Any
Ack = dict[str, Any]
Run = Callable[["Socket", Data], Awaitable[Ack | None]]


@dataclass(frozen=True)
class Command:
    """`surplus` frames over the socket's rate are dropped if `droppable`; other floods close the socket."""

    data: type[Body]
    run: Run
    ack: str = "ack"
    droppable: bool = False
    signed_in: bool = True


async def authenticate(socket: "Socket", data: Authenticate) -> Ack:
    """Signs in, or renews before the token expires. Acknowledged with `{userId, expiresAt}`."""
    await socket.sign_in(data.token)
    return {"userId": socket.user_id, "expiresAt": socket.expires_at}


async def fetch_page(socket: "Socket", conversation_id: str, position: int | None) -> tuple[Feed, Changes]:
    """The next changes for this socket; with the last of them it is joining the feed, and only then."""
    hub, changes = socket.realtime.hub, None
    feed = await hub.begin_join(socket, conversation_id)
    try:
        changes = await conversations.fetch_changes(
            socket.realtime.db, conversation_id, position, socket.user_id, REPLAY_BYTES
        )
    finally:
        if changes is None or changes.more or socket.closed:
            socket.left(conversation_id)
            hub.leave(socket, conversation_id)
    if changes is None:
        raise not_found()
    return feed, changes


async def join_conversation(socket: "Socket", data: JoinConversation) -> None:
    """Replays what came after `after`, acknowledges, then lets the conversation go live, without gap or repetition.

    Acknowledged with `{conversationId, lastRev, replayed, complete}`; not `complete`: nothing was replayed, fetch anew.
    """
    conversation_id = data.conversation_id
    if conversation_id not in socket.joined and len(socket.joined) >= JOINED_CONVERSATIONS:
        raise CommandError("TOO_MANY", f"At most {JOINED_CONVERSATIONS} conversations can be joined at once")
    hub = socket.realtime.hub
    hub.leave(socket, conversation_id)  # joining again starts anew
    told: set[int] = set()  # the messages that this replay has sent, by their seq
    position = data.after
    while True:
        await socket.queue.flushed()  # page by page, no faster than the client reads
        feed, changes = await fetch_page(socket, conversation_id, position)
        for change in changes.changes:
            known = change.seq if change.seq in told else data.after or 0
            socket.send(replay(conversation_id, change, known, known))
            told.add(change.seq)
        if not changes.more:
            break
        position = changes.changes[-1].rev
    ack = {"conversationId": conversation_id, "lastRev": changes.last_rev, "replayed": len(told)}
    socket.acknowledge({**ack, "complete": changes.complete})
    if changes.closed or feed.closed:
        hub.leave(socket, conversation_id)
        socket.send(encode("conversation_closed", {"conversationId": conversation_id, "reason": "disconnected"}))
    elif not socket.closed:
        socket.joined.add(conversation_id)
        feed.finish_join(socket, changes.last_rev)


async def leave_conversation(socket: "Socket", data: InConversation) -> Ack:
    """Acknowledged with `{}`, whether it had been joined or not."""
    conversation_id = data.conversation_id
    socket.realtime.typists.stop(conversation_id, socket.user_id)
    socket.realtime.hub.leave(socket, conversation_id)
    socket.left(conversation_id)
    return {}


async def typing_start(socket: "Socket", data: InConversation) -> Ack:
    """In a conversation that this socket has joined. To be repeated while the user types: it ends after six seconds."""
    if data.conversation_id not in socket.joined:
        raise not_found()
    socket.realtime.typists.start(data.conversation_id, socket.user_id)
    return {}


async def typing_stop(socket: "Socket", data: InConversation) -> Ack:
    if data.conversation_id not in socket.joined:
        raise not_found()
    socket.realtime.typists.stop(data.conversation_id, socket.user_id)
    return {}


async def send_message(socket: "Socket", data: SendMessage) -> Ack:
    """Acknowledged with `{message}` once it is stored; the same `clientMessageId` again gets the first message."""
    realtime = socket.realtime
    await socket.take(Claim(f"user:{socket.user_id}", "limit_message", realtime.settings.limit_message))
    try:
        sent = await conversations.send_message(realtime.db, data.conversation_id, socket.user_id, data)
    except ConversationNotFound:
        raise not_found() from None
    except ConversationReadOnly:
        raise read_only() from None
    except UnknownAttachment:
        raise CommandError("VALIDATION_ERROR", "fileUrl must come from an upload to this conversation") from None
    if sent.notice:
        realtime.publish(MessageSent(data.conversation_id, sent.rev, sent.message, socket.user_id))
        realtime.publish(NotificationReceived(*sent.notice))
    return {"message": sent.message}


async def mark_read(socket: "Socket", data: MarkRead) -> Ack:
    """Everything up to `seq` is read. Acknowledged with `{unreadCount}`, that of the conversation."""
    realtime, user_id = socket.realtime, socket.user_id
    try:
        mark = await unread.mark_read(realtime.db, data.conversation_id, user_id, data.seq)
    except ConversationNotFound:
        raise not_found() from None
    if mark.moved:
        realtime.publish(MessageRead(data.conversation_id, user_id, mark.seq, mark.read_at))
    if mark.read:
        realtime.publish(NotificationRead(*mark.read))
    if mark.updated:
        realtime.publish(NotificationUpdated(*mark.updated))
    return {"unreadCount": mark.unread_count}


async def ping(socket: "Socket", data: Nothing) -> Ack:
    """Answered with `pong`, with or without an `id`."""
    return {}


COMMANDS: dict[str, Command] = {
    "authenticate": Command(Authenticate, authenticate, signed_in=False),
    "join_conversation": Command(JoinConversation, join_conversation),
    "leave_conversation": Command(InConversation, leave_conversation),
    "typing_start": Command(InConversation, typing_start, droppable=True),
    "typing_stop": Command(InConversation, typing_stop, droppable=True),
    "send_message": Command(SendMessage, send_message),
    "mark_read": Command(MarkRead, mark_read),
    "ping": Command(Nothing, ping, ack="pong", signed_in=False),
}
