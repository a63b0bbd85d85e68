"""Rules of RFC 6455 that Tornado does not check: forbidden frames close the socket, and all are counted.

A socket has one task, which reads its frames and handles them. Tornado makes a second task for each frame, and one
that sleeps between two pings (timers.py sends them here). Tornado has no public hook for any of this.
tests/realtime/test_socket.py fails if Tornado changes what is overridden here.
"""

import asyncio
import sys
from typing import Any

from tornado.iostream import IOStream, StreamClosedError
from tornado.websocket import WebSocketProtocol13, _WebSocketParams

from realtime.sockets import close_codes

TEXT, CLOSE, IS_CONTROL = 0x1, 0x8, 0x8  # two opcodes, and the bit of those that are control frames
# The codes that a close frame may contain (§7.4): registered ones, and those of libraries and applications.
CLOSE_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}
MAX_MESSAGE_BYTES = 64 * 1024  # of a message, in one frame or in fragments
# Compression is off: it costs 164 KiB a socket. Tornado sends no pings, because timers.py does.
PARAMETERS = _WebSocketParams(max_message_size=MAX_MESSAGE_BYTES)
FRAME_COST = 1024  # bytes; so much work is a frame besides its bytes
WORK_AT_ONCE = 256 * 1024  # bytes of frames; then other sockets have a turn, even if a client has sent more


class Protocol(WebSocketProtocol13):
    # Beside the dictionary of Tornado's class, because a dictionary of more than 30 attributes takes 1.6 KiB.
    __slots__ = ("handled", "running")
    handler: Any  # the Socket

    def __init__(self, socket: Any, stream: IOStream) -> None:
        """`socket.count_frame` is called for control frames and fragments; the socket itself counts messages."""
        super().__init__(socket, False, PARAMETERS)
        self.stream = stream
        self.handled = False
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
            self.write_ping(b"")

    def write_text(self, frame: bytes) -> bool:
        """Write a message without the task that Tornado's `write_message` makes for each. Return False, and write
        nothing, if the stream still holds bytes of earlier ones. Raises StreamClosedError."""
        if self.stream.writing():
            return False
        self._write_frame(True, TEXT, frame)  # its future is for flow control; the stream handles errors
        return True

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
