"""What waits to be written to one socket: bounded, with one writer that runs only while there is something to write."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from tornado.iostream import StreamClosedError
from tornado.websocket import WebSocketClosedError

# A reader that is this far behind does not read; it is closed and resumes from the database. With the copy that
# Tornado holds of the frame being written, a socket holds 1 MiB.
MAX_BYTES = 1024 * 1024 - 64 * 1024


class SendQueue:
    def __init__(self, write: Callable[[bytes], Awaitable[None]], on_overflow: Callable[[], None]) -> None:
        self.write = write
        self.on_overflow = on_overflow
        self.frames: deque[bytes] = deque()
        self.bytes = 0
        self.writer: asyncio.Task[None] | None = None
        self.closed = False

    def put(self, frame: bytes) -> None:
        """Queue a frame; never waits. Over the bound the queue is dropped and its owner told."""
        if self.closed:
            return
        self.frames.append(frame)
        self.bytes += len(frame)
        if self.bytes > MAX_BYTES:
            self.close()
            self.on_overflow()
        elif self.writer is None:
            self.writer = asyncio.create_task(self._drain())

    def close(self) -> None:
        """Drop what waits; whoever needs it asks the database."""
        self.closed = True
        self.frames.clear()
        self.bytes = 0

    async def flushed(self) -> None:
        """Wait until all that was queued is written."""
        if self.writer:
            await asyncio.gather(self.writer, return_exceptions=True)

    async def _drain(self) -> None:
        try:
            while self.frames:
                await self.write(self.frames[0])
                if self.frames:  # it may have been closed meanwhile
                    self.bytes -= len(self.frames.popleft())
        except (WebSocketClosedError, StreamClosedError):
            self.close()
        finally:
            self.writer = None
