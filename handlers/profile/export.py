"""All data of the caller as one JSON document, sent in pages so that a slow reader holds no database connection."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import orjson

from db.errors import NotAuthenticated
from db.schemas.export import (
    Export,
    ExportedAccount,
    ExportedConnection,
    ExportedConversation,
    ExportedMessage,
    ExportedPost,
    ExportedSession,
    ExportedSocialAccount,
)
from db.schemas.shapes import Notification
from handlers.http.base import Handler
from handlers.http.endpoint import USER, endpoint

PAGE_ROWS = 500
EXPORT_SECONDS = 300.0  # enough for the longest history on a slow connection; a slower download is aborted

EXPORT_ACCOUNT = f"select {ExportedAccount.sql('u')} from users u where u.id = $1 and u.status <> 'DELETED'"

EXPORT_SOCIAL_ACCOUNTS = f"""
    select {ExportedSocialAccount.sql("a")} as body, a.id
    from social_media_accounts a join influencers i on i.id = a.influencer_id
    where i.user_id = $1 and ($2::uuid is null or a.id > $2)
    order by a.id limit {PAGE_ROWS}
"""

EXPORT_POSTS = f"""
    select {ExportedPost.sql("p")} as body, p.id
    from social_media_posts p join social_media_accounts a on a.id = p.account_id
    join influencers i on i.id = a.influencer_id
    where i.user_id = $1 and ($2::uuid is null or p.id > $2)
    order by p.id limit {PAGE_ROWS}
"""

EXPORT_CONNECTIONS = f"""
    select {ExportedConnection.sql("r", viewer="$1")} as body, r.id from connection_requests r
    where $1 in (r.sender_id, r.receiver_id) and ($2::uuid is null or r.id > $2)
    order by r.id limit {PAGE_ROWS}
"""

EXPORT_CONVERSATIONS = f"""
    select {ExportedConversation.sql("c", viewer="$1")} as body, c.id
    from conversation_participants p join conversations c on c.id = p.conversation_id
    where p.user_id = $1 and ($2::uuid is null or p.conversation_id > $2)
    order by p.conversation_id limit {PAGE_ROWS}
"""

# Conversation by conversation, each from its first message.
EXPORT_MESSAGES = f"""
    select {ExportedMessage.sql("m")} as body, m.conversation_id, m.seq
    from conversation_participants p cross join lateral (
        select * from messages m
        where m.conversation_id = p.conversation_id and m.sender_id = $1
            and ($2::uuid is null or p.conversation_id > $2 or m.seq > $3::bigint)
        order by m.seq limit {PAGE_ROWS}
    ) m
    where p.user_id = $1 and ($2::uuid is null or p.conversation_id >= $2)
    order by p.conversation_id, m.seq limit {PAGE_ROWS}
"""

EXPORT_NOTIFICATIONS = f"""
    select {Notification.sql("n")} as body, n.updated_at, n.id from notifications n
    where n.user_id = $1 and ($2::timestamptz is null or (n.updated_at, n.id) < ($2, $3::uuid))
    order by n.updated_at desc, n.id desc limit {PAGE_ROWS}
"""

EXPORT_SESSIONS = f"""
    select {ExportedSession.sql("s")} as body, s.id from sessions s
    where s.user_id = $1 and ($2::uuid is null or s.id > $2)
    order by s.id limit {PAGE_ROWS}
"""

# Section → its statement and the number of columns of its key.
SECTIONS = {
    "socialMediaAccounts": (EXPORT_SOCIAL_ACCOUNTS, 1),
    "socialMediaPosts": (EXPORT_POSTS, 1),
    "connections": (EXPORT_CONNECTIONS, 1),
    "conversations": (EXPORT_CONVERSATIONS, 1),
    "messages": (EXPORT_MESSAGES, 2),
    "notifications": (EXPORT_NOTIFICATIONS, 2),
    "sessions": (EXPORT_SESSIONS, 1),
}


class ExportData(Handler):
    @endpoint(USER, returns=Export)
    async def get(self) -> None:
        """Download all stored data of the caller, without secrets."""
        account = await self.db.fetchval(EXPORT_ACCOUNT, self.caller.id)
        if account is None:
            raise NotAuthenticated
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("Content-Disposition", 'attachment; filename="beautiful-encer.json"')
        async with asyncio.timeout(EXPORT_SECONDS):
            await self.pass_on(b'{"success":true,"data":{"account":' + orjson.dumps(account))
            for name, (statement, columns) in SECTIONS.items():
                separator = b""
                await self.pass_on(f',"{name}":['.encode())
                async for rows in self.pages(statement, columns):
                    await self.pass_on(separator + orjson.dumps([row["body"] for row in rows])[1:-1])
                    separator = b","
                await self.pass_on(b"]")
        self.finish(b"}}")

    async def pass_on(self, piece: bytes) -> None:
        """Send a part and wait until the client has received it."""
        self.write(piece)
        await self.flush()

    async def pages(self, statement: str, columns: int) -> AsyncIterator[list[Any]]:
        key: tuple[Any, ...] = (None,) * columns
        while True:
            rows = await self.db.fetch(statement, self.caller.id, *key)
            if rows:
                yield rows
            if len(rows) < PAGE_ROWS:
                return
            key = tuple(rows[-1])[1:]


routes = [("/profile/export", ExportData)]
