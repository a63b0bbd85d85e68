"""Sends messages by REST at a fixed rate and measures when sockets receive them.

A delay counts from the time at which a message was due, so that a server that is late cannot hide it.
Orders: `{"do": "prepare", "group": …, "file": …, "posts": port, "sockets": port}` opens the sockets of the pairs;
`{"do": "send", "group": …, "rate": …, "seconds": …}` sends, and answers with the delays in milliseconds. With `flood`,
long messages go to one more pair meanwhile, whose socket reads them, or does not (`stalled`).
The file has `{"pairs": [{"path": …, "headers": …, "join": …, "tokens": […]}, …], "flood": {…}}`; a token is a socket.
"""

import asyncio
import contextlib
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.clients.orders import run
from bench.clients.posts import Pool, post
from bench.clients.websocket import WebSocket

CONNECTIONS = 32
SENT_AT = re.compile(rb'"event":"message_sent".{0,600}?"content" ?: ?"at ([0-9.]+)"')
WAIT_SECONDS = 5.0  # for the last messages
LATE = 10.0  # the delay of a message that does not arrive
FLOOD = "長" * 4_900  # 15 KB a message
FLOOD_PAUSE_SECONDS = 0.01
SMALL_BUFFER = 4096  # of the kernel, so that the server notices soon that its client does not read


class Group:
    def __init__(self, order: dict[str, Any]) -> None:
        self.ports = order["posts"], order["sockets"]
        self.data = json.loads(Path(order["file"]).read_text())
        self.pairs: list[dict[str, Any]] = self.data["pairs"]
        self.delays: list[float] = []

    async def prepare(self) -> None:
        self.posts = await Pool(self.ports[0], CONNECTIONS).start()
        for pair in self.pairs:
            for token in pair["tokens"]:
                socket = await WebSocket.open(self.ports[1], token, self.hear)
                await socket.ask(pair["join"].encode())

    def hear(self, frame: bytes) -> None:
        if sent := SENT_AT.search(frame):
            self.delays.append(time.monotonic() - float(sent[1]))

    async def send(self, rate: float, seconds: float) -> list[float]:
        self.delays = []
        count, began = int(rate * seconds), time.monotonic()
        tasks = []
        for number in range(count):
            due = began + number / rate
            await asyncio.sleep(due - time.monotonic())
            tasks.append(asyncio.create_task(self.post(self.pairs[number % len(self.pairs)], f"at {due:.6f}")))
        statuses = await asyncio.gather(*tasks)
        if failed := [status for status in statuses if status not in (200, 201)]:
            raise ConnectionError(f"{len(failed)} of {count} messages were refused with {failed[0]}")
        expected = sum(len(self.pairs[number % len(self.pairs)]["tokens"]) for number in range(count))
        until = time.monotonic() + WAIT_SECONDS
        while len(self.delays) < expected and time.monotonic() < until:
            await asyncio.sleep(0.01)
        return self.delays + [LATE] * (expected - len(self.delays))

    async def post(self, pair: dict[str, Any], content: str) -> int:
        return await self.posts.request(post(pair["path"], json.dumps({"content": content}).encode(), pair["headers"]))

    @contextlib.contextmanager
    def flooded(self, stalled: bool) -> Iterator[None]:
        task = asyncio.create_task(self.flood(stalled))
        try:
            yield
        finally:
            task.cancel()

    async def flood(self, stalled: bool) -> None:
        pair = self.data["flood"]
        socket = await WebSocket.open(self.ports[1], pair["tokens"][0], buffer=SMALL_BUFFER if stalled else 0)
        await socket.ask(pair["join"].encode())
        if stalled:
            socket.transport.pause_reading()
        try:
            while True:
                await self.post(pair, FLOOD)
                await asyncio.sleep(FLOOD_PAUSE_SECONDS)
        finally:
            socket.abort()


class Delivery:
    def __init__(self) -> None:
        self.groups: dict[str, Group] = {}

    async def act(self, order: dict[str, Any]) -> dict[str, Any]:
        if order["do"] == "prepare":
            group = self.groups[order["group"]] = Group(order)
            await group.prepare()
            return {}
        group = self.groups[order["group"]]
        flood = group.flooded(order["stalled"]) if "stalled" in order else contextlib.nullcontext()
        with flood:
            delays = await group.send(order["rate"], order["seconds"])
        return {"delays": [round(delay * 1e3, 3) for delay in delays]}


if __name__ == "__main__":
    run(Delivery().act)
