"""A rolling restart of all three instances under load: no request may fail, no message may be missed.

`make drills`, or `.venv/bin/python -m tests.drills.rolling`. Requests are sent once, so plain failures are counted.
"""

import asyncio
import random
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import uvloop
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from tests.drills.checks import check
from tests.drills.clients import Client, Record
from tests.drills.environment import Environment
from tests.helpers.scratch import scratch_folder

CONVERSATIONS = 8
PAUSE_SECONDS = 0.05
DEADLINE_SECONDS = 300.0


async def request(client: Client, record: Record, outcomes: Counter[str], stopping: asyncio.Event) -> None:
    """Post a message, edit it and list the conversation, once each, until `stop` is set."""
    path = f"/chat/conversations/{client.member.conversation_id}/messages"
    while not stopping.is_set():
        client_message_id = str(uuid.uuid4())
        record.sent_at[client_message_id] = record.now()
        try:
            method = "POST"
            body = {"content": "rolling", "clientMessageId": client_message_id}
            message = (await client.call(method, path, body))["data"]
            outcomes["POST fulfilled"] += 1
            record.acknowledged[client_message_id] = "rolling"
            method = "PATCH"
            record.changes_tried[client.member.conversation_id] += 1
            await client.call(method, f"/chat/messages/{message['id']}", {"content": "rolled"})
            outcomes["PATCH fulfilled"] += 1
            record.changes_acknowledged[client.member.conversation_id] += 1
            record.acknowledged[client_message_id] = "rolled"
            method = "GET"
            await client.call(method, path + "?peek=true&limit=5")
            outcomes["GET fulfilled"] += 1
        except (HTTPClientError, OSError, TimeoutError) as error:
            outcomes[f"{method} failed: {error}"] += 1
        await asyncio.sleep(client.rng.uniform(0, 2 * PAUSE_SECONDS))


async def drill(folder: Path) -> bool:
    environment = Environment(folder)
    tasks: list[asyncio.Task[None]] = []
    try:
        await environment.start()
        if not environment.proxied:
            print("A rolling restart needs nginx in front; skipped.")
            return True
        assert environment.cluster and environment.restarting
        environment.restarting.cancel()  # roll() restarts the instances that it stops
        record, outcomes, stopping = Record(), Counter[str](), asyncio.Event()
        http = AsyncHTTPClient(force_instance=True, max_clients=200)
        rng = random.Random(1)
        clients = [
            Client(environment.base(number), member, record, http, random.Random(rng.random()))
            for number, member in enumerate(await environment.add_members(CONVERSATIONS))
        ]
        tasks = [asyncio.create_task(client.run()) for client in clients]
        requests = [asyncio.create_task(request(client, record, outcomes, stopping)) for client in clients]
        await asyncio.sleep(2)
        began = time.monotonic()
        await asyncio.to_thread(environment.cluster.roll)
        print(f"Three instances restarted in {time.monotonic() - began:.0f} s.", flush=True)
        stopping.set()
        await asyncio.gather(*requests)
        conn = await environment.connect()
        findings = await check(conn, clients, record)
        await conn.close()
        for outcome, count in sorted(outcomes.items()):
            print(f"{count:6}  {outcome}")
        print(f"{len(record.reconnects):6}  sockets that reconnected to another instance")
        for line in [*findings.lost, *findings.gaps, *findings.views, *findings.marks, *findings.violations]:
            print(f"        {line}")
        return findings.clean and not any("failed" in outcome for outcome in outcomes)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await environment.stop()


def main() -> int:
    with scratch_folder("encer-drill-") as folder:
        passed = uvloop.run(asyncio.wait_for(drill(Path(folder)), DEADLINE_SECONDS))
    print("No request failed." if passed else "FAILED: a request failed or a guarantee is broken; see the lines above.")
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
