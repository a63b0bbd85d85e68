"""Holds thousands of sockets of several servers, and sends frames over them.

Orders: `{"do": "open", "group": …, "port": …, "file": …, "first": …, "count": …}` opens sockets for the people of the
file; `{"do": "ask", "group": …, "first": …, "count": …, "frames": "join"}` sends each person's frames of this name, one
after the other, and waits for the answers; `{"do": "frames", "count": …}` waits until a group has received so many
frames; `{"do": "abort", "group": …}` cuts all connections.
The file has `[{"token": …, "frames": {"join": […], …}}, …]`.
"""

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from functools import cache
from pathlib import Path
from typing import Any

from bench.clients.orders import run
from bench.clients.websocket import WebSocket

AT_ONCE = 20
TRIES = 3  # of an upgrade that a busy machine refuses with 1013


@cache
def read_people(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(Path(file).read_text())
    return found


async def for_each(numbers: range, act: Callable[[int], Awaitable[None]], at_once: int) -> None:
    left = iter(numbers)

    async def work() -> None:
        for number in left:
            await act(number)

    await asyncio.gather(*(work() for _ in range(at_once)))


class Sockets:
    def __init__(self) -> None:
        self.groups: dict[str, dict[int, WebSocket]] = defaultdict(dict)
        self.frames: dict[str, int] = defaultdict(int)  # that each group has received

    async def act(self, order: dict[str, Any]) -> dict[str, Any]:
        group = order.get("group", "")
        people = read_people(order["file"]) if "file" in order else []
        numbers = range(order.get("first", 0), order.get("first", 0) + order.get("count", 0))
        match order["do"]:
            case "open":
                await for_each(numbers, lambda n: self.open(group, n, order["port"], people[n]["token"]), AT_ONCE)
            case "ask":
                frames = order["frames"]
                at_once = order.get("atOnce", AT_ONCE)
                await for_each(numbers, lambda n: self.ask(group, n, people[n]["frames"][frames]), at_once)
            case "frames":
                await self.receive(group, order["count"])
            case "abort":
                for socket in self.groups.pop(group, {}).values():
                    socket.abort()
                    await socket.closed
        return {"open": len(self.groups[group]), "frames": self.frames[group], "lost": self.lost(group)}

    async def open(self, group: str, number: int, port: int, token: str) -> None:
        def hear(frame: bytes) -> None:
            self.frames[group] += 1

        for attempt in range(TRIES):
            try:
                self.groups[group][number] = await WebSocket.open(port, token, hear)
                return
            except ConnectionError:
                if attempt == TRIES - 1:
                    raise

    async def ask(self, group: str, number: int, frames: list[str]) -> None:
        for frame in frames:
            answer = await self.groups[group][number].ask(frame.encode())
            if b'"event":"error"' in answer[:40]:
                raise ConnectionError(answer.decode())

    async def receive(self, group: str, count: int) -> None:
        """Wait until the group has received this many frames since its start."""
        async with asyncio.timeout(60):
            while self.frames[group] < count:
                await asyncio.sleep(0.005)

    def lost(self, group: str) -> int:
        return sum(socket.code is not None for socket in self.groups[group].values())


if __name__ == "__main__":
    run(Sockets().act)
