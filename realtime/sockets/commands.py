"""Client → server commands (docs/api.md, Realtime): one class per command, with its data and what it does."""

from abc import abstractmethod
from typing import Any, ClassVar
from uuid import UUID

from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from db.errors import NotFound
from db.queries import conversations, unread
from db.queries.conversations import Changes, NewMessage
from db.schemas.fields import Body, Id
from db.schemas.shape import Shape, Time
from db.schemas.shapes import Message
from realtime.conversation_feeds import ConversationFeed, replay
from realtime.events import (
    ConversationClosed,
    MessageRead,
    MessageSent,
    NotificationRead,
    NotificationReceived,
    NotificationUpdated,
)
from realtime.sockets.client import Client
from realtime.sockets.errors import TooMany
from services.security.rate_limit import Claim

JOINED_CONVERSATIONS = 100
REPLAY_BYTES = 384 * 1024  # one page of a replay; even with JSON escapes it is well below the bound of a socket's queue


class NoFields(Shape):
    """The command was carried out. No fields."""


class Command(Body):
    """A command; its fields are its data. `run` returns the data of the `ack`, or None if it has sent the answer."""

    name: ClassVar[str]
    ack: ClassVar[type[Shape] | None] = NoFields  # the data of its `ack`; None: it is answered by `pong`
    droppable: ClassVar[bool] = False  # frames over the rate are dropped; those of other commands close the socket
    needs_sign_in: ClassVar[bool] = True

    @abstractmethod
    async def run(self, client: Client) -> dict[str, Any] | None: ...


class ConversationCommand(Command):
    conversation_id: Id = Field(
        description="A conversation that the user takes part in.", examples=["3f2b8c1e-5d0a-4f4e-9c37-2a6f0d9b7e11"]
    )


class AuthenticateAck(Shape):
    """The socket is signed in."""

    user_id: UUID = Field(description="The signed-in user.", examples=["1c0e6a52-7f3d-4b8e-9d24-6b5a4c3d2e1f"])
    expires_at: Time = Field(
        description="When the token expires. The socket closes with 4401 then, unless a newer token arrives before.",
        examples=["2026-01-31T09:45:00.000Z"],
    )


class Authenticate(Command):
    """Sign in, or renew before the token expires. Acknowledged with `{userId, expiresAt}`."""

    name = "authenticate"
    ack = AuthenticateAck
    needs_sign_in = False
    token: str = Field(
        max_length=4096,
        description="An access token, from sign-in or `POST /api/v1/auth/refresh`.",
        examples=["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJ0eXAiOiJhY2Nlc3MifQ.c2lnbmF0dXJl"],
    )

    async def run(self, client: Client) -> dict[str, Any]:
        await client.sign_in(self.token)
        return {"userId": client.user_id, "expiresAt": client.expires_at}


def or_bare_id(schema: dict[str, Any]) -> None:
    described = dict(schema)
    schema.clear()
    bare = {**described["properties"]["conversationId"], "title": "ConversationId", "description": "The id alone."}
    schema |= {"description": described["description"], "anyOf": [described, bare]}


class JoinConversationAck(Shape):
    """The socket has joined. The changes that it had missed were replayed before this, unless there were too many."""

    conversation_id: UUID = Field(
        description="The joined conversation.", examples=["3f2b8c1e-5d0a-4f4e-9c37-2a6f0d9b7e11"]
    )
    last_rev: int = Field(description="The highest `rev` of the conversation: resume from it.", examples=[44])
    replayed: int = Field(description="How many messages were replayed.", examples=[2])
    complete: bool = Field(
        description="False: more than 500 changes behind, so nothing was replayed. Fetch the messages by REST.",
        examples=[True],
    )


class JoinConversation(ConversationCommand):
    """Replay the changes after rev `after`, acknowledge, then deliver live changes without gap or repetition.

    Acknowledged with `{conversationId, lastRev, replayed, complete}`. If not `complete`, nothing was replayed: fetch
    the messages by REST.
    """

    model_config = ConfigDict(json_schema_extra=or_bare_id)
    name = "join_conversation"
    ack = JoinConversationAck
    after: int | None = Field(
        None,
        ge=0,
        lt=2**53,
        description="The highest `rev` that the client has; 0 replays everything; absent replays nothing.",
        examples=[42],
    )

    @model_validator(mode="before")
    @classmethod
    def read_bare_id(cls, data: Any) -> Any:
        """Accept the id alone instead of an object."""
        return {"conversationId": data} if isinstance(data, str) else data

    async def run(self, client: Client) -> None:
        conversation_id, hub = self.conversation_id, client.realtime.hub
        if conversation_id not in client.joined and len(client.joined) >= JOINED_CONVERSATIONS:
            raise TooMany(f"At most {JOINED_CONVERSATIONS} conversations can be joined at once")
        hub.leave(client, conversation_id)  # joining again starts from the beginning
        replayed: set[int] = set()  # seqs of the messages that this replay has sent
        position = self.after
        while True:
            await client.queue.flushed()  # page by page, no faster than the client reads
            feed, changes = await self._fetch_page(client, position)
            for change in changes.changes:
                received = change.seq if change.seq in replayed else self.after or 0
                client.send(replay(conversation_id, change, received))
                replayed.add(change.seq)
            if not changes.more:
                break
            position = changes.changes[-1].rev
        ack = {"conversationId": conversation_id, "lastRev": changes.last_rev, "replayed": len(replayed)}
        client.acknowledge({**ack, "complete": changes.complete})
        if changes.closed or feed.closed:
            hub.leave(client, conversation_id)
            client.send(ConversationClosed(conversation_id).frame)
        elif not client.closed:
            client.joined.add(conversation_id)
            feed.finish_join(client, changes.last_rev)

    async def _fetch_page(self, client: Client, position: int | None) -> tuple[ConversationFeed, Changes]:
        """Read the next changes. With the last page the client is joining the feed, and only then."""
        hub, changes = client.realtime.hub, None
        feed = await hub.begin_join(client, self.conversation_id)
        try:
            changes = await conversations.fetch_changes(
                client.realtime.db, self.conversation_id, position, client.user_id, REPLAY_BYTES
            )
        finally:
            if changes is None or changes.more or client.closed:
                client.leave(self.conversation_id)
                hub.leave(client, self.conversation_id)
        if changes is None:
            raise NotFound("Conversation")
        return feed, changes


class LeaveConversation(ConversationCommand):
    """Receive no more events of a conversation. Acknowledged with `{}`, whether it was joined or not."""

    name = "leave_conversation"

    async def run(self, client: Client) -> dict[str, Any]:
        client.realtime.typists.stop(self.conversation_id, client.user_id)
        client.realtime.hub.leave(client, self.conversation_id)
        client.leave(self.conversation_id)
        return {}


class TypingStart(ConversationCommand):
    """Show the other participant that the user is typing. Repeat it while the user types: it ends after six seconds.

    The conversation must be joined.
    """

    name = "typing_start"
    droppable = True

    async def run(self, client: Client) -> dict[str, Any]:
        if self.conversation_id not in client.joined:
            raise NotFound("Conversation")
        client.realtime.typists.start(self.conversation_id, client.user_id)
        return {}


class TypingStop(ConversationCommand):
    """Show the other participant that the user no longer types. The conversation must be joined."""

    name = "typing_stop"
    droppable = True

    async def run(self, client: Client) -> dict[str, Any]:
        if self.conversation_id not in client.joined:
            raise NotFound("Conversation")
        client.realtime.typists.stop(self.conversation_id, client.user_id)
        return {}


class SendMessageAck(Shape):
    """The message is stored."""

    message: Message = Field(description="The stored message, with its `seq` and `rev`.")


SEND_MESSAGE: JsonDict = {
    "conversationId": "3f2b8c1e-5d0a-4f4e-9c37-2a6f0d9b7e11",
    "content": "Is Friday at 15:00 possible?",
    "clientMessageId": "5f7c-1",
}


class SendMessage(NewMessage, ConversationCommand):
    """Send a message. Acknowledged with `{message}` once stored; a repeated `clientMessageId` returns the first one."""

    model_config = ConfigDict(json_schema_extra={"examples": [SEND_MESSAGE]})
    name = "send_message"
    ack = SendMessageAck

    async def run(self, client: Client) -> dict[str, Any]:
        realtime, user_id = client.realtime, client.user_id
        await client.count_against(Claim.of_user(user_id, "limit_message", realtime.settings.limit_message))
        sent = await conversations.send_message(realtime.db, self.conversation_id, user_id, self)
        if sent.notice:
            realtime.publisher.publish(MessageSent(self.conversation_id, sent.rev, sent.message, user_id))
            realtime.publisher.publish(NotificationReceived(*sent.notice))
        return {"message": sent.message}


class MarkReadAck(Shape):
    """The mark is stored. An older mark than the present one changes nothing."""

    unread_count: int = Field(description="How many messages of the conversation are still unread.", examples=[0])


class MarkRead(ConversationCommand):
    """Mark all messages up to and including `seq` as read. Acknowledged with `{unreadCount}` of the conversation."""

    name = "mark_read"
    ack = MarkReadAck
    seq: int = Field(ge=0, lt=2**53, description="The `seq` of the last message that was read.", examples=[42])

    async def run(self, client: Client) -> dict[str, Any]:
        publisher, user_id = client.realtime.publisher, client.user_id
        mark = await unread.mark_read(client.realtime.db, self.conversation_id, user_id, self.seq)
        if mark.moved:
            publisher.publish(MessageRead(self.conversation_id, user_id, mark.seq, mark.read_at))
        if mark.read:
            publisher.publish(NotificationRead(*mark.read))
        if mark.updated:
            publisher.publish(NotificationUpdated(*mark.updated))
        return {"unreadCount": mark.unread_count}


class Ping(Command):
    """Ask for a `pong`, with or without an `id`."""

    name = "ping"
    ack = None
    needs_sign_in = False

    async def run(self, client: Client) -> None:
        client.pong()


COMMANDS: dict[str, type[Command]] = {
    command.name: command
    for command in (
        Authenticate,
        JoinConversation,
        LeaveConversation,
        TypingStart,
        TypingStop,
        SendMessage,
        MarkRead,
        Ping,
    )
}
