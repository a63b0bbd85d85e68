"""Compare the events of the clients with the database: none lost, none repeated, all in order."""

from dataclasses import dataclass, field
from typing import Any

import asyncpg

LIST_MESSAGES = """
    select seq, rev, case when deleted_at is null then content end as content, client_message_id
    from messages where conversation_id = $1 order by seq
"""


@dataclass
class Findings:
    lost: list[str] = field(default_factory=list)
    duplicated: list[str] = field(default_factory=list)
    order: list[str] = field(default_factory=list)
    different: list[str] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        return not (self.lost or self.duplicated or self.order or self.different)


async def check_sent(conn: asyncpg.Connection, conversation_id: str, keys: set[str], findings: Findings) -> None:
    """Check that each confirmed message is in the database once."""
    stored = [row["client_message_id"] for row in await conn.fetch(LIST_MESSAGES, conversation_id)]
    findings.lost += [f"message {key} is not stored" for key in keys - set(stored)]
    findings.duplicated += [f"message {key} is stored twice" for key in keys if stored.count(key) > 1]


async def check_view(
    conn: asyncpg.Connection, conversation_id: str, who: str, report: dict[str, Any], findings: Findings
) -> None:
    """Check that the client's view equals the table, and that it received each message once and changes in order."""
    rows = await conn.fetch(LIST_MESSAGES, conversation_id)
    view = dict(report["view"])
    for row in rows:
        if row["seq"] not in view:
            findings.lost.append(f"{who} has not seen seq {row['seq']}")
        elif view[row["seq"]] != row["content"]:
            findings.different.append(f"{who} sees seq {row['seq']} as {view[row['seq']]!r}, not {row['content']!r}")
    findings.different += [
        f"{who} sees seq {seq}, which is not stored" for seq in view.keys() - {r["seq"] for r in rows}
    ]
    received = [(name, seq) for name, seq, _ in report["events"] if name in ("message", "deleted")]
    findings.duplicated += [
        f"{who} received {name} {seq} twice" for name, seq in set(received) if received.count((name, seq)) > 1
    ]
    changes = [(seq, rev) for _, seq, rev in report["events"]]
    findings.duplicated += [
        f"{who} received seq {seq} rev {rev} twice" for seq, rev in set(changes) if changes.count((seq, rev)) > 1
    ]
    unchanged = [seq for name, seq, rev in report["events"] if name == "message" and seq == rev]
    if unchanged != sorted(unchanged):
        findings.order.append(f"{who} received messages out of order")
    newest: dict[int, int] = {}
    for seq, rev in changes:
        if rev < newest.get(seq, 0):
            findings.order.append(f"{who} received rev {rev} of seq {seq} after rev {newest[seq]}")
        newest[seq] = rev
