"""Messages of a conversation: list, send, edit, delete, mark as read. Others than the participants get a 404."""

from typing import Annotated, Any, Literal

import asyncpg

from db.errors import Conflict, Forbidden, NotFound
from db.fragments import is_participant, other_participant
from db.pool import Transaction
from db.queries.conversations import NewMessage, send_message
from db.queries.unread import follow_deletion, mark_read, update_text
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.fields import Body, Text
from db.schemas.previews import preview
from db.schemas.shape import Shape
from db.schemas.shapes import DELETED_MESSAGE, Message
from handlers.files import FileHandler
from handlers.http.base import Handler
from handlers.http.endpoint import MEMBER, NumberedPaging, PageSize, Seq, endpoint
from handlers.http.paging import Cursor, page_of, window, with_total
from realtime.events import (
    MessageDeleted,
    MessageEdited,
    MessageRead,
    MessageSent,
    NotificationDeleted,
    NotificationRead,
    NotificationReceived,
    NotificationUpdated,
)


class MessageQuery(NumberedPaging):
    limit: PageSize = 50
    before: Annotated[Seq, about("Only messages with a smaller `seq`", 42)] | None = None
    after: Annotated[Seq, about("Only messages with a larger `seq`, from the smallest on", 42)] | None = None
    peek: Annotated[bool, about("Whether to leave the messages unread", True)] = False

    @property
    def newest(self) -> bool:
        """Return whether the requested page ends with the newest message."""
        return self.cursor is None and self.before is None and self.after is None and self.page in (None, 1)


# With “$3 is null or …” a plan that PostgreSQL keeps would read all newer messages before a deep page.
NO_LIMIT = 2**63 - 1

# A participant gets at least one row, in which only `last_read_seq` is not null if there is no message; other users get
# none.
LIST_MESSAGES = f"""
    select m.body, m.direction, m.seq, p.last_read_seq
    from conversations c join conversation_participants p on p.conversation_id = c.id and p.user_id = $2
    left join lateral (
        select {Message.sql("m")} as body, 'before' as direction, m.seq from messages m
        where m.conversation_id = c.id and m.seq < coalesce($3::bigint, {NO_LIMIT})
        order by m.seq desc limit $4 offset $5
    ) m on true
    where c.id = $1
    order by m.seq desc
"""

LIST_MESSAGES_AFTER = f"""
    select m.body, m.direction, m.seq, p.last_read_seq
    from conversations c join conversation_participants p on p.conversation_id = c.id and p.user_id = $2
    left join lateral (
        select {Message.sql("m")} as body, 'after' as direction, m.seq from messages m
        where m.conversation_id = c.id and m.seq > $3::bigint
        order by m.seq limit $4
    ) m on true
    where c.id = $1
    order by m.seq
"""

COUNT_MESSAGES = "select count(*) from messages where conversation_id = $1"

BY_SEQ = Cursor(Literal["before", "after"], Seq)


class Messages(Handler):
    @endpoint(MEMBER, query=MessageQuery, returns=list[Message], acts=True)
    async def get(self, conversation_id: str, query: MessageQuery) -> None:
        """List messages from old to new; the newest page marks them as read unless `peek=true`."""
        asked = window(query, BY_SEQ)
        direction, seq = asked.key
        if query.after is not None or query.before is not None:
            direction, seq = ("after", query.after) if query.after is not None else ("before", query.before)
        arguments: tuple[Any, ...] = (conversation_id, self.caller.id, seq, asked.fetch)
        statement = LIST_MESSAGES_AFTER
        if direction != "after":
            statement, arguments = LIST_MESSAGES, (*arguments, asked.offset)
        rows = await self.db.fetch(with_total(statement, COUNT_MESSAGES) if asked.page else statement, *arguments)
        if not rows or rows[0]["last_read_seq"] is None:
            raise NotFound("Conversation")
        newest, last_read, *total = rows[0][2:]
        page = page_of(rows if newest else [], asked, BY_SEQ, *total)
        if direction != "after":
            page.data.reverse()
        if query.newest and not query.peek and (newest or 0) > last_read:
            await mark_and_publish(self, conversation_id, newest)
        self.reply_page(page)

    @endpoint(MEMBER, body=NewMessage, returns=Message, limit="limit_message", statuses=(200, 201))
    async def post(self, conversation_id: str, new: NewMessage) -> None:
        """Send a message; repeating a clientMessageId returns the first one."""
        sent = await send_message(self.db, conversation_id, self.caller.id, new)
        if sent.notice:
            self.publish(MessageSent(conversation_id, sent.rev, sent.message, self.caller.id))
            self.publish(NotificationReceived(*sent.notice))
        self.reply(sent.message, status=201 if sent.notice else 200)


async def mark_and_publish(handler: Handler, conversation_id: str, seq: int) -> int:
    """Move the caller's read mark, publish the change, and return the unread count of the conversation."""
    mark = await mark_read(handler.db, conversation_id, handler.caller.id, seq)
    if mark.moved:
        handler.publish(MessageRead(conversation_id, handler.caller.id, mark.seq, mark.read_at))
    if mark.read:
        handler.publish(NotificationRead(*mark.read))
    if mark.updated:
        handler.publish(NotificationUpdated(*mark.updated))
    return mark.unread_count


# Locks the conversation, so that the message cannot change before the next statement assigns its rev.
LOCK_MESSAGE = f"""
    select m.conversation_id, m.sender_id = $2 as mine, c.closed_at is not null as closed,
        {other_participant("c", "$2")} as reader_id
    from messages m join conversations c on c.id = m.conversation_id
    where m.id = $1 and {is_participant("c", "$2")}
    for update of c
"""

# The preview of the conversation shows the newest message, so it changes too.
EDIT_MESSAGE = f"""
    with message as (
        update messages m set content = $2, is_edited = true, rev = c.last_rev + 1, updated_at = clock_timestamp()
        from conversations c
        where m.id = $1 and c.id = m.conversation_id and m.deleted_at is null
        returning m.*
    ), conversation as (
        update conversations c set last_rev = m.rev, updated_at = clock_timestamp(),
            last_message = case when m.seq = c.last_seq then $3 else c.last_message end
        from message m where c.id = m.conversation_id
    )
    select {Message.sql("m")} as body, m.rev from message m
"""

DELETE_MESSAGE = f"""
    with old as (
        select id, file_url from messages where id = $1 and deleted_at is null
    ), message as (
        update messages m set content = '{DELETED_MESSAGE}', file_url = null, file_name = null, file_size = null,
            message_type = 'TEXT', rev = c.last_rev + 1, deleted_at = clock_timestamp(), updated_at = clock_timestamp()
        from conversations c, old
        where m.id = old.id and c.id = m.conversation_id
        returning m.*
    ), conversation as (
        update conversations c set last_rev = m.rev, updated_at = clock_timestamp(),
            last_message = case when m.seq = c.last_seq then m.content else c.last_message end
        from message m where c.id = m.conversation_id
    ), file as (
        delete from attachments a using old
        where a.url = old.file_url
            and not exists (select from messages o where o.file_url = old.file_url and o.id <> old.id)
        returning a.url
    )
    select m.seq, m.rev, (select url from file) as unused_file from message m
"""


class MessageEdit(Body):
    """The new text of a message."""

    content: Annotated[str, Text(5000)] = facts.CONTENT


class OneMessage(FileHandler):
    @endpoint(MEMBER, body=MessageEdit, returns=Message, errors=("CONFLICT",))
    async def patch(self, message_id: str, edit: MessageEdit) -> None:
        """Edit the text of the caller's own message."""
        async with self.db.transaction() as tx:
            found = await self.lock(tx, message_id)
            shown = preview(edit.content)
            edited = await tx.fetchrow(EDIT_MESSAGE, message_id, edit.content, shown)
            if edited is None:
                raise Conflict("A deleted message cannot be edited; please send a new one")
            tx.after_commit(self.publish, MessageEdited(found["conversation_id"], edited["rev"], edited["body"]))
            for notice in await update_text(tx, message_id, shown):
                tx.after_commit(self.publish, NotificationUpdated(*notice))
        self.reply(edited["body"])

    @endpoint(MEMBER)
    async def delete(self, message_id: str) -> None:
        """Delete the caller's own message; text and file are deleted, a placeholder stays."""
        async with self.db.transaction() as tx:
            found = await self.lock(tx, message_id)
            deleted = await tx.fetchrow(DELETE_MESSAGE, message_id)
            if deleted is not None:
                conversation_id = found["conversation_id"]
                event = MessageDeleted(conversation_id, message_id, deleted["seq"], deleted["rev"])
                tx.after_commit(self.publish, event)
                followed = await follow_deletion(tx, conversation_id, found["reader_id"], message_id)
                for notice in followed.updated:
                    tx.after_commit(self.publish, NotificationUpdated(*notice))
                for notice_id in followed.deleted:
                    tx.after_commit(self.publish, NotificationDeleted(*notice_id))
                tx.after_commit(self.delete_stored, deleted["unused_file"])
        self.reply(message="Message deleted")

    async def lock(self, tx: Transaction, message_id: str) -> asyncpg.Record:
        """Lock the conversation of a message and return it with the message's reader. Raises Forbidden unless the
        caller sent the message."""
        found = await tx.fetchrow(LOCK_MESSAGE, message_id, self.caller.id)
        if found is None:
            raise NotFound("Message")
        if not found["mine"]:
            raise Forbidden("Only the sender of a message can change it")
        if found["closed"]:
            raise Forbidden("You are no longer connected, so this conversation is read-only; please connect again")
        return found


FIND_MESSAGE = f"""
    select m.conversation_id, m.seq from messages m join conversations c on c.id = m.conversation_id
    where m.id = $1 and {is_participant("c", "$2")}
"""


class ConversationUnread(Shape):
    """The number of messages that are still unread."""

    unread_count: int = facts.UNREAD_COUNT


class ReadMessage(Handler):
    @endpoint(MEMBER, returns=ConversationUnread)
    async def patch(self, message_id: str) -> None:
        """Mark all messages up to and including this one as read."""
        found = await self.db.fetchrow(FIND_MESSAGE, message_id, self.caller.id)
        if found is None:
            raise NotFound("Message")
        unread = await mark_and_publish(self, found["conversation_id"], found["seq"])
        self.reply({"unreadCount": unread})


routes = [
    ("/chat/conversations/{conversation_id}/messages", Messages),
    ("/chat/messages/{id}", OneMessage),
    ("/chat/messages/{id}/read", ReadMessage),
]
