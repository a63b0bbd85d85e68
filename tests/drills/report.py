"""The drill's findings as text."""

from statistics import median, quantiles

from tests.drills.clients import Record
from tests.drills.history import Findings
from tests.drills.picture import Struck

SHOWN = 60


def summary(findings: Findings, record: Record, struck: list[Struck], seconds: float) -> str:
    delays = sorted(when - sent for when, sent, _ in record.deliveries)
    percentiles = quantiles(delays, n=1000)
    checks = {
        "acknowledged but not stored": findings.lost,
        "a clientMessageId stored twice": findings.doubled,
        "conversations with a gap": findings.gaps,
        "clients whose view differs from the database": findings.views,
        "clients with another number of unread messages": findings.notifications,
        "read marks lost, or not delivered to the other user": findings.marks,
        "events delivered twice or out of order": findings.violations,
        "lines of the logs that tell of a defect": findings.unexpected,
    }
    lines = [
        "",
        f"{findings.acknowledged:,} messages acknowledged, {findings.stored:,} stored;"
        f" {len(struck)} faults in {seconds:.0f} s",
        f"{record.changes_acknowledged.total():,} edits and deletions, {record.readings:,} read marks",
        f"from first try to delivery: median {median(delays) * 1000:.0f} ms, p99 {percentiles[989]:.2f} s,"
        f" slowest {delays[-1]:.1f} s (faults included)",
        f"{len(record.reconnects)} reconnects; tries that had to be repeated: "
        + (", ".join(f"{count} × {name}" for name, count in sorted(record.refusals.items())) or "none"),
        f"all clients had caught up {findings.settled_seconds:.1f} s after the last message",
        "",
        *(f"{len(found):6}  {what}" for what, found in checks.items()),
        *(f"        {line}" for found in checks.values() for line in found[:SHOWN]),
        "",
        "Nothing was lost." if findings.clean else "THE PROMISE IS BROKEN.",
    ]
    return "\n".join(lines)


INTRODUCTION = """\
# Reliability

The drill runs three instances behind nginx, one PostgreSQL and one Redis. Clients chat in pairs, by socket and by
REST. They send, edit, delete and read messages and reconnect when they lose the connection. They join with the last
`rev` that they know and repeat every command that was not acknowledged, a message with the same `clientMessageId`.
Meanwhile the drill kills (-9), stops and freezes (SIGSTOP) processes, and TCP proxies before nginx, PostgreSQL and
Redis cut connections, delay data or pass no data on. The order is random, and the same seed repeats it. Afterwards
the drill compares the acknowledged messages with the stored ones, and the stored ones with what each client saw.

Reproduce it: `{command}` (add `KEEP=1` to write this page and the picture).
`make test` runs a short version with five of the faults: `tests/server/test_drill.py`.

```
{text}
```

![Deliveries and faults over time](reliability.svg)

Recovery is the time from the end of a fault until *every* conversation has delivered a message that was sent after the
fault. The fault of a killed or restarted instance ends when the instance is ready again.

| fault | times | longest, s | recovery, median s | recovery, slowest s |
|---|---|---|---|---|
{rows}
"""


def markdown(struck: list[Struck], command: str, text: str) -> str:
    kinds: dict[str, list[Struck]] = {}
    for fault in struck:
        kinds.setdefault(fault.name, []).append(fault)
    rows = [
        f"| {name} | {len(faults)} | {max(f.healed - f.began for f in faults):.1f} |"
        f" {median(f.recovered for f in faults):.1f} | {max(f.recovered for f in faults):.1f} |"
        for name, faults in sorted(kinds.items())
    ]
    return INTRODUCTION.format(command=command, text=text.strip(), rows="\n".join(rows))
