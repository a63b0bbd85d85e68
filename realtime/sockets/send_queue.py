"""The frames that wait to be written to one socket: bounded, with a writer that runs only while frames wait.

Most frames never wait: they are written at once, and neither the queue nor its writer exists.
"""

import asyncio
from collections import deque
from typing import Protocol

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

from realtime.event import Event

# A client that is this far behind does not read. It is closed and resumes from the database. With the copy of the frame
# that Tornado is writing, a socket holds at most 1 MiB.
MAX_BYTES = 1024 * 1024 - 64 * 1024


class Transport(Protocol):
    """The WebSocket that a client uses (realtime/sockets/socket.py)."""

    def write_now(self, frame: bytes) -> bool:
        """Write a frame if nothing waits to be written; return whether it did."""

    async def write_frame(self, frame: bytes) -> None: ...

    @property
    def heartbeat_seconds(self) -> float: ...

    def send_ping(self) -> None:
        """Send a ping, or close if the last one was not answered."""

    def close(self, code: int | None = None, reason: str | None = None) -> None: ...


class SendQueue:
    """The frames that wait for one socket."""

    __slots__ = ("bytes", "closed", "frames", "transport", "writer")

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.frames: deque[tuple[bytes, Event | None]] | None = None
        self.bytes = 0
        self.writer: asyncio.Task[None] | None = None
        self.closed = False

    def put(self, frame: bytes, event: Event | None = None) -> bool:
        """Write the frame at once if none waits, else queue it. Return False, and drop the queue, if it is full.

        The hub measures how long it takes to write an event at once; if its frame waits, the queue measures it."""
        if self.closed:
            return True
        frames = self.frames
        if frames is None:
            try:
                if self.transport.write_now(frame):
                    return True
            except (WebSocketClosedError, StreamClosedError):
                self.close()
                return True
            frames = self.frames = deque()
            self.writer = asyncio.create_task(self._write(frames))
        frames.append((frame, event))
        self.bytes += len(frame)
        if self.bytes > MAX_BYTES:
            self.close()
            return False
        return True

    def close(self) -> None:
        """Drop the queued frames; the client resumes from the database."""
        self.closed = True
        if self.frames:
            self.frames.clear()
        self.bytes = 0

    async def flushed(self) -> None:
        """Wait until all queued frames are written."""
        if self.writer:
            await asyncio.gather(self.writer, return_exceptions=True)

    async def _write(self, frames: deque[tuple[bytes, Event | None]]) -> None:
        try:
            while frames:
                frame, event = frames[0]
                await self.transport.write_frame(frame)
                if event is not None:
                    event.measure_delivery()
                if frames:  # it may have been closed meanwhile
                    frames.popleft()
                    self.bytes -= len(frame)
        except (WebSocketClosedError, StreamClosedError):
            self.close()
        finally:
            self.frames = self.writer = None
