"""Keep-alive connections that send requests at the times they are due."""

import asyncio
from typing import Any

HEAD_END = b"\r\n\r\n"


class Connection(asyncio.Protocol):
    """One request at a time."""

    def __init__(self) -> None:
        self.received = b""
        self.answer: asyncio.Future[bytes] | None = None
        self.transport: Any = None  # uvloop's is no subclass of asyncio.Transport

    @classmethod
    async def open(cls, port: int) -> "Connection":
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    async def request(self, request: bytes) -> int:
        """Return the status."""
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return int((await self.answer)[9:12])

    def data_received(self, data: bytes) -> None:
        self.received += data
        head, end, rest = self.received.partition(HEAD_END)
        if not end:
            return
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r")[0])
        if len(rest) >= length and self.answer and not self.answer.done():
            self.received = b""
            self.answer.set_result(head)

    def connection_lost(self, error: Exception | None) -> None:
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionError("the server closed the connection"))


class Pool:
    """Connections to one server. A request waits for a free one, and its delay includes this wait."""

    def __init__(self, port: int, size: int) -> None:
        self.port, self.size = port, size
        self.free: asyncio.Queue[Connection] = asyncio.Queue()

    async def start(self) -> "Pool":
        for _ in range(self.size):
            self.free.put_nowait(await Connection.open(self.port))
        return self

    async def request(self, request: bytes) -> int:
        connection = await self.free.get()
        try:
            return await connection.request(request)
        finally:
            self.free.put_nowait(connection)


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: bench\r\n\r\n".encode()


def post(path: str, body: bytes, more: str = "", kind: str = "application/json") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n{more}\r\n"
    return head.encode() + body
