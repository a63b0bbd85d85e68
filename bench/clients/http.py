"""The load client: a separate process that sends prepared requests over keep-alive connections.

An order is `{"port", "file", "count", "connections", "seconds"?}`, its answer `{"answered", "errors", "error"}`. After
`seconds` no request is sent. The file holds whole requests, separated by NUL; they are sent in turn.
The measured figure is CPU of the server, so the speed of this client changes nothing but the time a measurement takes.
"""

import asyncio
import math
import time
from collections.abc import Iterator
from functools import lru_cache
from itertools import cycle
from pathlib import Path
from typing import Any

from bench.clients.orders import run

REQUESTS_SECONDS = 60.0  # for a whole order; a server that hangs ends the measurement
HEAD_END = b"\r\n\r\n"
SEPARATOR = b"\0"


@lru_cache(1)  # the next case has different requests
def read_requests(path: str) -> Iterator[bytes]:
    return cycle(Path(path).read_bytes().split(SEPARATOR))


class Connection(asyncio.Protocol):
    """Sends a request, waits for its whole response, sends the next one, until the order is done."""

    def __init__(self, order: "Order") -> None:
        self.order = order
        self.received = b""
        self.ends_at = -1  # length of the response; -1: its headers have not arrived

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport: Any = transport  # uvloop's is no subclass of asyncio.Transport
        self.send()

    def send(self) -> None:
        request = self.order.next_request()
        if request is None:
            self.transport.close()
            return
        self.transport.write(request)

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if self.ends_at < 0:
            head_end = self.received.find(HEAD_END)
            if head_end < 0:
                return
            head = self.received[:head_end].lower()
            _, _, length = head.partition(b"content-length: ")
            self.ends_at = head_end + len(HEAD_END) + int(length.partition(b"\r")[0])
            self.failed = head[9:10] != b"2"
        if len(self.received) >= self.ends_at:
            if self.failed:
                self.order.last_error = self.received[:400].decode(errors="replace")
            self.order.answered += 1
            self.order.errors += self.failed
            self.received, self.ends_at = b"", -1
            self.send()

    def connection_lost(self, error: Exception | None) -> None:
        self.order.connection_ended()


class Order:
    """Requests of a file, sent in turn by several connections."""

    def __init__(self, port: int, file: str, count: int, connections: int, seconds: float = math.inf) -> None:
        self.port, self.left, self.open = port, count, connections
        self.requests = read_requests(file)
        self.ends = time.monotonic() + seconds
        self.answered = self.errors = 0
        self.last_error = ""
        self.done = asyncio.get_running_loop().create_future()

    def next_request(self) -> bytes | None:
        if self.left <= 0 or time.monotonic() >= self.ends:
            return None
        self.left -= 1
        return next(self.requests)

    def connection_ended(self) -> None:
        self.open -= 1
        if self.open == 0 and not self.done.done():
            self.done.set_result(None)

    async def run(self) -> dict[str, int | str]:
        loop = asyncio.get_running_loop()
        for _ in range(self.open):
            await loop.create_connection(lambda: Connection(self), "127.0.0.1", self.port)
        async with asyncio.timeout(REQUESTS_SECONDS):
            await self.done
        return {"answered": self.answered, "errors": self.errors, "error": self.last_error}


async def act(order: dict[str, Any]) -> dict[str, Any]:
    return await Order(**order).run()


if __name__ == "__main__":
    run(act)
