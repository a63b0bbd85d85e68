"""Client → server commands (docs/api.md, Realtime): one class per command, with its data and what it does."""

from abc import abstractmethod
from typing import Any, ClassVar

from pydantic import ConfigDict, Field, model_validator

from db.errors import NotFound
from db.queries import conversations, unread
from db.queries.conversations import Changes, NewMessage
from db.schemas.fields import UUID_PATTERN, Body, Id
from realtime.events import (
    ConversationClosed,
    MessageRead,
    MessageSent,
    NotificationRead,
    NotificationReceived,
    NotificationUpdated,
)
from realtime.feeds import ConversationFeed, replay
from realtime.sockets.client import Client
from realtime.sockets.errors import TooMany
from services.security.rate_limit import Claim

JOINED_CONVERSATIONS = 100
REPLAY_BYTES = 384 * 1024  # one page of a replay; with JSON escapes it stays well below what a socket's queue holds


class Command(Body):
    """The fields are the command's data. `run` returns the data of the `ack`, or None if it answers itself."""

    name: ClassVar[str]
    droppable: ClassVar[bool] = False  # frames over the rate are dropped; those of other commands close the socket
    needs_sign_in: ClassVar[bool] = True

    @abstractmethod
    async def run(self, client: Client) -> dict[str, Any] | None: ...


class ConversationCommand(Command):
    conversation_id: Id


class Authenticate(Command):
    """Sign in, or renew before the token expires. Acknowledged with `{userId, expiresAt}`."""

    name = "authenticate"
    needs_sign_in = False
    token: str = Field(max_length=4096)

    async def run(self, client: Client) -> dict[str, Any]:
        await client.sign_in(self.token)
        return {"userId": client.user_id, "expiresAt": client.expires_at}


def or_bare_id(schema: dict[str, Any]) -> None:
    described = dict(schema)
    schema.clear()
    schema["anyOf"] = [described, {"type": "string", "pattern": UUID_PATTERN}]


class JoinConversation(ConversationCommand):
    """Replay the changes after rev `after`, acknowledge, then deliver live changes without gap or repetition.

    Acknowledged with `{conversationId, lastRev, replayed, complete}`. If not `complete`, nothing was replayed: fetch
    the messages by REST.
    """

    model_config = ConfigDict(json_schema_extra=or_bare_id)
    name = "join_conversation"
    after: int | None = Field(None, ge=0, lt=2**53)

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
    """Tell the others that the user types. Repeat it while the user types: it ends after six seconds.

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
    """Tell the others that the user no longer types. The conversation must be joined."""

    name = "typing_stop"
    droppable = True

    async def run(self, client: Client) -> dict[str, Any]:
        if self.conversation_id not in client.joined:
            raise NotFound("Conversation")
        client.realtime.typists.stop(self.conversation_id, client.user_id)
        return {}


class SendMessage(NewMessage, ConversationCommand):
    """Send a message. Acknowledged with `{message}` once stored; a repeated `clientMessageId` returns the first one."""

    name = "send_message"

    async def run(self, client: Client) -> dict[str, Any]:
        realtime, user_id = client.realtime, client.user_id
        await client.count_against(Claim(f"user:{user_id}", "limit_message", realtime.settings.limit_message))
        sent = await conversations.send_message(realtime.db, self.conversation_id, user_id, self)
        if sent.notice:
            realtime.publisher.publish(MessageSent(self.conversation_id, sent.rev, sent.message, user_id))
            realtime.publisher.publish(NotificationReceived(*sent.notice))
        return {"message": sent.message}


class MarkRead(ConversationCommand):
    """Mark all messages up to and including `seq` as read. Acknowledged with `{unreadCount}` of the conversation."""

    name = "mark_read"
    seq: int = Field(ge=0, lt=2**53)

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
    needs_sign_in = False

    async def run(self, client: Client) -> None:
        client.pong()


COMMANDS: dict[str, type[Command]] = {
    command.name: command
    for command in (
        Authenticate, JoinConversation, LeaveConversation, TypingStart, TypingStop, SendMessage, MarkRead, Ping
    )
}  # fmt: skip
