"""Rules of RFC 6455 that Tornado does not check: forbidden frames close the socket, and all are counted.

Tornado has no public hook for any of this.
tests/realtime/test_socket.py fails if Tornado changes what is overridden here.
"""

from collections.abc import Callable
from typing import Any

from tornado.websocket import WebSocketProtocol13

from realtime.sockets import close_codes

TEXT, CLOSE, IS_CONTROL = 0x1, 0x8, 0x8  # two opcodes, and the bit of those that are control frames
# The codes that a close frame may contain (§7.4): registered ones, and those of libraries and applications.
CLOSE_CODES = {1000, 1001, 1002, 1003, *range(1007, 1015), *range(3000, 5000)}


class Protocol(WebSocketProtocol13):
    def __init__(self, handler: Any, params: Any, count: Callable[[], None]) -> None:
        """`count` is called for control frames and fragments; the handler counts messages itself."""
        super().__init__(handler, False, params)
        self.count = count
        self.handled = False

    async def _receive_frame(self) -> None:
        self._frame_mask, self.handled = None, False
        await super()._receive_frame()
        if self.handled or self.client_terminated:
            return
        self.count()
        if self._frame_mask is None:
            self._abort()

    def _handle_message(self, opcode: int, data: bytes) -> Any:
        """Check a message or control frame; Tornado calls it with each one."""
        self.handled = True
        if self._frame_mask is None or (opcode == CLOSE and not is_close(data)):  # §5.1: clients mask all frames
            self._abort()
            return None
        if opcode & IS_CONTROL:
            self.count()
        return super()._handle_message(opcode, data)

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
