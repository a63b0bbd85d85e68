"""Contacts and conversations. Others than the participants get a 404; it stays readable after a connection ends."""

from datetime import datetime
from typing import Annotated, Literal

from db.errors import Forbidden, NotFound
from db.fragments import is_between, pair
from db.queries.conversations import open_conversation
from db.queries.search import contains
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Id, Line
from db.schemas.shapes import (
    CardUser,
    Contact,
    ContactConversation,
    Conversation,
    ListedConversation,
)
from handlers.http.base import Handler
from handlers.http.endpoint import MEMBER, PageSize, Paging, endpoint
from handlers.http.paging import Cursor, key_or_latest, page_of, window

BY_ACTIVITY = Cursor(datetime, Id)


class ContactQuery(Paging):
    limit: PageSize = 100
    search: Annotated[Annotated[str, Line(100), about("A part of the name", "sakura")] | None, BlankAsNone] = None
    role: Annotated[Literal["INFLUENCER", "SALON"], about("Only contacts of this kind", "SALON")] | None = None


LIST_CONTACTS = f"""
    with contact as (
        select u.*, c.id as conversation_id, coalesce(c.last_message_at, c.created_at, r.updated_at) as active_at
        from connection_requests r
        join users u on u.id = case when r.sender_id = $1 then r.receiver_id else r.sender_id end
        left join conversations c on (c.low_id, c.high_id) = ({pair("r.sender_id", "r.receiver_id")})
        where (r.sender_id = $1 or r.receiver_id = $1) and r.status = 'ACCEPTED'
            and ($2::text is null or u.role = $2)
            and ($3::text is null or exists (
                select from directory d where d.user_id = u.id and {contains("d.names", "$3")}
            ))
    )
    select {
    Contact.sql(
        "u",
        user=CardUser.sql("u", email="coalesce(u.email, '')"),
        conversation=ContactConversation.row("conversations c where c.id = u.conversation_id", viewer="$1"),
    )
}, u.active_at, u.id
    from contact u
    where (u.active_at, u.id) < {key_or_latest("$4", "$5")}
    order by u.active_at desc, u.id desc limit $6
"""


class Contacts(Handler):
    @endpoint(MEMBER, query=ContactQuery, returns=list[Contact])
    async def get(self, query: ContactQuery) -> None:
        """List the caller's contacts, most recently active first."""
        asked = window(query, BY_ACTIVITY)
        rows = await self.db.fetch(LIST_CONTACTS, self.caller.id, query.role, query.search, *asked.key, asked.fetch)
        self.reply_page(page_of(rows, asked, BY_ACTIVITY))


LIST_CONVERSATIONS = f"""
    select {ListedConversation.sql("c", viewer="$1")}, coalesce(c.last_message_at, c.created_at), c.id
    from conversation_participants p join conversations c on c.id = p.conversation_id
    where p.user_id = $1
        and (coalesce(c.last_message_at, c.created_at), c.id) < {key_or_latest("$2", "$3")}
    order by coalesce(c.last_message_at, c.created_at) desc, c.id desc limit $4
"""


class Conversations(Handler):
    @endpoint(MEMBER, query=Paging, returns=list[ListedConversation])
    async def get(self, query: Paging) -> None:
        """List the caller's conversations, including read-only ones, most recently active first."""
        asked = window(query, BY_ACTIVITY)
        rows = await self.db.fetch(LIST_CONVERSATIONS, self.caller.id, *asked.key, asked.fetch)
        self.reply_page(page_of(rows, asked, BY_ACTIVITY))


FIND_OPEN_CONVERSATION = f"""
    select {Conversation.sql("c", viewer="$1")} from conversations c
    where (c.low_id, c.high_id) = ({pair("$1::uuid", "$2::uuid")}) and c.closed_at is null
"""

FIND_USER = "select id from users where id = $1 and status <> 'DELETED'"

# Locks the connection until the conversation is stored, so that ending the connection also closes it.
LOCK_CONNECTION = f"""
    select id from connection_requests r where {is_between("r", "$1::uuid", "$2::uuid")} and status = 'ACCEPTED'
    for share
"""


class ConversationWith(Handler):
    @endpoint(MEMBER, returns=Conversation, acts=True)
    async def get(self, other_id: str) -> None:
        """Return the conversation with a connected user; it is created if it does not exist."""
        conversation = await self.db.fetchval(FIND_OPEN_CONVERSATION, self.caller.id, other_id)
        if conversation is None:
            if await self.db.fetchval(FIND_USER, other_id) is None:
                raise NotFound("User")
            async with self.db.transaction() as tx:
                if await tx.fetchval(LOCK_CONNECTION, self.caller.id, other_id) is None:
                    raise Forbidden("You are not connected with this user; please send a connection request first")
                await open_conversation(tx, self.caller.id, other_id)
            conversation = await self.db.fetchval(FIND_OPEN_CONVERSATION, self.caller.id, other_id)
        self.reply(conversation)


routes = [
    ("/chat/contacts", Contacts),
    ("/chat/conversations", Conversations),
    ("/chat/conversations/{other_user_id}", ConversationWith),
]
