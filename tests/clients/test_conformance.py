"""Both clients lose nothing during cuts, restarts, long absences and expiring tokens; `make drills` does more."""

import asyncio

from clients.conformance.local import LocalEnvironment
from clients.conformance.runner import Runner, load
from tests.helpers.programs import needs_program
from tests.helpers.scratch import scratch_folder

SECONDS = 240.0  # an idle machine needs less than thirty


@needs_program("nginx", package="nginx")
async def test_python_and_typescript_lose_and_repeat_no_message(servers, db):
    short = load("short")
    with scratch_folder("encer-conformance-") as folder:
        environment = LocalEnvironment(folder, servers, short["tokenSeconds"])
        async with asyncio.timeout(SECONDS):
            result = await Runner(environment, short, seed=1).run()
    assert result.clean, (result.findings, result.errors)
    assert result.counts["messages"] >= 90
    assert result.counts["renewals"] >= 4  # of tokens that expire during the chat: one of each client
    assert all(
        result.counts[name] for name in ("cuts", "restarts", "black_holes", "delays", "disconnects", "edits", "deletes")
    )


def test_the_long_scenario_is_as_long_as_promised():
    long = load("long")
    injected = [fault["do"] for fault in long["faults"]]
    assert long["messages"] >= 2_000 and injected.count("cut") >= 20
    assert injected.count("restart") + injected.count("kill") >= 5
    assert any(fault["do"] == "disconnect" and fault.get("messages", 0) >= 600 for fault in long["faults"])
