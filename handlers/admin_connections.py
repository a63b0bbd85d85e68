"""Admins and the connections of others."""

from datetime import datetime
from typing import Annotated

from db.activity_logs import Actor, log_activity
from db.conversations import close_conversations
from db.fields import BlankAsNone, Id, Line, like
from db.shapes import RequestStatus
from db.shapes_admin import AdminConnection
from handlers.base import Handler
from handlers.endpoint import ADMIN, NumberedPaging, endpoint
from handlers.errors import NotFound
from handlers.paging import Cursor, key_or_latest, page_of, window
from realtime.events import ConversationClosed, NotificationDeleted


class ConnectionQuery(NumberedPaging):
    status: RequestStatus | None = None
    search: Annotated[Annotated[str, Line(100)] | None, BlankAsNone] = None


FOUND = """
    ($1::text is null or r.status = $1)
    and ($2::text is null or exists (
        select from users p left join salons s on s.user_id = p.id
        where p.id in (r.sender_id, r.receiver_id) and (p.name ilike $2 or p.email ilike $2 or s.business_name ilike $2)
    ))
"""

LIST_CONNECTIONS = f"""
    select {AdminConnection.sql("r")}, r.created_at, r.id
    from connection_requests r
    where {FOUND} and (r.created_at, r.id) < {key_or_latest("$3", "$4")}
    order by r.created_at desc, r.id desc limit $5 offset $6
"""

COUNT_CONNECTIONS = f"select count(*) from connection_requests r where {FOUND}"

BY_CREATION = Cursor(datetime, Id)


class Connections(Handler):
    @endpoint(ADMIN, query=ConnectionQuery, returns=list[AdminConnection])
    async def get(self, query: ConnectionQuery) -> None:
        """Requests and connections of all, newest first; `search` looks in names, e-mails and business names."""
        asked, found = window(query, BY_CREATION), (query.status, like(query.search))
        rows = await self.db.fetch(LIST_CONNECTIONS, *found, *asked.key, asked.fetch, asked.offset)
        total = await self.db.fetchval(COUNT_CONNECTIONS, *found) if asked.page else None
        self.reply_page(page_of(rows, asked, BY_CREATION, total))


# An open request takes along what told its receiver of it.
DELETE_CONNECTION = """
    with request as (
        delete from connection_requests where id = $1 returning *
    ), notice as (
        delete from notifications n using request r
        where n.connection_request_id = r.id and n.type = 'CONNECTION_REQUEST' and r.status = 'PENDING'
        returning n.id, n.user_id, n.is_read
    )
    select r.sender_id, r.receiver_id, r.status, s.name as sender, t.name as receiver, n.id as notification_id,
        (select count(*) from notifications o where o.user_id = r.receiver_id and not o.is_read)
            - (select count(*) from notice where not is_read) as unread_count
    from request r
    join users s on s.id = r.sender_id join users t on t.id = r.receiver_id left join notice n on true
"""


class Connection(Handler):
    @endpoint(ADMIN)
    async def delete(self, request_id: str) -> None:
        """Delete a connection or request; the conversation of the two becomes read-only."""
        async with self.db.transaction() as tx:
            gone = await tx.fetchrow(DELETE_CONNECTION, request_id)
            if gone is None:
                raise NotFound("Connection")
            what = "connection" if gone["status"] == "ACCEPTED" else "connection request"
            about = {"connectionId": request_id, "status": gone["status"], "senderId": gone["sender_id"],
                     "receiverId": gone["receiver_id"]}  # fmt: skip
            await log_activity(
                tx, Actor(self.caller.id, self.ip, self.user_agent), "CONNECTION_DELETED",
                f"Deleted the {what} of {gone['sender']} and {gone['receiver']}", metadata=about,
            )  # fmt: skip
            if gone["status"] == "ACCEPTED":
                for conversation_id in await close_conversations(tx, gone["sender_id"], gone["receiver_id"]):
                    tx.after_commit(self.publish, ConversationClosed(conversation_id, "disconnected"))
            if gone["notification_id"]:
                event = NotificationDeleted(gone["receiver_id"], gone["notification_id"], gone["unread_count"])
                tx.after_commit(self.publish, event)
        self.reply(message="Connection deleted")


routes = [
    ("/admin/connections", Connections),
    ("/admin/connections/{id}", Connection),
]
