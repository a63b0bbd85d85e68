"""Rules of RFC 6455 that Tornado does not check: forbidden frames close the socket, and all are counted.

A socket has one task, which reads its frames and handles them. Tornado makes a second task for each frame, and one
that sleeps between two pings (timers.py sends them here). The messages of one iteration of the event loop are written
together, because a system call costs more than the message. Tornado has no public hook for any of this.
tests/realtime/test_socket.py fails if Tornado changes what is overridden here.
"""

import asyncio
import sys
from contextlib import suppress
from typing import Any

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from realtime.sockets import close_codes

TEXT, CLOSE, IS_CONTROL, FINAL = 0x1, 0x8, 0x8, 0x80  # two opcodes, the bit of those that control, that of a last frame
# The codes that a close frame may contain (§7.4): registered ones, and those of libraries and applications.
CLOSE_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
MAX_MESSAGE_BYTES = 64 * 1024  # of a message, in one frame or in fragments
# Compression is off: it costs 164 KiB a socket. Tornado sends no pings, because timers.py does.
PARAMETERS = _WebSocketParams(max_message_size=MAX_MESSAGE_BYTES)
FRAME_COST = 1024  # bytes; so much work is a frame besides its bytes
WORK_AT_ONCE = 256 * 1024  # bytes of frames; then other sockets have a turn, even if a client has sent more
WRITE_BYTES = 16 * 1024  # of messages that are written together; a longer one is written alone


class Protocol(WebSocketProtocol13):
    # Beside the dictionary of Tornado's class, because a dictionary of more than 30 attributes takes 1.6 KiB.
    __slots__ = ("handled", "running", "unwritten")
    handler: Any  # the Socket

    def __init__(self, socket: Any, stream: IOStream) -> None:
        """`socket.count_frame` is called for control frames and fragments; the socket itself counts messages."""
        super().__init__(socket, False, PARAMETERS)
        self.stream = stream
        self.handled = False
        self.unwritten = b""  # messages, as frames, until the next iteration of the event loop
        self._received_pong = True
        self.running = asyncio.create_task(self._run())

    async def _run(self) -> None:
        """Open the socket, then read and handle its frames until it closes."""
        work = 0
        try:
            await self.handler.open()
            while not self.client_terminated:
                before = self._wire_bytes_in
                self._frame_mask, self.handled = None, False
                await self._receive_frame()
                if not self.handled and not self.client_terminated:  # a fragment
                    self.handler.count_frame()
                    if self._frame_mask is None:
                        self._abort()
                work += FRAME_COST + self._wire_bytes_in - before
                if work >= WORK_AT_ONCE:
                    work = 0
                    await asyncio.sleep(0)
        except StreamClosedError:
            self._abort()
        except Exception:
            self.handler.log_exception(*sys.exc_info())
            self._abort()
        finally:
            self.handler.on_ws_connection_close(self.close_code, self.close_reason)

    def _read_bytes(self, count: int) -> Any:
        """Return the stream's future; Tornado's method wraps each one in a coroutine."""
        self._wire_bytes_in += count
        return self.stream.read_bytes(count)

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        """Check a message or control frame; Tornado calls it with each one, and awaits what it returns."""
        self.handled = True
        if self._frame_mask is None or (opcode == CLOSE and not is_close(data)):  # §5.1: clients mask all frames
            self._abort()
            return None
        if opcode == TEXT and not self.client_terminated:
            try:
                return self.handler.on_message(data.decode())
            except UnicodeDecodeError:
                self._abort()
                return None
        if opcode & IS_CONTROL:
            self.handler.count_frame()
        return super()._handle_message(opcode, data)

    def send_ping(self) -> None:
        """Send a ping. Close if the last one was not answered."""
        if not self._received_pong:
            self.close(reason="ping timed out")
        elif not self.is_closing():
            self._received_pong = False
            with suppress(StreamClosedError):  # writing what waits has found the connection lost
                self.write_ping(b"")

    def write_text(self, message: bytes) -> bool:
        """Write a message with the others of this iteration of the event loop, without the task that Tornado's
        `write_message` makes for each. Return False, and write nothing, if the stream still holds earlier bytes."""
        if len(self.unwritten) + len(message) > WRITE_BYTES:
            self.flush()
        if self.stream.writing():
            return False
        if not self.unwritten:
            asyncio.get_running_loop().call_soon(self.flush)
        self.unwritten += text_header(len(message)) + message
        return True

    def flush(self) -> None:
        frames, self.unwritten = self.unwritten, b""
        if frames and not self.stream.closed():
            self.stream.write(frames)  # its future is for flow control; the stream handles errors

    def _write_frame(self, fin: bool, opcode: int, data: bytes, flags: int = 0) -> Any:
        """Keep the order: control frames and the queue's messages (send_queue.py) follow what waits here."""
        self.flush()
        return super()._write_frame(fin, opcode, data, flags)

    def _abort(self) -> None:
        """Send a close frame first: Tornado sends none when a frame breaks the protocol."""
        if not self.client_terminated:
            self.close(close_codes.PROTOCOL_ERROR, "protocol error")
        super()._abort()


def is_close(data: bytes) -> bool:
    """Return whether a close frame may contain this: nothing, or a code and a reason."""
    try:
        data[2:].decode()
    except UnicodeDecodeError:
        return False
    return not data or int.from_bytes(data[:2], "big") in CLOSE_CODES


def text_header(length: int) -> bytes:
    """Return what precedes a text message of this length in its frame (§5.2)."""
    if length < 126:
        return bytes((FINAL | TEXT, length))
    if length < 2**16:
        return bytes((FINAL | TEXT, 126, length >> 8, length & 0xFF))
    return bytes((FINAL | TEXT, 127)) + length.to_bytes(8, "big")
