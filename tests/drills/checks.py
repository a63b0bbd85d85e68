"""The checks after a drill: nothing acknowledged is lost, duplicated, reordered or different for a client."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import asyncpg

from tests.drills.clients import Client, Record

CATCH_UP_SECONDS = 40.0  # a half-open socket is noticed and replaced within this

LIST_MESSAGES = """
    select conversation_id::text, sender_id::text, seq, rev, client_message_id, content,
        is_edited, deleted_at is not null as is_deleted
    from messages
    order by conversation_id, seq
"""
LIST_COUNTERS = "select id::text, last_rev, last_seq from conversations"
LIST_NOTIFICATIONS = """
    select conversation_id::text, user_id::text, sum((metadata->>'count')::int)::int as count from notifications
    where type = 'NEW_MESSAGE' and not is_read group by 1, 2
"""
LIST_MARKS = "select conversation_id::text, user_id::text, last_read_seq from conversation_participants"


class MessageView(NamedTuple):
    """A message as the database stores it or a client shows it."""

    sender_id: str
    content: str
    rev: int
    is_edited: bool
    is_deleted: bool

    @classmethod
    def by(cls, view: dict[str, Any]) -> "MessageView":
        deleted = view["isDeleted"]
        return cls(view["senderId"], view["content"], view["rev"], view["isEdited"] and not deleted, deleted)


@dataclass
class Findings:
    stored: int = 0
    acknowledged: int = 0
    catch_up_seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)
    marks: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    logged_errors: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        broken = (self.lost, self.duplicated, self.gaps, self.views, self.notifications, self.marks, self.violations)
        return not any((*broken, self.logged_errors))


async def count_notified(conn: asyncpg.Connection) -> dict[tuple[str, str], int]:
    """Return (conversation, user) -> how many messages its unread notification counts."""
    return {(row["conversation_id"], row["user_id"]): row["count"] for row in await conn.fetch(LIST_NOTIFICATIONS)}


async def list_marks(conn: asyncpg.Connection) -> dict[tuple[str, str], int]:
    """Return (conversation, user) -> the last seq that the user has read."""
    return {(row["conversation_id"], row["user_id"]): row["last_read_seq"] for row in await conn.fetch(LIST_MARKS)}


async def wait_until_caught_up(conn: asyncpg.Connection, clients: list[Client]) -> float:
    """Wait until every client has caught up; return the seconds. `check` reports what has not."""
    began = time.monotonic()
    counters = {row["id"]: row["last_rev"] for row in await conn.fetch(LIST_COUNTERS)}
    counts, marks = await count_notified(conn), await list_marks(conn)

    def has_caught_up(client: Client) -> bool:
        here = client.member.conversation_id
        return client.live.is_set() and (client.position, client.notified, client.partner_has_read) == (
            counters[here],
            counts.get((here, client.member.user_id), 0),
            marks[here, client.member.partner_id],
        )

    while time.monotonic() - began < CATCH_UP_SECONDS and not all(map(has_caught_up, clients)):
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def check(conn: asyncpg.Connection, clients: list[Client], record: Record) -> Findings:
    findings = Findings(catch_up_seconds=await wait_until_caught_up(conn, clients), violations=record.violations)
    rows = await conn.fetch(LIST_MESSAGES)
    findings.stored, findings.acknowledged = len(rows), len(record.acknowledged)
    by_id: dict[str, str] = {}
    stored: dict[str, dict[int, MessageView]] = {}
    for row in rows:
        if row["client_message_id"] in by_id:
            findings.duplicated.append(row["client_message_id"])
        by_id[row["client_message_id"]] = row["content"]
        messages = stored.setdefault(row["conversation_id"], {})
        # Only clients that were connected know a message as it was before its deletion.
        edited = row["is_edited"] and not row["is_deleted"]
        messages[row["seq"]] = MessageView(row["sender_id"], row["content"], row["rev"], edited, row["is_deleted"])
    findings.lost = [key for key, content in record.acknowledged.items() if by_id.get(key) != content]
    for row in await conn.fetch(LIST_COUNTERS):
        messages = stored.get(row["id"], {})
        if not is_gapless(messages, row, record):
            findings.gaps.append(f"{row['id']}: {len(messages)} messages, counter at {row['last_rev']}")
    counts, marks = await count_notified(conn), await list_marks(conn)
    for client in clients:
        member = client.member
        messages = stored.get(member.conversation_id, {})
        seen = {seq: MessageView.by(view) for seq, view in client.view.items()}
        differing = [seq for seq in seen.keys() | messages.keys() if seen.get(seq) != messages.get(seq)]
        if differing:
            findings.views.append(f"{client.where}: sees {len(seen)}, stored {len(messages)}, other {differing[:9]}")
        mine, theirs = (marks[member.conversation_id, user] for user in (member.user_id, member.partner_id))
        unread = sum(
            seq > mine and message.sender_id != member.user_id and not message.is_deleted
            for seq, message in messages.items()
        )
        stored_count = counts.get((member.conversation_id, member.user_id), 0)
        if stored_count != unread or client.notified != unread:
            findings.notifications.append(
                f"{client.where}: {unread} unread, {stored_count} stored, {client.notified} received"
            )
        if mine != client.has_read or theirs != client.partner_has_read:
            known = f"{client.has_read} acknowledged, {client.partner_has_read} of {theirs} received"
            findings.marks.append(f"{client.where}: stored {mine}, {known}")
    return findings


def is_gapless(messages: dict[int, MessageView], counter: asyncpg.Record, record: Record) -> bool:
    """Return whether each message and each change has taken exactly one value of the counter."""
    changes = counter["last_rev"] - len(messages)
    return (
        record.changes_acknowledged[counter["id"]] <= changes <= record.changes_tried[counter["id"]]
        and counter["last_seq"] == max(messages, default=0)
        and counter["last_rev"] == max((message.rev for message in messages.values()), default=0)
    )
