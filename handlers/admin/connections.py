"""Connections and requests of all users, for admins."""

from datetime import datetime
from typing import Annotated

from db.errors import NotFound
from db.fragments import unread_after_withdrawal, withdraw_notices
from db.queries.conversations import close_conversations
from db.queries.directory import has_text
from db.queries.search import LATEST, WALK, WALK_NUMBERED, Sort, contains, find_page
from db.schemas.admin import AdminConnection
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Id, Line
from db.schemas.words import RequestStatus
from handlers.admin.activity import AdminHandler
from handlers.http.base import Handler
from handlers.http.endpoint import ADMIN, NumberedPaging, endpoint
from handlers.http.paging import Cursor, fetch_page, window
from realtime.events import ConversationClosed, NotificationDeleted

SIDES = ("sender_id", "receiver_id")
FEW = 3_000  # up to this many people, requests are read person by person; for more, a scan of all requests is as fast


class ConnectionQuery(NumberedPaging):
    status: Annotated[RequestStatus, about("Only requests in this state", "PENDING")] | None = None
    search: Annotated[
        Annotated[str, Line(100), about("A part of the name or e-mail of either side", "sakura")] | None, BlankAsNone
    ] = None


# $1 is the status, $2 the text; null matches everything.
HAS_STATUS = "($1::text is null or r.status = $1)"


def requests_of(side: str) -> str:
    """Return SQL for the requests of `people`. A lateral subquery uses the index; the planner cannot know how few
    people there are."""
    return f"""
        select r.id, r.created_at from people p cross join lateral (
            select id, created_at from connection_requests r where r.{side} = p.user_id and {HAS_STATUS} offset 0
        ) r
        where (select is_small from size)
    """


# The requests of all matching people: read person by person if there are few, else by one scan of all requests.
FOUND = f"""
    people as materialized (
        select d.user_id from directory d where {has_text("d", "$2")}
    ), size as materialized (
        select count(*) <= {FEW} as is_small from people
    ), found as (
        ({requests_of("sender_id")} union {requests_of("receiver_id")})
        union all
        select r.id, r.created_at from connection_requests r
        where not (select is_small from size) and {HAS_STATUS}
            and (r.sender_id in (select user_id from people) or r.receiver_id in (select user_id from people))
    )
"""

COUNT_CONNECTIONS = f"""
    with {FOUND}
    select case when $2::text is not null then (select count(*) from found)
        when $1::text is not null then (select count(*) from connection_requests where status = $1)
        else (select count(*) from connection_requests) end
"""


KEY = LATEST.key("$3", "$4")
ALL = f"connection_requests r where {LATEST.after('r.created_at', 'r.id', KEY)}"
# With a bound instead of an equation, the planner uses the index that begins with the status; in another
# index, rows of a rare status can be far away.
BY_STATUS = LATEST._replace(lead=("status",))
OF_STATUS = f"""
    connection_requests r where r.status >= $1 and (r.status, r.created_at, r.id) < ($1, {KEY[0]}, {KEY[1]})
"""


def list_connections(sort: Sort, rows: str, walk: str) -> str:
    """Return the statement for a page: (body, created_at, id) after key ($3, $4), at most $5, skipping $6."""
    of_sender, of_receiver = (
        contains(f"(select d.document from directory d where d.user_id = w.{side})", "$2") for side in SIDES
    )
    matches = f"($2::text is null or {of_sender} or {of_receiver})"
    page = find_page(
        sort,
        "id",
        KEY,
        rows=rows,
        matches=matches,
        found="select id, created_at as key from found",
        fetch="$5",
        offset="$6",
        walk=walk,
    )
    return f"""
        with {FOUND}, {page}
        select {AdminConnection.sql("r")}, page.key, page.id from page join connection_requests r on r.id = page.id
        {LATEST.by("page.key", "page.id")}
    """


# Without a text, a walk reads the rows of the page and of the numbered pages before it. With a text it reads two
# people for each row, so it is shorter.
WALKS = (str(WALK_NUMBERED), f"greatest({WALK // 2}, 2 * ($5::bigint + $6))")
LIST_ALL, LIST_ALL_FOUND = (list_connections(LATEST, ALL, walk) for walk in WALKS)
LIST_STATUS, LIST_STATUS_FOUND = (list_connections(BY_STATUS, OF_STATUS, walk) for walk in WALKS)

BY_CREATION = Cursor(datetime, Id)


class ListConnections(Handler):
    @endpoint(ADMIN, query=ConnectionQuery, returns=list[AdminConnection])
    async def get(self, query: ConnectionQuery) -> None:
        """List all requests and connections, newest first; `search` matches names, e-mails and business names."""
        asked = window(query, BY_CREATION)
        sought = query.status, query.search
        listed, found = (LIST_STATUS, LIST_STATUS_FOUND) if query.status else (LIST_ALL, LIST_ALL_FOUND)
        statement = found if query.search else listed
        arguments = (*sought, *asked.key, asked.fetch, asked.offset)
        self.reply_page(await fetch_page(self.db, asked, BY_CREATION, statement, COUNT_CONNECTIONS, *arguments))


# The receiver's notification of a pending request is deleted with the request.
DELETE_CONNECTION = f"""
    with requests as (
        delete from connection_requests where id = $1 returning *
    ), withdrawn as ({withdraw_notices()})
    select r.sender_id, r.receiver_id, r.status, s.name as sender, t.name as receiver, n.id as notification_id,
        {unread_after_withdrawal("r.receiver_id")} as unread_count
    from requests r
    join users s on s.id = r.sender_id join users t on t.id = r.receiver_id left join withdrawn n on true
"""


class DeleteConnection(AdminHandler):
    @endpoint(ADMIN)
    async def delete(self, request_id: str) -> None:
        """Delete a connection or request; the conversation of the two users becomes read-only."""
        async with self.db.transaction() as tx:
            gone = await tx.fetchrow(DELETE_CONNECTION, request_id)
            if gone is None:
                raise NotFound("Connection")
            what = "connection" if gone["status"] == "ACCEPTED" else "connection request"
            await self.log(
                tx,
                "CONNECTION_DELETED",
                f"Deleted the {what} of {gone['sender']} and {gone['receiver']}",
                connectionId=request_id,
                status=gone["status"],
                senderId=gone["sender_id"],
                receiverId=gone["receiver_id"],
            )
            if gone["status"] == "ACCEPTED":
                for conversation_id in await close_conversations(tx, gone["sender_id"], gone["receiver_id"]):
                    tx.after_commit(self.publish, ConversationClosed(conversation_id, "disconnected"))
            if gone["notification_id"]:
                event = NotificationDeleted(gone["receiver_id"], gone["notification_id"], gone["unread_count"])
                tx.after_commit(self.publish, event)
        self.reply(message="Connection deleted")


routes = [
    ("/admin/connections", ListConnections),
    ("/admin/connections/{id}", DeleteConnection),
]
