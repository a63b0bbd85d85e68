"""The drill: thousands of messages through three instances while parts fail; then every guarantee is checked.

`make drills`, or `.venv/bin/python -m tests.drills.run --seed 7 --messages 10000 --faults 32`
"""

import argparse
import asyncio
import random
import sys
import time
import uuid
from pathlib import Path

import uvloop
from tornado.httpclient import AsyncHTTPClient

from tests.drills.acts import act
from tests.drills.clients import Client, Record
from tests.drills.faults import FAULTS
from tests.drills.history import Findings, check
from tests.drills.picture import Struck, draw
from tests.drills.report import markdown, summary
from tests.drills.stage import Stage
from tests.helpers.scratch import scratch_folder

CONVERSATIONS = 12
HOLD_SECONDS = (1.0, 8.0)
REST_SECONDS = (3.0, 6.0)
CALM_SECONDS = 3.0  # before the first fault, for the picture
RECOVER_SECONDS = 60.0
DEADLINE_SECONDS = 1200.0
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


async def talk(client: Client, record: Record, wanted: int, enough: asyncio.Event, pause: float) -> None:
    number = 0
    while not enough.is_set() or len(record.acknowledged) < wanted:
        number += 1
        await act(client, str(uuid.uuid4()), f"{number} 🌸 {client.member.user_id[:8]}")
        await asyncio.sleep(client.chance.uniform(0, 2 * pause))


async def recover(record: Record, clients: list[Client], healed: float) -> float:
    """Return the seconds until every conversation has delivered a message that was sent after the fault."""
    missing = {client.member.conversation_id for client in clients}
    looked, deadline = 0, time.monotonic() + RECOVER_SECONDS
    while missing and time.monotonic() < deadline:
        for when, sent, conversation_id in record.deliveries[looked:]:
            looked += 1
            if sent >= healed and conversation_id in missing:
                missing.discard(conversation_id)
                last = when
        await asyncio.sleep(0.05)
    return RECOVER_SECONDS if missing else last - healed


async def harm(stage: Stage, clients: list[Client], record: Record, chance: random.Random, count: int) -> list[Struck]:
    """Inject each kind of fault in a seeded random order, repeatedly."""
    struck: list[Struck] = []
    names: list[str] = []
    await asyncio.sleep(CALM_SECONDS)
    while len(struck) < count:
        names = names or chance.sample(sorted(FAULTS), len(FAULTS))
        name = names.pop()
        began = record.now()
        async with FAULTS[name](stage, clients, chance) as what:
            await asyncio.sleep(chance.uniform(*HOLD_SECONDS))
        fault = Struck(name, what, began, record.now())
        struck.append(fault)
        fault.recovered = await recover(record, clients, fault.healed)
        print(
            f"{fault.began:6.1f} s  {len(struck):3}/{count}  {name:22} {what:32} {fault.healed - fault.began:4.1f} s,"
            f" back after {fault.recovered:4.1f} s   {len(record.acknowledged)} acknowledged",
            flush=True,
        )
        await asyncio.sleep(chance.uniform(*REST_SECONDS))
    return struck


Outcome = tuple[Findings, Record, list[Struck]]


async def drill(folder: Path, seed: int, messages: int, faults: int, pause: float) -> Outcome:
    chance = random.Random(seed)
    stage = Stage(folder)
    tasks: list[asyncio.Task[None]] = []
    try:
        await stage.set()
        print(
            f"Three instances {'behind nginx' if stage.proxied else 'without nginx, which is not installed'}.",
            flush=True,
        )
        record = Record()
        http = AsyncHTTPClient(force_instance=True, max_clients=200)
        members = await stage.people(CONVERSATIONS)
        clients = [
            Client(stage.base(number), member, record, http, random.Random(chance.random()))
            for number, member in enumerate(members)
        ]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        enough = asyncio.Event()
        talking = [asyncio.create_task(talk(client, record, messages, enough, pause)) for client in clients]
        struck = await harm(stage, clients, record, chance, faults)
        enough.set()
        await asyncio.gather(*talking)
        conn = await stage.connect()
        findings = await check(conn, clients, record)
        await conn.close()
        findings.unexpected = stage.unexpected()
        return findings, record, struck
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await stage.strike()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--messages", type=int, default=10_000, help="at least so many are acknowledged")
    parser.add_argument("--faults", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.35, help="mean seconds between a client's messages")
    parser.add_argument("--keep", action="store_true", help="write docs/reliability.md and docs/reliability.svg")
    options = parser.parse_args()
    with scratch_folder("encer-drill-") as folder:
        began = time.monotonic()
        work = drill(Path(folder), options.seed, options.messages, options.faults, options.pause)
        findings, record, struck = uvloop.run(asyncio.wait_for(work, DEADLINE_SECONDS))
    text = summary(findings, record, struck, time.monotonic() - began)
    print(text)
    if options.keep:
        command = f"make drills SEED={options.seed} MESSAGES={options.messages} FAULTS={options.faults}"
        (DOCS / "reliability.md").write_text(markdown(struck, command, text))
        title = f"{len(record.acknowledged):,} messages, {len(struck)} faults, seed {options.seed}"
        (DOCS / "reliability.svg").write_text(draw(record.deliveries, struck, title))
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())
