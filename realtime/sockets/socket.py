"""The WebSocket at /ws: sign-in, dispatch of frames, close. What frames mean is in commands.py."""

import asyncio
import contextlib
import time
import uuid
from typing import Any, NoReturn

import orjson
import structlog
from pydantic import ValidationError
from tornado.httputil import HTTPHeaders
from tornado.web import RequestHandler, stream_request_body
from tornado.websocket import WebSocketClosedError, WebSocketHandler, WebSocketProtocol, WebSocketProtocol13

from db.error_codes import ErrorCode
from db.pool import DatabaseUnavailable
from db.queries.unread import count_unread
from db.schemas.faults import list_faults
from realtime.events import encode
from realtime.sockets.commands import COMMANDS, Command, CommandError
from realtime.sockets.frames import BadFrame, parse
from realtime.sockets.protocol import NOT_OUR_PROTOCOL, Protocol
from realtime.sockets.send_queue import SendQueue
from realtime.wiring import Realtime
from services.metrics import SOCKET_CLOSES, SOCKETS
from services.security.rate_limit import Claim, LocalCounters
from services.security.tokens import TokenError

log = structlog.get_logger()

PROTOCOL = "encer.v1"
TOKEN_PROTOCOL = "bearer."  # noqa: S105  a prefix
SIGN_IN_SECONDS = 5.0
HEARTBEAT_SECONDS = 25.0
# For Tornado's application: heartbeats, and what it buffers of one frame. No compression: 164 KiB a socket.
TORNADO_SETTINGS: dict[str, Any] = {
    "websocket_ping_interval": HEARTBEAT_SECONDS,
    "websocket_ping_timeout": HEARTBEAT_SECONDS,
    "websocket_max_message_size": 64 * 1024,
}
EARLY_FRAMES = 100  # within the moment of signing in; `ready` counts what is unread in any case
FLUSH_SECONDS = 1.0  # what is queued may still be written that long before a close

GOING_AWAY = 1001
BAD_TOKEN = 4401
ENDED = 4403
TRY_AGAIN = 1013
NO_SIGN_IN = 4408
FLOOD = 4429
TOO_SLOW = 4508


def asks_for_a_websocket(headers: HTTPHeaders) -> bool:
    return (
        headers.get("Upgrade", "").lower() == "websocket"
        and "upgrade" in [part.strip() for part in headers.get("Connection", "").lower().split(",")]
        and headers.get("Sec-WebSocket-Version") == "13"
        and bool(headers.get("Sec-WebSocket-Key"))
    )


@stream_request_body  # otherwise Tornado keeps a whole body before it asks who is there
class Socket(WebSocketHandler):
    """One client. Its queue is the only way out; nothing that it does or omits holds up anybody else."""

    def initialize(self) -> None:
        self.realtime: Realtime = self.application.realtime  # type: ignore[attr-defined]
        self.user_id = ""
        self.session_id: Any = None
        self.expires_at = ""
        self.joined: set[str] = set()
        self.has_body = False
        self.closed = False
        self.busy = False
        self.present = False  # whether presence counts it
        self.opened_at = time.monotonic()
        self.frame_id: str | int | None = None  # of the frame that is being answered
        self.acknowledged = False
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.early: list[bytes] | None = None
        self.frames = LocalCounters()
        self.queue = SendQueue(self._write, lambda: self.end(TOO_SLOW, "too slow a reader"))

    # -- opening -----------------------------------------------------------------------------------------------------

    def check_origin(self, origin: str) -> bool:
        return origin.rstrip("/") in self.realtime.settings.origins

    def select_subprotocol(self, subprotocols: list[str]) -> str | None:
        return PROTOCOL if PROTOCOL in subprotocols else None

    def get_websocket_protocol(self) -> WebSocketProtocol | None:
        protocol = super().get_websocket_protocol()
        return (
            Protocol(self, protocol.params, self.count_frame) if isinstance(protocol, WebSocketProtocol13) else protocol
        )

    async def get(self, *_: str) -> None:
        """Upgrade, or say why not. A body has arrived before, up to Tornado's bound, and nothing has kept it."""
        origin = self.request.headers.get("Origin")
        if origin is not None and not self.check_origin(origin):  # Tornado asks it about other hosts' origins alone
            await self.refuse_upgrade(403, "FORBIDDEN", "This origin may not connect")
        elif not asks_for_a_websocket(self.request.headers) or self.has_body or self.request.method != "GET":
            self.set_header("Upgrade", "websocket")
            self.set_header("Sec-WebSocket-Version", "13")
            error = "Please connect with a WebSocket, version 13, by a GET without a body"
            await self.refuse_upgrade(426, "UPGRADE_REQUIRED", error)
        elif self.realtime.draining:  # a proxy tries the next instance
            self.set_header("Retry-After", "1")
            await self.refuse_upgrade(503, "NOT_READY", "This instance is going away; please connect again")
        else:
            await super().get()

    head = get

    def data_received(self, chunk: bytes) -> None:
        self.has_body = True

    def on_connection_close(self) -> None:
        """Before the upgrade, only the wait for the body ends: there is no socket yet that could close."""
        if self.ws_connection is None:
            RequestHandler.on_connection_close(self)
        else:
            super().on_connection_close()

    async def refuse_upgrade(self, status: int, code: ErrorCode, error: str) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.set_header("X-Content-Type-Options", "nosniff")
        self.clear_header("Server")
        request_id = str(uuid.uuid4())
        self.set_header("X-Request-ID", request_id)
        await self.finish({"error": error, "message": error, "code": code, "requestId": request_id})

    async def open(self, *_: str) -> None:
        SOCKETS.inc()
        if self.realtime.draining:
            return self.end(GOING_AWAY, "going away")
        offered = [part.strip() for part in self.request.headers.get("Sec-WebSocket-Protocol", "").split(",")]
        if offered != [""] and self.selected_subprotocol != PROTOCOL:
            return self.end(NOT_OUR_PROTOCOL, "not our protocol")
        token = self.offered_token(offered)
        self.realtime.sockets.add(self)
        if token is None:
            self.set_timer("sign_in", SIGN_IN_SECONDS, lambda: self.end(NO_SIGN_IN, "no sign-in in time"))
            return None
        try:
            await self.sign_in(token)
        except CommandError:
            pass  # the close code has told it
        except DatabaseUnavailable:
            self.end(TRY_AGAIN, "not ready")
        return None

    def offered_token(self, offered: list[str]) -> str | None:
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            return token.strip()
        return next((part.removeprefix(TOKEN_PROTOCOL) for part in offered if part.startswith(TOKEN_PROTOCOL)), None)

    async def sign_in(self, token: str) -> None:
        """Take the token for this socket, or close it: 4401 for a bad one, 4403 for one whose session has ended, 4429
        for one socket too many."""
        try:
            claims = self.realtime.tokens.read_access(token)
        except TokenError:
            claims = None
        if claims is None or (self.user_id and self.user_id != claims.user_id):
            error = CommandError("INVALID_TOKEN", "The token is bad or has expired")
            self.dismiss(BAD_TOKEN, "token bad or expired", error)
        caller = await self.realtime.sessions.caller(claims.session_id, claims.user_id)
        if self.closed:  # it was ended while the database was asked
            raise CommandError("CLOSED", "The socket is closed")
        if caller is None:
            self.dismiss(ENDED, "session has ended", CommandError("SESSION_ENDED", "Your session has ended"))
        self.clear_timer("sign_in")
        self.session_id = caller.session_id
        self.expires_at = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(claims.expires_at))}.000Z"
        self.set_timer(
            "expiry", max(0.0, claims.expires_at - time.time()), lambda: self.end(BAD_TOKEN, "token has expired")
        )
        if not self.user_id:
            await self._start(caller.id)

    async def stay_signed_in(self) -> None:
        """As for a request: asks the database when the feed of ended sessions has fallen silent."""
        if await self.realtime.sessions.caller(self.session_id, self.user_id) is None:
            self.dismiss(ENDED, "session has ended", CommandError("SESSION_ENDED", "Your session has ended"))

    async def _start(self, user_id: str) -> None:
        hub, allowed = self.realtime.hub, self.realtime.settings.sockets_per_user
        if len(hub.sockets_of(user_id)) >= allowed:
            error = CommandError("TOO_MANY", f"At most {allowed} sockets can be open at once; please close one first")
            self.dismiss(FLOOD, "too many sockets", error)
        self.user_id = user_id
        self.early = []  # what comes in meanwhile comes after `ready`
        await hub.add_user(self)
        try:
            notifications, messages = await count_unread(self.realtime.db, user_id)
        except DatabaseUnavailable:
            self.early = None
            self.end(TRY_AGAIN, "not ready")
            raise
        ready = {
            "userId": user_id,
            "sessionId": self.session_id,
            "heartbeatMs": int(HEARTBEAT_SECONDS * 1000),
            "unreadNotifications": notifications,
            "unreadMessages": messages,
        }
        early, self.early = self.early, None
        for frame in (encode("ready", ready), *early):
            self.send(frame)
        if not self.closed:
            self.present = True
            self.realtime.presence.arrive(self)

    # -- frames ------------------------------------------------------------------------------------------------------

    async def on_message(self, frame: str | bytes) -> None:
        """Tornado reads the next frame when this returns, so a client's frames are handled in their order."""
        if self.closed:  # it is on its way out; Tornado reads on until the client has closed too
            return
        self.frame_id, self.acknowledged, self.busy = None, False, True
        try:
            await self._handle(frame)
        except CommandError as error:
            self.refuse(error)
        except DatabaseUnavailable:
            self.refuse(CommandError("NOT_READY", "The service is not ready; please try again in a moment"))
        except Exception:
            log.exception("command failed", user=self.user_id)
            self.refuse(CommandError("INTERNAL", "Something went wrong on our side"))
        finally:
            self.busy = False

    async def _handle(self, frame: str | bytes) -> None:
        try:
            name, data, self.frame_id = parse(frame)
        except BadFrame as bad:
            self.frame_id = bad.id
            self._within_rate(None)
            raise
        command = COMMANDS.get(name)
        if not self._within_rate(command):
            if self.frame_id is not None:
                raise CommandError("RATE_LIMITED", "Too many frames; this one was dropped")
            return
        if command is None:
            raise CommandError("UNKNOWN_EVENT", f"There is no event {name[:50]!r}")
        if command.signed_in and not self.user_id:
            raise CommandError("NOT_AUTHENTICATED", "Please sign in first: authenticate {token}")
        try:
            content = command.data.model_validate_json(orjson.dumps(data), strict=True)
        except ValidationError as error:
            raise CommandError("VALIDATION_ERROR", "Some fields are not valid", details=list_faults(error)) from None
        if command.signed_in:
            await self.stay_signed_in()
        ack = await command.run(self, content)
        if ack is not None:
            self.acknowledge(ack, command.ack)

    def count_frame(self) -> None:
        """Count a frame other than a message: a ping, a pong, a close or a fragment."""
        if not self.closed and not self._takes_frame():
            self.end(FLOOD, "too many frames")

    def _takes_frame(self) -> bool:
        limit = self.realtime.settings.limit_socket_frames
        return limit is None or self.frames.count([("frames", limit)], 1)[0]

    def _within_rate(self, command: Command | None) -> bool:
        if self._takes_frame():
            return True
        if command is None or not command.droppable:
            self.dismiss(FLOOD, "too many frames", CommandError("RATE_LIMITED", "Too many frames"))
        return False

    async def take(self, claim: Claim) -> None:
        """Count a hit on a limit that REST shares."""
        for verdict in await self.realtime.rate_limits.take([claim]):
            if not verdict.allowed:
                raise CommandError("RATE_LIMITED", "Too many messages; please wait", retryAfter=verdict.retry_after)

    def acknowledge(self, data: dict[str, Any], event: str = "ack") -> None:
        """Answer the frame in hand, once, if it asked for an answer by its id."""
        if self.frame_id is not None and not self.acknowledged:
            self.acknowledged = True
            self.send(encode(event, data, self.frame_id))
        elif event == "pong":
            self.send(encode(event, data))

    def refuse(self, error: CommandError) -> None:
        if not self.acknowledged:
            self.acknowledged = True
            data = {"error": str(error), "message": str(error), "code": error.code, **error.extra}
            self.send(encode("error", data, self.frame_id))

    # -- out ---------------------------------------------------------------------------------------------------------

    def send(self, frame: bytes) -> None:
        """Queue a frame; never waits."""
        if self.early is None:
            self.queue.put(frame)
        elif len(self.early) < EARLY_FRAMES:
            self.early.append(frame)

    async def _write(self, frame: bytes) -> None:
        await self.write_message(frame)

    def left(self, conversation_id: str) -> None:
        self.joined.discard(conversation_id)

    # -- the end -----------------------------------------------------------------------------------------------------

    def dismiss(self, code: int, reason: str, error: CommandError) -> NoReturn:
        """Close for what the frame in hand asks or lacks; if it came with an id, it is answered first."""
        if self.frame_id is not None:
            self.refuse(error)
        self.end(code, reason)
        raise error

    def end(self, code: int, reason: str) -> None:
        """Close with a code of the contract; what is queued is written first unless the reader is too slow."""
        if self.closed:
            return
        self.closed = True
        SOCKET_CLOSES.labels(code).inc()
        self._release()
        self.realtime.leaving.add(self)
        if code == TOO_SLOW or self.queue.writer is None:
            self._close(code, reason)
        else:
            self.queue.writer.add_done_callback(lambda _: self._close(code, reason))
            self.set_timer("flush", FLUSH_SECONDS, lambda: self._close(code, reason))

    def _close(self, code: int, reason: str) -> None:
        self.queue.close()
        with contextlib.suppress(WebSocketClosedError):
            self.close(code, reason)

    def on_close(self) -> None:
        SOCKETS.dec()
        self.closed = True
        self.queue.close()
        self._release()
        self.realtime.leaving.discard(self)

    def _release(self) -> None:
        """Nothing more is heard; idempotent."""
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
        self.realtime.sockets.discard(self)
        for conversation_id in list(self.joined):
            self.realtime.typists.stop(conversation_id, self.user_id)
            self.realtime.hub.leave(self, conversation_id)
        self.joined.clear()
        if self.user_id:
            self.realtime.hub.remove_user(self)
        if self.present:
            self.present = False
            self.realtime.presence.leave(self)

    def set_timer(self, name: str, seconds: float, act: Any) -> None:
        self.clear_timer(name)
        self.timers[name] = asyncio.get_running_loop().call_later(seconds, act)

    def clear_timer(self, name: str) -> None:
        timer = self.timers.pop(name, None)
        if timer:
            timer.cancel()
