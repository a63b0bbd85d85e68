"""The WebSocket at /ws: the upgrade, and the dispatch of frames to commands. client.py holds the client's state."""

import math
from typing import Any

import orjson
import structlog
from pydantic import ValidationError
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler
from tornado.websocket import WebSocketClosedError, WebSocketHandler

from db.errors import (
    DomainError,
    Forbidden,
    Internal,
    Invalid,
    NotAuthenticated,
    NotReady,
    RateLimited,
    find_domain_error,
)
from db.pool import DatabaseUnavailable
from db.schemas.faults import list_faults
from realtime.sockets import close_codes
from realtime.sockets.client import HEARTBEAT_SECONDS, Client
from realtime.sockets.commands import COMMANDS, Command
from realtime.sockets.errors import InvalidFrame, UnknownEvent
from realtime.sockets.frames import parse
from realtime.sockets.handshake import (
    PROTOCOL,
    UpgradeRequired,
    asks_for_a_websocket,
    offered_protocols,
    offered_token,
    switching_protocols,
)
from realtime.sockets.protocol import MAX_MESSAGE_BYTES, Protocol
from realtime.wiring import Realtime
from services.logs import read_request_id
from services.metrics import REFUSALS, SOCKETS, SOCKETS_CLOSED, SOCKETS_OPENED
from services.security.local_limits import LocalCounter

log = structlog.get_logger()

SIGN_IN_SECONDS = 5.0
# For Tornado's application: the time between two heartbeats (timers.py sends them) and for their answers, and what is
# buffered of one message.
TORNADO_SETTINGS: dict[str, Any] = {
    "websocket_ping_interval": HEARTBEAT_SECONDS,
    "websocket_ping_timeout": HEARTBEAT_SECONDS,
    "websocket_max_message_size": MAX_MESSAGE_BYTES,
}
NO_HEADERS = HTTPHeaders()  # of open sockets, and never changed


class Socket(WebSocketHandler):
    """The handler of /ws: one for each WebSocket."""

    has_body = False
    offered: list[str]  # subprotocols
    token: str | None = None

    def initialize(self) -> None:
        self.realtime: Realtime = self.application.realtime  # type: ignore[attr-defined]
        self.request_id = read_request_id(self.request.headers.get("X-Request-ID", ""))

    # -- the upgrade -------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Set no header, because the response 101 has none of Tornado's, and their dates are slow to format."""
        self._headers, self._write_buffer = HTTPHeaders(), []
        self._status_code, self._reason = 200, "OK"

    def check_origin(self, origin: str) -> bool:
        settings = self.realtime.settings
        return origin.rstrip("/") in settings.origins | settings.own_origins

    async def get(self, *_: str) -> None:
        """Open the WebSocket. `/asyncapi.json` describes the ways to sign in, the frames and the close codes.

        A refused upgrade is answered with the reason; a request with a body is not an upgrade."""
        origin = self.request.headers.get("Origin")
        if origin is not None and not self.check_origin(origin):
            await self.refuse_upgrade(
                Forbidden(
                    "This origin is not allowed to connect",
                    "Please ask the operator to add it to FRONTEND_URL, the list of allowed origins.",
                )
            )
        elif not asks_for_a_websocket(self.request.headers) or self.has_body or self.request.method != "GET":
            await self.refuse_upgrade(UpgradeRequired())
        elif self.realtime.sockets.draining:  # a proxy then tries the next instance
            await self.refuse_upgrade(NotReady())
        else:
            self.upgrade()

    head = get

    def data_received(self, chunk: bytes) -> None:
        self.has_body = True

    def on_connection_close(self) -> None:
        """End the wait for the body. Before the upgrade there is no socket that could close."""
        if self.ws_connection is None:
            RequestHandler.on_connection_close(self)
        else:
            super().on_connection_close()

    async def refuse_upgrade(self, error: DomainError) -> None:
        RequestHandler.clear(self)
        self.set_status(error.status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("X-Request-ID", self.request_id)
        self.clear_header("Server")
        for name, value in error.headers.items():
            self.set_header(name, value)
        await self.finish({**error.body(), "requestId": self.request_id})

    def upgrade(self) -> None:
        """Answer 101 and start the socket. Tornado's own handshake waits until the socket closes, and keeps the
        headers of request and response until then: 3 KiB."""
        headers = self.request.headers
        self.offered = offered_protocols(headers)
        self.token = offered_token(headers, self.offered)
        stream = self.detach()
        if stream.closed():
            return
        stream.leave_http()  # type: ignore[attr-defined]  # handlers/http/server.py
        stream.write(switching_protocols(headers["Sec-WebSocket-Key"], self.offered, self.request_id))
        self.set_status(101)
        self.application.log_request(self)
        SOCKETS.inc()
        SOCKETS_OPENED.inc()
        self._headers = self.request.headers = self.request.connection._request_headers = NO_HEADERS  # type: ignore[union-attr]
        self.ui = None  # type: ignore[assignment]  # of templates; it refers to this handler
        self.client = Client(self.realtime, self)
        self.frame_rate = LocalCounter()
        self.realtime.sockets.clients.add(self.client)
        self.ws_connection = Protocol(self, stream)

    async def open(self, *_: str) -> None:
        """Sign the user in if the request had a token."""
        client, offered, token = self.client, self.offered, self.token
        del self.offered, self.token
        client.start_timer(SIGN_IN_SECONDS if token is None else math.inf)
        if offered and PROTOCOL not in offered:
            return client.close(close_codes.PROTOCOL_ERROR, "protocol error")
        try:
            if token is not None:
                await client.sign_in(token)
        except DatabaseUnavailable:
            client.close(close_codes.TRY_AGAIN, "not ready")
        except DomainError:
            pass  # the close code is the reason
        return None

    # -- frames ------------------------------------------------------------------------------------------------------

    async def on_message(self, frame: str | bytes) -> None:
        """Handle one frame. Tornado reads the next one when this returns, so frames are handled in order."""
        client = self.client
        if client.closed:  # Tornado continues to read until the client has closed too
            return
        client.frame_id, client.answered, client.busy = None, False, True
        try:
            await self._handle(frame)
        except Exception as error:
            known = find_domain_error(error)
            if known is None:
                log.exception("command failed", user=client.user_id)
            client.refuse(known or Internal())
        finally:
            client.busy = False

    async def _handle(self, frame: str | bytes) -> None:
        client = self.client
        try:
            name, data, client.frame_id = parse(frame)
        except InvalidFrame as error:
            client.frame_id = error.frame_id
            self._within_rate(None)
            raise
        command = COMMANDS.get(name)
        if not self._within_rate(command):
            if client.frame_id is not None:
                raise RateLimited(1, "Too many frames; this one was dropped")
            return
        if command is None:
            raise UnknownEvent(name)
        if command.needs_sign_in and not client.user_id:
            raise NotAuthenticated("Please sign in first: authenticate {token}")
        try:
            request = command.model_validate_json(orjson.dumps(data), strict=True)
        except ValidationError as error:
            raise Invalid(list_faults(error)) from None
        if command.needs_sign_in:
            await client.check_session()
        ack = await request.run(client)
        if ack is not None:
            client.acknowledge(ack)

    def count_frame(self) -> None:
        """Count a frame that is not a message: a ping, a pong, a close or a fragment."""
        if not self.client.closed and not self._take_frame():
            self.client.close(close_codes.FLOOD, "too many frames")

    def _take_frame(self) -> bool:
        limit = self.realtime.settings.limit_socket_frames
        allowed = limit is None or self.frame_rate.take(limit)
        if not allowed:
            REFUSALS.labels("socket_frames").inc()
        return allowed

    def _within_rate(self, command: type[Command] | None) -> bool:
        if self._take_frame():
            return True
        if command is None or not command.droppable:
            error = RateLimited(1, "Too many frames")
            self.client.refuse_and_close(close_codes.FLOOD, "too many frames", error)
        return False

    # -- the transport of the client ---------------------------------------------------------------------------------

    @property
    def heartbeat_seconds(self) -> float:
        return self.ping_interval or HEARTBEAT_SECONDS

    def send_ping(self) -> None:
        if isinstance(self.ws_connection, Protocol):
            self.ws_connection.send_ping()

    def write_now(self, frame: bytes) -> bool:
        protocol = self.ws_connection
        if not isinstance(protocol, Protocol) or protocol.is_closing():
            raise WebSocketClosedError
        return protocol.write_text(frame)

    async def write_frame(self, frame: bytes) -> None:
        await self.write_message(frame)

    def on_close(self) -> None:
        SOCKETS.dec()
        if not self.client.closed:
            SOCKETS_CLOSED.labels(close_codes.close_code_label(self.close_code), "client").inc()
        self.client.disconnected()
