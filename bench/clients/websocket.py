"""A WebSocket client that costs little, so that one process holds thousands of sockets and its delays are small.

A library makes a task and several queues for each socket. This knows what the measured servers send: unmasked text
frames, pings and close frames, none of them in fragments.
"""

import asyncio
import base64
import os
import socket as sockets
from collections.abc import Callable
from typing import Any

TEXT, CLOSE, PING, PONG = 1, 8, 9, 10
FIN, MASKED = 0x80, 0x80
NO_MASK = bytes(4)  # a mask that changes nothing
HEAD_END = b"\r\n\r\n"
OPEN_SECONDS = 60.0


class WebSocket(asyncio.Protocol):
    """Calls `hear` with each text frame. `code` is the server's close code, 1006 if it sent none."""

    def __init__(self, port: int, token: str, hear: Callable[[bytes], None]) -> None:
        self.port, self.token, self.hear = port, token, hear
        self.received = b""
        self.upgraded = False
        self.is_ready = False  # whether the first frame has arrived
        self.code: int | None = None
        loop = asyncio.get_running_loop()
        self.closed: asyncio.Future[int] = loop.create_future()
        self.waiting: asyncio.Future[bytes] | None = loop.create_future()  # for `ready`, then for answers
        self.transport: Any = None  # uvloop's is no subclass of asyncio.Transport

    @classmethod
    async def open(
        cls, port: int, token: str = "", hear: Callable[[bytes], None] = lambda frame: None, buffer: int = 0
    ) -> "WebSocket":
        """Connect and wait for the first frame, `ready`. `buffer` is the kernel's, in bytes."""
        socket, raw = cls(port, token, hear), sockets.socket()
        if buffer:
            raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, buffer)
        raw.setblocking(False)
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(OPEN_SECONDS):
            await loop.sock_connect(raw, ("127.0.0.1", port))
            await loop.create_connection(lambda: socket, sock=raw)
            assert socket.waiting
            await socket.waiting
        socket.waiting = None
        return socket

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        key = base64.b64encode(os.urandom(16)).decode()
        sign_in = f"Authorization: Bearer {self.token}\r\n" if self.token else ""
        transport.write(  # type: ignore[attr-defined]
            f"GET /ws HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUser-Agent: bench\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{sign_in}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        self.received = self.received + data if self.received else data
        if not self.upgraded:
            head, end, rest = self.received.partition(HEAD_END)
            if not end:
                return
            if not head.startswith(b"HTTP/1.1 101"):
                self.fail(ConnectionError(self.received[:300].decode(errors="replace")))
                return
            self.upgraded, self.received = True, rest
        self.read_frames()

    def read_frames(self) -> None:
        buffer, at = self.received, 0
        while len(buffer) - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length >= 126:
                size = 2 if length == 126 else 8
                if len(buffer) < body + size:
                    break
                length, body = int.from_bytes(buffer[body : body + size], "big"), body + size
            if len(buffer) < body + length:
                break
            self.take(buffer[at] & 15, buffer[body : body + length])
            at = body + length
        self.received = buffer[at:]

    def take(self, kind: int, payload: bytes) -> None:
        if kind == TEXT:
            waiting = self.waiting
            # An answer ends with the number of its request.
            if waiting and not waiting.done() and (not self.is_ready or b'"id":' in payload[-24:]):
                self.is_ready = True
                waiting.set_result(payload)
            self.hear(payload)
        elif kind == PING:
            self.write(PONG, payload)
        elif kind == CLOSE:
            self.code = int.from_bytes(payload[:2], "big")
            self.transport.close()

    def write(self, kind: int, payload: bytes) -> None:
        if len(payload) < 126:
            size = bytes((MASKED | len(payload),))
        else:
            size = bytes((MASKED | 126,)) + len(payload).to_bytes(2, "big")
        self.transport.write(bytes((FIN | kind,)) + size + NO_MASK + payload)

    def send(self, frame: bytes) -> None:
        self.write(TEXT, frame)

    async def ask(self, frame: bytes) -> bytes:
        """Send a frame with an id and return its answer."""
        self.waiting = asyncio.get_running_loop().create_future()
        self.send(frame)
        async with asyncio.timeout(OPEN_SECONDS):
            answer = await self.waiting
        self.waiting = None
        return answer

    def fail(self, error: Exception) -> None:
        if self.waiting and not self.waiting.done():
            self.waiting.set_exception(error)

    def connection_lost(self, error: Exception | None) -> None:
        self.code = self.code or 1006
        self.fail(ConnectionError(f"the socket closed with {self.code}"))
        if not self.closed.done():
            self.closed.set_result(self.code)

    def abort(self) -> None:
        self.transport.abort()
