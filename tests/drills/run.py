"""The drill: send thousands of messages through three instances while parts fail, then check every guarantee.

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

from tests.drills.actions import act
from tests.drills.checks import Findings, check
from tests.drills.clients import Client, Record
from tests.drills.environment import Environment
from tests.drills.faults import FAULTS
from tests.drills.report import markdown, summary
from tests.drills.timeline import InjectedFault, draw
from tests.helpers.scratch import scratch_folder

CONVERSATIONS = 12
FAULT_SECONDS = (1.0, 8.0)
PAUSE_SECONDS = (3.0, 6.0)
LEAD_SECONDS = 3.0  # before the first fault, for the picture
RECOVER_SECONDS = 60.0
DEADLINE_SECONDS = 1200.0
DOCS = Path(__file__).resolve().parent.parent.parent / "docs"


async def send_messages(client: Client, record: Record, wanted: int, enough: asyncio.Event, pause: float) -> None:
    number = 0
    while not enough.is_set() or len(record.acknowledged) < wanted:
        number += 1
        await act(client, str(uuid.uuid4()), f"{number} 🌸 {client.member.user_id[:8]}")
        await asyncio.sleep(client.rng.uniform(0, 2 * pause))


async def measure_recovery(record: Record, clients: list[Client], ended: float) -> float:
    """Return the seconds until every conversation has delivered a message that was sent after the fault."""
    missing = {client.member.conversation_id for client in clients}
    checked, deadline = 0, time.monotonic() + RECOVER_SECONDS
    while missing and time.monotonic() < deadline:
        for when, sent, conversation_id in record.deliveries[checked:]:
            checked += 1
            if sent >= ended and conversation_id in missing:
                missing.discard(conversation_id)
                last = when
        await asyncio.sleep(0.05)
    return RECOVER_SECONDS if missing else last - ended


async def inject_faults(
    environment: Environment, clients: list[Client], record: Record, rng: random.Random, count: int
) -> list[InjectedFault]:
    """Inject each kind of fault in a seeded random order, repeatedly."""
    injected: list[InjectedFault] = []
    names: list[str] = []
    await asyncio.sleep(LEAD_SECONDS)
    while len(injected) < count:
        names = names or rng.sample(sorted(FAULTS), len(FAULTS))
        name = names.pop()
        began = record.now()
        async with FAULTS[name](environment, clients, rng) as what:
            await asyncio.sleep(rng.uniform(*FAULT_SECONDS))
        fault = InjectedFault(name, what, began, record.now())
        injected.append(fault)
        fault.recovered = await measure_recovery(record, clients, fault.ended)
        print(
            f"{fault.began:6.1f} s  {len(injected):3}/{count}  {name:22} {what:32} {fault.ended - fault.began:4.1f} s,"
            f" recovered after {fault.recovered:4.1f} s   {len(record.acknowledged)} acknowledged",
            flush=True,
        )
        await asyncio.sleep(rng.uniform(*PAUSE_SECONDS))
    return injected


Outcome = tuple[Findings, Record, list[InjectedFault]]


async def drill(folder: Path, seed: int, messages: int, faults: int, pause: float) -> Outcome:
    rng = random.Random(seed)
    environment = Environment(folder)
    tasks: list[asyncio.Task[None]] = []
    try:
        await environment.start()
        print(
            f"Three instances {'behind nginx' if environment.proxied else 'without nginx, which is not installed'}.",
            flush=True,
        )
        record = Record()
        http = AsyncHTTPClient(force_instance=True, max_clients=200)
        members = await environment.add_members(CONVERSATIONS)
        clients = [
            Client(environment.base(number), member, record, http, random.Random(rng.random()))
            for number, member in enumerate(members)
        ]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        enough = asyncio.Event()
        sending = [asyncio.create_task(send_messages(client, record, messages, enough, pause)) for client in clients]
        injected = await inject_faults(environment, clients, record, rng, faults)
        enough.set()
        await asyncio.gather(*sending)
        conn = await environment.connect()
        findings = await check(conn, clients, record)
        await conn.close()
        findings.logged_errors = environment.logged_errors()
        return findings, record, injected
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await environment.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--messages", type=int, default=10_000, help="the smallest number to acknowledge")
    parser.add_argument("--faults", type=int, default=32)
    parser.add_argument("--pause", type=float, default=0.35, help="mean seconds between a client's messages")
    parser.add_argument("--keep", action="store_true", help="write docs/reliability.md and docs/reliability.svg")
    options = parser.parse_args()
    with scratch_folder("encer-drill-") as folder:
        began = time.monotonic()
        work = drill(Path(folder), options.seed, options.messages, options.faults, options.pause)
        findings, record, injected = uvloop.run(asyncio.wait_for(work, DEADLINE_SECONDS))
    text = summary(findings, record, injected, time.monotonic() - began)
    print(text)
    if options.keep:
        command = f"make drills SEED={options.seed} MESSAGES={options.messages} FAULTS={options.faults}"
        (DOCS / "reliability.md").write_text(markdown(injected, command, text))
        title = f"{len(record.acknowledged):,} messages, {len(injected)} faults, seed {options.seed}"
        (DOCS / "reliability.svg").write_text(draw(record.deliveries, injected, title))
    return 0 if findings.clean else 1


if __name__ == "__main__":
    sys.exit(main())
