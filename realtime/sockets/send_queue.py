"""The frames that wait to be written to one socket: bounded, with a writer that runs only while frames wait."""

import asyncio
from collections import deque
from typing import Protocol

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

# A client that is this far behind does not read; it is closed and resumes from the database. With the copy of the frame
# that Tornado is writing, a socket holds at most 1 MiB.
MAX_BYTES = 1024 * 1024 - 64 * 1024


class Transport(Protocol):
    """The WebSocket that a client uses (realtime/sockets/socket.py)."""

    async def write_frame(self, frame: bytes) -> None: ...

    def close(self, code: int | None = None, reason: str | None = None) -> None: ...


class SendQueue:
    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.frames: deque[bytes] = deque()
        self.bytes = 0
        self.writer: asyncio.Task[None] | None = None
        self.closed = False

    def put(self, frame: bytes) -> bool:
        """Queue a frame; return at once. Return False, and drop the queue, if it is full."""
        if self.closed:
            return True
        self.frames.append(frame)
        self.bytes += len(frame)
        if self.bytes > MAX_BYTES:
            self.close()
            return False
        if self.writer is None:
            self.writer = asyncio.create_task(self._write())
        return True

    def close(self) -> None:
        """Drop the queued frames; the client resumes from the database."""
        self.closed = True
        self.frames.clear()
        self.bytes = 0

    async def flushed(self) -> None:
        """Wait until all queued frames are written."""
        if self.writer:
            await asyncio.gather(self.writer, return_exceptions=True)

    async def _write(self) -> None:
        try:
            while self.frames:
                await self.transport.write_frame(self.frames[0])
                if self.frames:  # it may have been closed meanwhile
                    self.bytes -= len(self.frames.popleft())
        except (WebSocketClosedError, StreamClosedError):
            self.close()
        finally:
            self.writer = None
