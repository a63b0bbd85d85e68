"""Conversations: send messages, open and close conversations, fetch changes."""

from typing import Annotated, Any, NamedTuple

import asyncpg
import orjson
from pydantic import ConfigDict, model_validator

from db.errors import Forbidden, Invalid, NotFound
from db.fragments import is_participant, is_recent, other_participant, pair
from db.pool import Queries
from db.queries.notifications import NotificationChange
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.faults import fault
from db.schemas.fields import Body, Line, Text
from db.schemas.previews import preview
from db.schemas.shapes import Message, Notification
from db.schemas.words import MessageType

CATCH_UP_MESSAGES = 500  # a client that missed more changes fetches the whole conversation again
FRAME_BYTES = 1_000  # estimate of a message's frame without its content


class Sent(NamedTuple):
    message: orjson.Fragment
    rev: int
    notice: NotificationChange | None  # None: this clientMessageId was sent before, and nothing has changed


class NewMessage(Body):
    """A message to send, by REST or by socket. It needs `content`, `fileUrl` or both. Name, size and type of a file are
    those of the upload."""

    # A schema of the rule needs `anyOf` beside `properties`, which openapi-python-client does not support.
    # A file must have been uploaded, so an example with one cannot be sent as it is.
    model_config = ConfigDict(json_schema_extra={"examples": [{"content": facts.CONTENT.examples[0]}]})

    content: Annotated[str, Text(5000, min=0), facts.CONTENT] = ""
    message_type: Annotated[MessageType, about("`IMAGE` and `FILE` need `fileUrl`", "TEXT")] = "TEXT"
    file_url: Annotated[str, Line(2000), facts.FILE_URL] | None = None
    client_message_id: Annotated[str, Line(64), facts.CLIENT_MESSAGE_ID] | None = None

    @model_validator(mode="after")
    def check_not_empty(self) -> "NewMessage":
        if not self.content and not self.file_url:
            raise ValueError("A message needs content or a file")
        if self.message_type != "TEXT" and not self.file_url:
            raise ValueError("Only a message with a file can be an IMAGE or a FILE")
        return self


# Stores and numbers the message, updates the preview and the notification in one round trip. The conversation's row
# lock makes the numbers gapless. Conditions stand on that row, because PostgreSQL checks them again after the lock.
SEND_MESSAGE = f"""
    with repeated as (
        select * from messages where conversation_id = $1 and sender_id = $2 and client_message_id = $3
    ), file as (
        select file_name, file_size, message_type from attachments
        where url = $6 and conversation_id = $1 and uploader_id = $2
    ), conversation as (
        update conversations c set
            last_rev = c.last_rev + 1,
            last_seq = c.last_rev + 1,
            last_message = coalesce(nullif($7, ''), (select file_name from file)),
            last_message_at = clock_timestamp(),
            updated_at = clock_timestamp()
        where c.id = $1 and {is_participant("c", "$2")} and c.closed_at is null
            and not exists (select from repeated)
            and ($6::text is null or exists (select from file))
        returning c.*
    ), message as (
        insert into messages (conversation_id, sender_id, seq, rev, client_message_id, content, message_type,
            file_url, file_name, file_size, created_at, updated_at)
        select c.id, $2, c.last_seq, c.last_rev, $3, $4, coalesce(f.message_type, $5),
            $6, f.file_name, f.file_size, c.last_message_at, c.last_message_at
        from conversation c left join file f on true
        returning *
    ), notification as (
        insert into notifications as n
            (user_id, type, title, message, message_id, conversation_id, actor_id, metadata)
        select r.id, 'NEW_MESSAGE', 'New message from ' || u.name, c.last_message, m.id, c.id, $2,
            jsonb_build_object('senderId', $2::uuid, 'senderName', u.name, 'count', count_unread(c.id, r.id))
        from message m cross join conversation c join users u on u.id = $2
        cross join lateral (select {other_participant("c", "$2")} as id) r
        on conflict (user_id, conversation_id) where type = 'NEW_MESSAGE' and not is_read
        do update set title = excluded.title, message = excluded.message, message_id = excluded.message_id,
            metadata = excluded.metadata, updated_at = clock_timestamp()
        returning n.*
    ), stored as (
        select * from message union all select * from repeated
    )
    select {Message.sql("t")} as message, t.rev, n.user_id as receiver_id,
        case when n.id is not null then {Notification.sql("n")} end as notification,
        count_unread_notifications(n.user_id) as unread
    from stored t left join notification n on true
"""

# Finds out why nothing was sent: no row if the user does not take part, else whether the conversation is closed.
IS_CLOSED = f"""
    select c.closed_at is not null as closed from conversations c where c.id = $1 and {is_participant("c", "$2")}
"""


class ConversationNotFound(NotFound):
    """There is no such conversation, or the user does not take part in it."""

    def __init__(self) -> None:
        super().__init__("Conversation")


class ConversationReadOnly(Forbidden):
    error = "You are no longer connected; this conversation is read-only"


class UnknownAttachment(Invalid):
    """The file was not uploaded to this conversation by this user."""

    def __init__(self) -> None:
        super().__init__([fault("fileUrl", "must come from an upload to this conversation")])


async def send_message(queries: Queries, conversation_id: str, sender_id: str, new: NewMessage) -> Sent:
    """Store a message and its notification, or return the message that was sent with this clientMessageId before.

    Raises ConversationNotFound, ConversationReadOnly, UnknownAttachment."""
    arguments = (
        conversation_id,
        sender_id,
        new.client_message_id,
        new.content,
        new.message_type,
        new.file_url,
        preview(new.content),
    )
    try:
        row = await queries.fetchrow(SEND_MESSAGE, *arguments)
    except asyncpg.UniqueViolationError as error:
        if error.constraint_name != "messages_client_message_id_key":
            raise
        row = await queries.fetchrow(SEND_MESSAGE, *arguments)  # a concurrent request has stored it
    if row is not None:
        message, rev, *notice = row
        return Sent(message, rev, NotificationChange(*notice) if notice[0] else None)
    await check_open(queries, conversation_id, sender_id)
    raise UnknownAttachment


async def check_open(queries: Queries, conversation_id: str, user_id: str) -> None:
    """Raise ConversationNotFound or ConversationReadOnly unless the user takes part in it and it is open."""
    closed = await queries.fetchval(IS_CLOSED, conversation_id, user_id)
    if closed is None:
        raise ConversationNotFound
    if closed:
        raise ConversationReadOnly


OPEN_CONVERSATION = f"""
    with conversation as (
        insert into conversations (low_id, high_id) values ({pair("$1::uuid", "$2::uuid")})
        on conflict (low_id, high_id) do update set closed_at = null, updated_at = clock_timestamp()
        returning id, low_id, high_id
    ), participants as (
        insert into conversation_participants (conversation_id, user_id)
        select id, unnest(array[low_id, high_id]) from conversation
        on conflict (conversation_id, user_id) do nothing
    )
    select id from conversation
"""

CLOSE_CONVERSATIONS = f"""
    update conversations c set closed_at = clock_timestamp(), updated_at = clock_timestamp()
    where c.closed_at is null and {is_participant("c", "$1::uuid")}
        and ($2::uuid is null or {is_participant("c", "$2::uuid")})
    returning c.id
"""


async def open_conversation(queries: Queries, one: str, other: str) -> str:
    """Create or reopen the conversation of two users and return its id, in the transaction that connects them."""
    value: str = await queries.fetchval(OPEN_CONVERSATION, one, other)
    return value


async def close_conversations(queries: Queries, user_id: str, other: str | None = None) -> list[str]:
    """Make a user's conversations, or the one with `other`, read-only. Return their ids for ConversationClosed."""
    return [row["id"] for row in await queries.fetch(CLOSE_CONVERSATIONS, user_id, other)]


class Change(NamedTuple):
    seq: int
    rev: int
    deleted: bool
    message_id: str
    message: orjson.Fragment


class Changes(NamedTuple):
    last_rev: int
    closed: bool
    changes: list[Change]  # in the order of their revs; empty when there are too many
    complete: bool
    more: bool = False  # later changes exist, which did not fit into `max_bytes`


# One statement, so that the counter and the changed messages are of the same moment.
FETCH_CHANGES = f"""
    select c.last_rev, c.closed_at is not null as closed, m.*
    from conversations c left join lateral (
        select m.behind, m.seq, m.rev, m.deleted_at is not null as deleted, m.id, {Message.sql("m")} as message
        from (
            select m.*, count(*) over () as behind,
                sum(octet_length(m.content) + {FRAME_BYTES}) over (order by m.rev) as bytes
            from (
                select * from messages m where m.conversation_id = $1 and m.rev > $3::bigint
                order by m.rev limit {CATCH_UP_MESSAGES + 1}
            ) m
        ) m
        where m.bytes - octet_length(m.content) - {FRAME_BYTES} < $4::bigint
    ) m on true
    where c.id = $1 and ($2::uuid is null or {is_participant("c", "$2::uuid")})
    order by m.rev
"""


async def fetch_changes(
    queries: Queries, conversation_id: str, after: int | None, user_id: str | None = None, max_bytes: int = 2**62
) -> Changes | None:
    """Return the changes after rev `after` (None: only the state); None if `user_id` does not take part."""
    rows = await queries.fetch(FETCH_CHANGES, conversation_id, user_id, 2**62 if after is None else after, max_bytes)
    if not rows:
        return None
    last_rev, closed, behind = rows[0]["last_rev"], rows[0]["closed"], rows[0]["behind"] or 0
    changes = [Change(*tuple(row)[3:]) for row in rows if row["rev"] is not None]
    complete = behind <= CATCH_UP_MESSAGES and (after is None or after <= last_rev)
    return Changes(last_rev, closed, changes if complete else [], complete, complete and behind > len(changes))


# Conversations that changed recently; realtime/catch_up.py compares them with what was delivered.
# The recent ones are few, so they are found first.
LIST_CHANGED_CONVERSATIONS = f"""
    with recent as materialized (
        select id, last_rev, closed_at is not null as closed from conversations where {is_recent("updated_at", "$1")}
    )
    select * from recent where id = any($2::uuid[])
"""


class ChangedConversation(NamedTuple):
    conversation_id: str
    last_rev: int
    closed: bool


async def list_changed_conversations(queries: Queries, seconds: float, joined: list[Any]) -> list[ChangedConversation]:
    return [ChangedConversation(*row) for row in await queries.fetch(LIST_CHANGED_CONVERSATIONS, seconds, joined)]


# Read marks that changed recently; they have no number in the conversation's counter.
LIST_CHANGED_READ_MARKS = """
    select conversation_id, user_id, last_read_seq, iso(last_read_at),
        extract(epoch from clock_timestamp() - last_read_at)::float8
    from conversation_participants
    where last_read_at > now() - make_interval(secs => $1) and conversation_id = any($2::uuid[])
"""


class ChangedReadMark(NamedTuple):
    conversation_id: str
    user_id: str
    seq: int
    read_at: str
    age: float  # seconds


async def list_changed_read_marks(queries: Queries, seconds: float, joined: list[Any]) -> list[ChangedReadMark]:
    return [ChangedReadMark(*row) for row in await queries.fetch(LIST_CHANGED_READ_MARKS, seconds, joined)]
