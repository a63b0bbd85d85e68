"""The drill's findings as text."""

from statistics import median, quantiles

from tests.drills.checks import Findings
from tests.drills.clients import Record
from tests.drills.timeline import InjectedFault

SHOWN = 60


def summary(findings: Findings, record: Record, injected: list[InjectedFault], seconds: float) -> str:
    delays = sorted(when - sent for when, sent, _ in record.deliveries)
    percentiles = quantiles(delays, n=1000)
    checks = {
        "acknowledged but not stored": findings.lost,
        "clientMessageIds stored twice": findings.duplicated,
        "conversations with a gap": findings.gaps,
        "clients whose view differs from the database": findings.views,
        "clients with another number of unread messages": findings.notifications,
        "read marks lost, or not delivered to the other user": findings.marks,
        "events delivered twice or out of order": findings.violations,
        "log lines that show a defect": findings.logged_errors,
    }
    lines = [
        "",
        f"{findings.acknowledged:,} messages acknowledged, {findings.stored:,} stored;"
        f" {len(injected)} faults in {seconds:.0f} s",
        f"{record.changes_acknowledged.total():,} edits and deletions, {record.readings:,} read marks",
        f"from the first attempt to delivery: median {median(delays) * 1000:.0f} ms, p99 {percentiles[989]:.2f} s,"
        f" slowest {delays[-1]:.1f} s (faults included)",
        f"{len(record.reconnects)} reconnects; repeated attempts: "
        + (", ".join(f"{count} × {name}" for name, count in sorted(record.refusals.items())) or "none"),
        f"all clients had caught up {findings.catch_up_seconds:.1f} s after the last message",
        "",
        *(f"{len(found):6}  {what}" for what, found in checks.items()),
        *(f"        {line}" for found in checks.values() for line in found[:SHOWN]),
        "",
        "Nothing was lost." if findings.clean else "FAILED: a guarantee is broken; see the lines above.",
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


def markdown(injected: list[InjectedFault], command: str, text: str) -> str:
    kinds: dict[str, list[InjectedFault]] = {}
    for fault in injected:
        kinds.setdefault(fault.name, []).append(fault)
    rows = [
        f"| {name} | {len(faults)} | {max(f.ended - f.began for f in faults):.1f} |"
        f" {median(f.recovered for f in faults):.1f} | {max(f.recovered for f in faults):.1f} |"
        for name, faults in sorted(kinds.items())
    ]
    return INTRODUCTION.format(command=command, text=text.strip(), rows="\n".join(rows))
