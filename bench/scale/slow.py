"""Measure what a client that stops reading costs all others: `.venv/bin/python -m bench.scale.slow`, 90 s.

A thousand sockets receive messages of their own conversations, while another conversation is flooded with long ones. In
turns its client reads them, and does not: the others' delays must be the same.
"""

import asyncio
import json
import re
import socket as sockets
import statistics
import time
from pathlib import Path

import uvloop
import websockets

from bench.scale.helpers import BenchServers, Http, Pair, read_rounds, report, show
from tests.helpers.scratch import scratch_folder

PAIRS = 50
SOCKETS = 20  # per pair
PAUSE_SECONDS = 0.3  # between two messages of a pair
FLOOD = "長" * 4_900  # 15 KB a message
FLOOD_PAUSE_SECONDS = 0.002
ROUND_SECONDS = 10.0
CLOSE_SECONDS = 10.0
SENT_AT = re.compile(r'^."event":"message_sent".*"content" ?: ?"at ([0-9.]+)"')


class Bench:
    def __init__(self, servers: BenchServers) -> None:
        self.servers = servers
        self.delays: list[float] = []

    async def prepare(self) -> None:
        self.pairs = [await self.servers.pair() for _ in range(PAIRS)]
        self.senders = [await Http.open(self.servers.ports[0]) for _ in self.pairs]
        self.flooder = await Http.open(self.servers.ports[0])
        self.tasks = []
        for pair in self.pairs:
            for token in pair.tokens * (SOCKETS // 2):
                self.tasks.append(asyncio.create_task(self.listen(await self.join(pair, token))))

    async def join(self, pair: Pair, token: str, buffer: int = 0) -> websockets.ClientConnection:
        raw = sockets.socket()
        if buffer:  # the kernel's, so that the server notices soon
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, buffer)
        raw.setblocking(False)
        await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", self.servers.ports[0]))
        ws = await websockets.connect(
            f"ws://127.0.0.1:{self.servers.ports[0]}/ws",
            additional_headers={"Authorization": f"Bearer {token}"},
            compression=None,
            proxy=None,
            ping_interval=None,
            sock=raw,
            max_queue=4,
        )
        await ws.send(json.dumps({"event": "join_conversation", "data": {"conversationId": pair.conversation_id}}))
        return ws

    async def listen(self, ws: websockets.ClientConnection) -> None:
        async for frame in ws:
            if sent := SENT_AT.match(str(frame)):
                self.delays.append(time.monotonic() - float(sent[1]))

    async def send_messages(self, number: int, until: float) -> None:
        pair, http = self.pairs[number], self.senders[number]
        path = f"/api/v1/chat/conversations/{pair.conversation_id}/messages"
        await asyncio.sleep(PAUSE_SECONDS * number / PAIRS)
        while time.monotonic() < until:
            await http.post(path, {"content": f"at {time.monotonic()}"}, pair.tokens[0])
            await asyncio.sleep(PAUSE_SECONDS)

    async def round(self, reads: bool) -> tuple[list[float], int | None]:
        """Return the others' delays, and the close code of the client."""
        pair = await self.servers.pair()
        listener = await self.join(pair, pair.tokens[1], 0 if reads else 4096)
        draining = asyncio.create_task(self.listen(listener)) if reads else None
        if draining is None:
            listener.transport.pause_reading()
        self.delays = []
        until = time.monotonic() + ROUND_SECONDS
        talking = [asyncio.create_task(self.send_messages(number, until)) for number in range(PAIRS)]
        path = f"/api/v1/chat/conversations/{pair.conversation_id}/messages"
        while time.monotonic() < until:
            await self.flooder.post(path, {"content": FLOOD}, pair.tokens[0])
            await asyncio.sleep(FLOOD_PAUSE_SECONDS)
        await asyncio.gather(*talking)
        code = None
        if draining:
            draining.cancel()
        else:
            listener.transport.resume_reading()
            code = await close_code(listener)
        listener.transport.abort()
        return self.delays, code


async def close_code(ws: websockets.ClientConnection) -> int | None:
    """Return None if it was not closed, 1006 if the server has stopped waiting for its close frame."""
    try:
        async with asyncio.timeout(CLOSE_SECONDS):
            while True:
                await ws.recv()
    except TimeoutError:
        return None
    except websockets.ConnectionClosed as closed:
        return closed.rcvd.code if closed.rcvd else 1006


async def run(folder: Path, rounds: int) -> None:
    async with BenchServers(folder, instances=1) as servers:
        bench = Bench(servers)
        await bench.prepare()
        await bench.round(reads=True)  # warm
        delays: dict[bool, list[list[float]]] = {True: [], False: []}
        codes = []
        for _ in range(rounds):
            for reads in (True, False):
                receivers, code = await bench.round(reads)
                delays[reads].append(receivers)
                codes += [] if reads else [code]
        for what, percent in (("half of 1,000 sockets have receivers a message", 50), ("  and 99 in 100 of them", 99)):
            calm, slow = ([quantile(receivers, percent) for receivers in delays[reads]] for reads in (True, False))
            report(what, calm, "ms later")
            ratios = [one / other for one, other in zip(slow, calm, strict=True)]
            print(f"    while one does not read: {show(ratios)} × that")
        print(f"  who did not read was closed with {', '.join(map(str, codes))}")
        for task in bench.tasks:
            task.cancel()


def quantile(delays: list[float], percent: int) -> float:
    """Return the quantile in milliseconds."""
    return statistics.quantiles(delays, n=100)[percent - 1] * 1e3


def main() -> None:
    rounds = read_rounds(__doc__, 4)
    with scratch_folder("encer-bench-") as folder:
        uvloop.run(run(Path(folder), rounds))


if __name__ == "__main__":
    main()
