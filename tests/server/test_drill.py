"""A short drill of `make drills`: real processes are killed, frozen and disconnected while people chat."""

import asyncio
from pathlib import Path

from tests.drills import faults, run
from tests.helpers.programs import long_test
from tests.helpers.scratch import scratch_folder

IN_SHORT = ("kill an instance", "freeze an instance", "kill Redis", "freeze PostgreSQL", "cut clients")


@long_test()
async def test_nothing_is_lost_during_failures_of_all_parts(monkeypatch, capsys):
    monkeypatch.setattr(run, "FAULT_SECONDS", (0.8, 0.8))
    monkeypatch.setattr(run, "PAUSE_SECONDS", (0.2, 0.2))
    monkeypatch.setattr(run, "LEAD_SECONDS", 0.3)
    monkeypatch.setattr(run, "CONVERSATIONS", 4)
    monkeypatch.setattr(run, "FAULTS", {name: faults.FAULTS[name] for name in IN_SHORT})
    # Not in tmp_path: each start of pytest closes the parent of that folder to PostgreSQL's user.
    with scratch_folder("encer-drill-") as folder:
        async with asyncio.timeout(240):
            findings, _, injected = await run.drill(
                Path(folder), seed=1, messages=300, faults=len(IN_SHORT), pause=0.05
            )
    assert findings.clean, findings
    assert findings.acknowledged >= 300
    assert {fault.name for fault in injected} == set(IN_SHORT)
    assert max(fault.recovered for fault in injected) < 10
