"""What must hold once the dust has settled: nothing acknowledged is lost, doubled, reordered, or seen otherwise."""

import asyncio
import time
from dataclasses import dataclass, field

import asyncpg

from tests.drills.clients import Client, Record

SETTLE_SECONDS = 40.0  # a half-open socket is noticed and replaced within this

LIST_MESSAGES = """
    select conversation_id::text, sender_id::text, seq, rev, client_message_id, content from messages
    order by conversation_id, seq
"""
LIST_COUNTERS = "select id::text, last_rev, last_seq from conversations"
LIST_NOTIFICATIONS = """
    select conversation_id::text, user_id::text, (metadata->>'count')::int as count from notifications
    where type = 'NEW_MESSAGE'
"""


@dataclass
class Findings:
    stored: int = 0
    acknowledged: int = 0
    settled_seconds: float = 0.0
    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)
    views: list[str] = field(default_factory=list)
    notifications: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        broken = (self.lost, self.doubled, self.gaps, self.views, self.notifications, self.violations)
        return not any((*broken, self.unexpected))


async def count_notified(conn: asyncpg.Connection) -> dict[tuple[str, str], int]:
    """(conversation, user) -> how many messages its notification counts."""
    return {(row["conversation_id"], row["user_id"]): row["count"] for row in await conn.fetch(LIST_NOTIFICATIONS)}


async def settle(conn: asyncpg.Connection, clients: list[Client]) -> float:
    """Wait until every client has caught up; how long that took. What has not by then is told by `check`."""
    began = time.monotonic()
    counters = {row["id"]: row["last_rev"] for row in await conn.fetch(LIST_COUNTERS)}
    counts = await count_notified(conn)

    def is_settled(client: Client) -> bool:
        here = client.member.conversation_id
        return client.live.is_set() and (client.position, client.notified) == (
            counters[here],
            counts.get((here, client.member.user_id), 0),
        )

    while time.monotonic() - began < SETTLE_SECONDS and not all(map(is_settled, clients)):
        await asyncio.sleep(0.05)
    return time.monotonic() - began


async def check(conn: asyncpg.Connection, clients: list[Client], record: Record) -> Findings:
    findings = Findings(settled_seconds=await settle(conn, clients), violations=record.violations)
    rows = await conn.fetch(LIST_MESSAGES)
    findings.stored, findings.acknowledged = len(rows), len(record.acknowledged)
    by_id: dict[str, str] = {}
    stored: dict[str, dict[int, tuple[str, str, int]]] = {}
    for row in rows:
        if row["client_message_id"] in by_id:
            findings.doubled.append(row["client_message_id"])
        by_id[row["client_message_id"]] = row["content"]
        messages = stored.setdefault(row["conversation_id"], {})
        messages[row["seq"]] = (row["sender_id"], row["content"], row["rev"])
    findings.lost = [key for key, content in record.acknowledged.items() if by_id.get(key) != content]
    for row in await conn.fetch(LIST_COUNTERS):
        messages = stored.get(row["id"], {})
        if list(messages) != list(range(1, row["last_rev"] + 1)) or row["last_seq"] != row["last_rev"]:
            findings.gaps.append(f"{row['id']}: {len(messages)} messages, counter at {row['last_rev']}")
    counts = await count_notified(conn)
    for client in clients:
        member = client.member
        messages = stored.get(member.conversation_id, {})
        seen = {seq: (view["senderId"], view["content"], view["rev"]) for seq, view in client.view.items()}
        where = f"{member.user_id} in {member.conversation_id}"
        if seen != messages or list(seen) != sorted(seen):
            findings.views.append(f"{where}: sees {len(seen)}, stored {len(messages)}")
        received = sum(sender != member.user_id for sender, _, _ in messages.values())
        if counts.get((member.conversation_id, member.user_id), 0) != received or client.notified != received:
            told = f"{counts.get((member.conversation_id, member.user_id))} noted, {client.notified} told"
            findings.notifications.append(f"{where}: {received} received, {told}")
    return findings
