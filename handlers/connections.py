"""Connections between influencers and salons: request, answer, withdraw, end, and read the status of two users."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.errors import BadRequest, Conflict, DomainError, Forbidden, NotFound
from db.fragments import is_between, pair, unread_after_withdrawal, withdraw_notices
from db.pool import Transaction
from db.queries.conversations import close_conversations, open_conversation
from db.queries.notifications import notify
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.fields import Body, Id, Text
from db.schemas.shapes import AskedRequest, ConnectionState, ListedRequest, RequestUser, UserRef
from db.schemas.words import RequestStatus, words_of
from handlers.http.base import Handler
from handlers.http.endpoint import MEMBER, NumberedPaging, endpoint
from handlers.http.paging import Cursor, fetch_page, key_or_latest, window
from realtime.events import ConversationClosed, NotificationDeleted, NotificationReceived

ASK_AGAIN_DAYS = 7
OPENED = {"conversationId": Annotated[UUID, facts.CONVERSATION_ID]}
BY_CREATION = Cursor(datetime, Id)


def user_of_request(shape: type[UserRef], user: str) -> str:
    """Return SQL of one side of request `r`. Only the user and connected users see an e-mail address."""
    email = f"case when {user}.id = $1 or r.status = 'ACCEPTED' then coalesce({user}.email, '') else '' end"
    return shape.sql(user, email=email)


ASKED = AskedRequest.sql(
    "r",
    sender=f"(select {user_of_request(UserRef, 's')} from users s where s.id = r.sender_id)",
    receiver=f"(select {user_of_request(UserRef, 't')} from users t where t.id = r.receiver_id)",
)


class NewRequest(Body):
    """A request to connect."""

    receiver_id: Id = facts.OTHER_ID
    message: Annotated[str, Text(1000, min=0), facts.REQUEST_MESSAGE] | None = None


# One row per unordered pair: the second request finds the first one's row, also if both arrive at once. The two
# accounts are locked: if one is being deleted, the statement waits for that and then does not find it.
ASK = f"""
    with sender as (
        select name from users where id = $1 and status = 'ACTIVE' for key share
    ), receiver as (
        select id, role from users
        where id = $2 and status = 'ACTIVE' and email_verified_at is not null and role <> 'ADMIN'
        for key share
    ), r as (
        insert into connection_requests as r (sender_id, receiver_id, message)
        select $1, id, nullif($3, '') from receiver, sender where role <> $4
        on conflict ({pair("sender_id", "receiver_id")}) do update
        set sender_id = excluded.sender_id, receiver_id = excluded.receiver_id, message = excluded.message,
            status = 'PENDING', created_at = now(), updated_at = now()
        where r.status = 'REJECTED' and r.updated_at < now() - interval '{ASK_AGAIN_DAYS} days'
        returning r.*, r.xmax <> 0 as again
    )
    select receiver.role, r.id, r.again, {ASKED} as body, sender.name as sender_name
    from receiver cross join sender left join r on true
"""


class AskToConnect(Handler):
    @endpoint(
        MEMBER,
        body=NewRequest,
        returns=AskedRequest,
        limit="limit_connection_request",
        statuses=(200, 201),
        errors=("NOT_FOUND", "CONFLICT"),
    )
    async def post(self, new: NewRequest) -> None:
        """Send a connection request to a user of the other role."""
        if new.receiver_id == self.caller.id:
            raise BadRequest("You cannot connect with yourself; please choose another user")
        async with self.db.transaction() as tx:
            asked = await tx.fetchrow(ASK, self.caller.id, new.receiver_id, new.message, self.caller.role)
            if asked is None:
                raise NotFound("User")
            if asked["role"] == self.caller.role:
                raise Forbidden("Only a salon and an influencer can connect; please choose a user of the other kind")
            if asked["id"] is None:
                raise Conflict(
                    "There is already a connection or a request between you two",
                    f"If it was rejected, you may ask again {ASK_AGAIN_DAYS} days later.",
                )
            notice = await notify(
                tx,
                new.receiver_id,
                "CONNECTION_REQUEST",
                "New connection request",
                f"{asked['sender_name']} would like to connect with you",
                connection_request_id=asked["id"],
                actor_id=self.caller.id,
            )
            tx.after_commit(self.publish, NotificationReceived(*notice))
        self.reply(asked["body"], message="Connection request sent", status=200 if asked["again"] else 201)


LISTED = ListedRequest.sql("r", sender=user_of_request(RequestUser, "s"), receiver=user_of_request(RequestUser, "t"))


def list_requests(*sides: str) -> str:
    """Return the statement, newest first; `$1` is the reader, `$2` the statuses. An index has each side with
    its status, and a page reads the newest rows of each: its cost depends neither on their number nor on its depth."""
    newest = " union all ".join(
        f"""(
            select * from connection_requests r
            where r.{side} = $1 and r.status = wanted.status and (r.created_at, r.id) < {key_or_latest("$3", "$4")}
            order by r.created_at desc, r.id desc limit $5::bigint + $6
        )"""
        for side in sides
    )
    return f"""
        select {LISTED}, r.created_at, r.id
        from (
            select r.* from unnest($2::text[]) wanted(status) cross join lateral ({newest}) r
            order by r.created_at desc, r.id desc limit $5 offset $6
        ) r join users s on s.id = r.sender_id join users t on t.id = r.receiver_id
        order by r.created_at desc, r.id desc
    """


def count_requests(*sides: str) -> str:
    return f"select count(*) from connection_requests where $1 in ({', '.join(sides)}) and status = any($2::text[])"


SIDES = ("sender_id", "receiver_id")

LIST_SENT, COUNT_SENT = list_requests("sender_id"), count_requests("sender_id")
LIST_RECEIVED, COUNT_RECEIVED = list_requests("receiver_id"), count_requests("receiver_id")
LIST_EITHER, COUNT_EITHER = list_requests(*SIDES), count_requests(*SIDES)

STATUSES = words_of(RequestStatus)


class RequestQuery(NumberedPaging):
    status: Annotated[
        Literal["PENDING", "ACCEPTED", "REJECTED", "ALL"], about("Only requests in this state", "PENDING")
    ] = "PENDING"

    @property
    def statuses(self) -> tuple[str, ...]:
        return STATUSES if self.status == "ALL" else (self.status,)


class WebClientQuery(NumberedPaging):
    type: Annotated[Literal["incoming", "outgoing", "accepted", "all"], about("Which requests", "incoming")] = "all"


class RequestListHandler(Handler):
    async def list(self, select: str, count: str, statuses: Sequence[str], query: NumberedPaging) -> None:
        asked = window(query, BY_CREATION)
        arguments = (self.caller.id, statuses, *asked.key, asked.fetch, asked.offset)
        self.reply_page(await fetch_page(self.db, asked, BY_CREATION, select, count, *arguments))


class SentRequests(RequestListHandler):
    @endpoint(MEMBER, query=RequestQuery, returns=list[ListedRequest])
    async def get(self, query: RequestQuery) -> None:
        """List requests that the caller has sent, pending ones by default."""
        await self.list(LIST_SENT, COUNT_SENT, query.statuses, query)


class ReceivedRequests(RequestListHandler):
    @endpoint(MEMBER, query=RequestQuery, returns=list[ListedRequest])
    async def get(self, query: RequestQuery) -> None:
        """List requests that the caller has received, pending ones by default."""
        await self.list(LIST_RECEIVED, COUNT_RECEIVED, query.statuses, query)


class AcceptedRequests(RequestListHandler):
    @endpoint(MEMBER, query=NumberedPaging, returns=list[ListedRequest])
    async def get(self, query: NumberedPaging) -> None:
        """List the caller's connections, newest first."""
        await self.list(LIST_EITHER, COUNT_EITHER, ["ACCEPTED"], query)


class WebClientList(RequestListHandler):
    @endpoint(MEMBER, query=WebClientQuery, returns=list[ListedRequest], deprecated=True)
    async def get(self, query: WebClientQuery) -> None:
        """List requests by `type`, as the web client asks for them."""
        lists: dict[str, tuple[str, str, Sequence[str]]] = {
            "incoming": (LIST_RECEIVED, COUNT_RECEIVED, ["PENDING"]),
            "outgoing": (LIST_SENT, COUNT_SENT, ["PENDING"]),
            "accepted": (LIST_EITHER, COUNT_EITHER, ["ACCEPTED"]),
            "all": (LIST_EITHER, COUNT_EITHER, STATUSES),
        }
        await self.list(*lists[query.type], query)


ANSWER = f"""
    with r as (
        update connection_requests set status = $3, updated_at = now()
        where id = $2 and receiver_id = $1 and status = 'PENDING'
        returning *
    )
    select r.sender_id, {ASKED} as body, (select name from users where id = $1) as receiver_name from r
"""

# Finds out why nothing was changed. No row: the request does not exist, or the caller has no part in it.
FIND_REQUEST = """
    select sender_id = $1 as sent, status from connection_requests where id = $2 and $1 in (sender_id, receiver_id)
"""


class AnswerRequest(Handler):
    async def answer(self, request_id: str, status: str, type: str, title: str, verb: str) -> None:
        """Store the answer, open the conversation if the request is accepted, and notify the sender."""
        conversation_id = None
        async with self.db.transaction() as tx:
            answered = await tx.fetchrow(ANSWER, self.caller.id, request_id, status)
            if answered is None:
                raise await self.find_refusal(tx, request_id)
            if status == "ACCEPTED":
                conversation_id = await open_conversation(tx, answered["sender_id"], self.caller.id)
            notice = await notify(
                tx,
                answered["sender_id"],
                type,
                title,
                f"{answered['receiver_name']} {verb} your connection request",
                connection_request_id=request_id,
                conversation_id=conversation_id,
                actor_id=self.caller.id,
            )
            tx.after_commit(self.publish, NotificationReceived(*notice))
        message = f"Connection request {status.lower()}"
        self.reply(answered["body"], message=message, conversationId=conversation_id)

    async def find_refusal(self, tx: Transaction, request_id: str) -> DomainError:
        found = await tx.fetchrow(FIND_REQUEST, self.caller.id, request_id)
        if found is None:
            return NotFound("Connection request")
        if found["sent"]:
            return Forbidden("Only the receiver of a request can answer it")
        return Conflict("This request has been answered already; please reload your requests")


class AcceptRequest(AnswerRequest):
    @endpoint(
        MEMBER,
        returns=AskedRequest,
        beside=OPENED,
        errors=("CONFLICT",),
    )
    async def patch(self, request_id: str) -> None:
        """Accept a request and open the conversation of the two users."""
        await self.answer(request_id, "ACCEPTED", "CONNECTION_ACCEPTED", "Connection accepted", "accepted")


class RejectRequest(AnswerRequest):
    @endpoint(MEMBER, returns=AskedRequest, errors=("CONFLICT",))
    async def patch(self, request_id: str) -> None:
        """Reject a request; its sender may send another one after a week."""
        await self.answer(request_id, "REJECTED", "CONNECTION_REJECTED", "Connection rejected", "rejected")


# Also deletes the receiver's notification of the request.
WITHDRAW = f"""
    with requests as (
        delete from connection_requests where id = $2 and sender_id = $1 and status = 'PENDING'
        returning id, receiver_id, status
    ), withdrawn as ({withdraw_notices()})
    select r.id, n.id as notification_id, r.receiver_id, {unread_after_withdrawal("r.receiver_id")} as unread_count
    from requests r left join withdrawn n on true
"""


class WithdrawRequest(Handler):
    @endpoint(MEMBER, errors=("CONFLICT",))
    async def delete(self, request_id: str) -> None:
        """Withdraw a pending request."""
        withdrawn = await self.db.fetchrow(WITHDRAW, self.caller.id, request_id)
        if withdrawn is None:
            found = await self.db.fetchrow(FIND_REQUEST, self.caller.id, request_id)
            if found is None:
                raise NotFound("Connection request")
            if not found["sent"]:
                raise Forbidden("Only the sender of a request can withdraw it")
            raise Conflict("This request has been answered already; please reload your requests")
        if withdrawn["notification_id"]:
            receiver_id, notification_id, unread = withdrawn["receiver_id"], withdrawn["notification_id"], withdrawn[3]
            self.publish(NotificationDeleted(receiver_id, notification_id, unread))
        self.reply(message="Connection request withdrawn")


END = """
    delete from connection_requests
    where id = $2 and $1 in (sender_id, receiver_id) and status = 'ACCEPTED'
    returning case when sender_id = $1 then receiver_id else sender_id end
"""


class EndConnection(Handler):
    @endpoint(MEMBER, errors=("CONFLICT",))
    async def delete(self, request_id: str) -> None:
        """End a connection; the conversation becomes read-only for both."""
        async with self.db.transaction() as tx:
            other_id = await tx.fetchval(END, self.caller.id, request_id)
            if other_id is None:
                if await tx.fetchrow(FIND_REQUEST, self.caller.id, request_id) is None:
                    raise NotFound("Connection")
                raise Conflict("This request has not been accepted yet; please withdraw or reject it instead")
            for conversation_id in await close_conversations(tx, self.caller.id, other_id):
                tx.after_commit(self.publish, ConversationClosed(conversation_id, "disconnected"))
        self.reply(message="Connection ended")


# The status of rejected and ended connections is `none`.
CONNECTION_STATES = f"""
    select asked.id, {ConnectionState.sql("r")} as body
    from unnest($2::uuid[]) asked(id) left join lateral (
        select id, status, sender_id = $1 as sent from connection_requests q
        where {is_between("q", "asked.id", "$1")} and status <> 'REJECTED'
    ) r on true
"""


class ConnectionStatus(Handler):
    @endpoint(MEMBER, returns=ConnectionState)
    async def get(self, user_id: str) -> None:
        """Return the connection status between the caller and a user."""
        (row,) = await self.db.fetch(CONNECTION_STATES, self.caller.id, [user_id])
        self.reply(row["body"])


class ListedUsers(Body):
    """Several users."""

    user_ids: list[Id] = Field(
        min_length=1, max_length=100, description="Ids of users", examples=[["c3a1b2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d"]]
    )


class ConnectionStatuses(Handler):
    @endpoint(MEMBER, body=ListedUsers, returns=dict[UUID, ConnectionState])
    async def post(self, body: ListedUsers) -> None:
        """Return the connection status between the caller and each of up to 100 users."""
        rows = await self.db.fetch(CONNECTION_STATES, self.caller.id, body.user_ids)
        self.reply({row["id"]: row["body"] for row in rows})


routes = [
    ("/connections", WebClientList),
    ("/connections/request", AskToConnect),
    ("/connections/requests/sent", SentRequests),
    ("/connections/requests/received", ReceivedRequests),
    ("/connections/accepted", AcceptedRequests),
    ("/connections/requests/{id}/accept", AcceptRequest),
    ("/connections/requests/{id}/reject", RejectRequest),
    ("/connections/requests/{id}", WithdrawRequest),
    ("/connections/{id}", EndConnection),
    ("/connections/status/{user_id}", ConnectionStatus),
    ("/connections/status/bulk", ConnectionStatuses),
]
