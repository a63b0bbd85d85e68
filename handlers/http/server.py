"""The HTTP server under the application: it answers every request, and survives a lack of file descriptors.

A proxy counts a connection that closes without an answer as a failed instance. Tornado closes like that when headers
are too large or a request stops half-way, and it answers a malformed request with a bare status line.
"""

import asyncio
import contextlib
import copy
import errno
import math
import socket
import time
import uuid
from asyncio import Future
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import orjson
import structlog
from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPConnection, HTTPMessageDelegate
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream, UnsatisfiableReadError

from db.errors import BadRequest, DomainError
from handlers.http.errors import HeadersTooLarge, RequestTimeout

log = structlog.get_logger()

# Tornado has no hook for a malformed request. tests/guards/test_odd_requests.py notices when these bytes change.
BARE_REFUSAL = b"HTTP/1.1 400 Bad Request\r\n\r\n"
BARE_CONTINUE = b"HTTP/1.1 100 (Continue)\r\n\r\n"

# Python fills a buffer of this size with zeros for each read, also for one that finds nothing.
SMALL_READ = 4096  # most headers and frames
LARGE_READ = 64 * 1024

# Readable events that are ignored between two reads. If there are more, a handler still runs, or the client has gone.
MAX_IGNORED = 3

MAX_HEADERS = 256  # Tornado blocks the event loop about 10 µs for each; browsers send about 20

# After a refusal the client may still be sending. If the connection is closed at once, the kernel resets it, and the
# client loses the answer (RFC 9112 §9.6). These are bounds for clients that never stop.
LINGERING_SECONDS = 2.0
LINGERING_BYTES = 1024 * 1024
MAX_LINGERING = 256

# A client that has closed its sending side may wait for the answer, or be gone: both look alike. So a request whose
# handler runs then has this long to be answered.
HALF_CLOSED_SECONDS = 2.0

EXHAUSTED = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
PAUSE_SECONDS = 1.0  # connections wait in the kernel meanwhile; without a pause, accept would be called in a busy loop
LOG_SECONDS = 60.0

lingering: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references to tasks


class ClientStream(IOStream):
    """A client's connection. If it has to close before a request was answered, it sends the reason first."""

    begun = False  # bytes of the current request have arrived
    answered = False
    ignored = 0  # readable events that were ignored since the last read began
    malformed = False
    overflow: DomainError = HeadersTooLarge()  # the error if Tornado finds no delimiter within its bound
    reads_body = False
    body_seconds = math.inf
    due = 0.0  # when the headers, or then the body, must be complete; in the event loop's time
    timer: asyncio.TimerHandle | None = None

    def __init__(self, *args: Any, **bounds: Any) -> None:
        super().__init__(*args, **bounds)
        super().set_nodelay(True)

    def set_nodelay(self, value: bool) -> None:
        """Leave it set. Tornado sets and clears it for each response, which are two system calls."""

    def begin(self, header_seconds: float, body_seconds: float) -> None:
        """Expect the headers of the next request within this time; then `begin_body` expects its body."""
        self.begun = self._read_buffer_size > 0  # no public attribute tells of bytes that a client sent ahead
        self.answered = self.malformed = self.reads_body = False
        self.ignored = 0
        self.overflow = HeadersTooLarge()
        self.read_chunk_size = SMALL_READ
        self.body_seconds = body_seconds
        self.start_timer(header_seconds)

    def begin_body(self) -> None:
        self.reads_body = True
        self.start_timer(self.body_seconds)

    def leave_http(self) -> None:
        """Stop checking, because the connection is a WebSocket from now on."""
        self.reads_body = False
        if self.timer:
            self.timer.cancel()

    def start_timer(self, seconds: float) -> None:
        """One timer serves many requests: to set and cancel one for each, as Tornado does, costs a task and three
        iterations of the event loop."""
        loop = asyncio.get_running_loop()
        self.due = loop.time() + seconds
        if self.timer and self.timer.when() > self.due:
            self.timer.cancel()
            self.timer = None
        if self.timer is None:
            self.timer = loop.call_at(self.due, self.check_due)

    def check_due(self) -> None:
        """Close the connection if headers or a body are late. While a handler runs, nothing is due; `begin` starts the
        timer again for the next request."""
        self.timer = None
        loop = asyncio.get_running_loop()
        if self.closed():
            return
        if loop.time() < self.due:
            self.timer = loop.call_at(self.due, self.check_due)
        elif self.reads_headers or (self.reads_body and self.reading()):
            self.close()

    @property
    def reads_headers(self) -> bool:
        return self._read_regex is not None  # no public attribute; Tornado reads only headers by a regular expression

    def _handle_events(self, fd: Any, events: int) -> None:
        """Ignore a few readable events while Tornado does not read, instead of removing the socket from the event loop.

        The loop reports them again in its next iteration, and Tornado usually reads one or two iterations later. To
        remove the socket and add it again would cost eight system calls."""
        if events == IOLoop.READ and self.reading():
            try:
                self._handle_read()  # `super` would then remove a socket that has bytes in its buffer
            except UnsatisfiableReadError as error:
                self.close(exc_info=error)
        elif events == IOLoop.READ and self.ignored < MAX_IGNORED:
            self.ignored += 1
        else:
            super()._handle_events(fd, events)

    def read_bytes(self, num_bytes: int, partial: bool = False) -> Any:
        self.ignored = 0
        self.read_chunk_size = min(max(num_bytes, SMALL_READ), LARGE_READ)
        return super().read_bytes(num_bytes, partial)

    def read_from_fd(self, buf: bytearray | memoryview) -> int | None:
        if self._read_buffer_size and not self.reading():
            return None  # if Tornado noticed the client's end now, it would drop the requests in the buffer
        count = super().read_from_fd(buf)
        if count:
            self.begun = True
        elif count == 0 and self.begun and not self.answered and not self.reading():
            self.answer_half_closed()
            return None
        return count

    def answer_half_closed(self) -> None:
        """Keep the connection open for the answer. The client's end stays readable, so stop watching for it."""
        loop = IOLoop.current()
        loop.update_handler(self.fileno(), IOLoop.ERROR)
        loop.call_later(HALF_CLOSED_SECONDS, self.close)

    def _find_read_pos(self) -> int | None:
        """Count the headers before Tornado parses them. A wrapper around the public `read_until_regex` would cost each
        request two iterations of the event loop."""
        end = super()._find_read_pos()
        if end and self.reads_headers and self._read_buffer.count(b"\n", 0, end) > MAX_HEADERS:
            raise UnsatisfiableReadError("too many headers")
        return end

    def read_until(self, delimiter: bytes, max_bytes: int | None = None) -> Any:
        """Bound the size line of a chunk. Tornado reads nothing else of a request with this method."""
        self.overflow = BadRequest("The request is malformed; please correct it")
        return super().read_until(delimiter, max_bytes)

    def write(self, data: bytes | memoryview) -> Future[None]:
        if data == BARE_REFUSAL:  # Tornado closes next; an answered request gets no second answer
            self.malformed = True
            written: Future[None] = Future()
            written.set_result(None)
            return written
        if data != BARE_CONTINUE:
            self.answered = True
        return super().write(data)

    def close(self, exc_info: Any = False) -> None:
        if self.timer:
            self.timer.cancel()
        fault = None if self.answered or self.closed() else self.find_fault(exc_info)
        if fault:
            self.answered = True
            self.refuse(fault)
        super().close(exc_info)

    def find_fault(self, exc_info: Any) -> DomainError | None:
        """Return why the request cannot be served; None if there is no request, or if its handler runs."""
        if self.malformed:
            return BadRequest("The request is malformed; please correct it")
        if isinstance(exc_info, UnsatisfiableReadError):
            return self.overflow
        return RequestTimeout() if self.begun and self.reading() else None

    def refuse(self, error: DomainError) -> None:
        with contextlib.suppress(OSError):  # the client may have disconnected, or no file descriptor is free
            self.socket.send(encode(error))
            self.socket.shutdown(socket.SHUT_WR)
            if len(lingering) < MAX_LINGERING:
                task = asyncio.create_task(close_lingering(self.socket.dup()))
                lingering.add(task)
                task.add_done_callback(lingering.discard)


def encode(error: DomainError) -> bytes:
    """Return a whole answer in the form of handlers/http/base.py, for requests without a handler."""
    request_id = str(uuid.uuid4())
    log.info("request refused", status=error.status, code=error.code, request_id=request_id)
    body = orjson.dumps({**error.body(), "requestId": request_id})
    head = (
        f"HTTP/1.1 {error.status} {HTTPStatus(error.status).phrase}\r\n"
        "Content-Type: application/json; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\n"
        "Connection: close\r\n"
        f"X-Request-ID: {request_id}\r\n"
        "X-Content-Type-Options: nosniff\r\n"
        "Cache-Control: no-store\r\n\r\n"
    )
    return head.encode() + body


async def close_lingering(sock: socket.socket) -> None:
    """Read and drop what the client still sends, until it closes too."""
    loop, left = asyncio.get_running_loop(), LINGERING_BYTES
    with sock, contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(LINGERING_SECONDS):
            while left > 0 and (chunk := await loop.sock_recv(sock, 65536)):
                left -= len(chunk)


class PausingListener(socket.socket):
    """A listening socket that pauses while no file descriptor is free; open connections continue."""

    logged_at = -LOG_SECONDS

    @classmethod
    def of(cls, sock: socket.socket) -> "PausingListener":
        listener = cls(sock.family, sock.type, sock.proto, fileno=sock.detach())
        listener.setblocking(False)
        return listener

    def accept(self) -> tuple[socket.socket, Any]:
        try:
            return super().accept()
        except OSError as error:
            if error.errno not in EXHAUSTED:
                raise
            self.pause(error)
            raise BlockingIOError from error  # tells Tornado that no connection is waiting

    def pause(self, error: OSError) -> None:
        if time.monotonic() - self.logged_at >= LOG_SECONDS:
            self.logged_at = time.monotonic()
            log.error(
                "no new connection can be accepted; raise the limit of open files (LimitNOFILE, ulimit -n)",
                error=error.strerror,
            )
        IOLoop.current().update_handler(self, 0)
        IOLoop.current().call_later(PAUSE_SECONDS, self.resume)

    def resume(self) -> None:
        if self.fileno() != -1:  # the server has not been stopped meanwhile
            IOLoop.current().update_handler(self, IOLoop.READ)


class HttpServer(HTTPServer):
    def initialize(self, *args: Any, **options: Any) -> None:
        super().initialize(*args, **options)
        self.untimed = copy.copy(self.conn_params)  # for Tornado; ClientStream has the timer
        self.untimed.header_timeout = self.untimed.body_timeout = None

    def announce_closing(self) -> None:
        """Send `Connection: close` with every answer from now on."""
        self.conn_params.no_keep_alive = self.untimed.no_keep_alive = True

    def add_sockets(self, sockets: Iterable[socket.socket]) -> None:
        super().add_sockets([PausingListener.of(sock) for sock in sockets])

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        """Replace Tornado's stream, from which nothing has been read yet, on the same socket."""
        bounds = {"max_buffer_size": stream.max_buffer_size, "read_chunk_size": stream.read_chunk_size}
        super().handle_stream(ClientStream(stream.socket, **bounds), address)

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> HTTPMessageDelegate:
        request_conn.stream.begin(self.conn_params.header_timeout, self.conn_params.body_timeout)  # type: ignore[attr-defined]
        request_conn.params = self.untimed  # type: ignore[attr-defined]
        request_conn.set_body_timeout(None)  # type: ignore[attr-defined]
        return super().start_request(server_conn, request_conn)
