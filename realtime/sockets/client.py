"""One connected client: its user, the conversations that it joined, and the queue of frames to it.

All frames go to a SendQueue, which writes at once or queues them, so that a slow client delays no other. socket.py
connects a client to a WebSocket, and commands.py has the commands of clients.
"""

import asyncio
import contextlib
import math
import time
from typing import Any, NoReturn

from tornado.websocket import WebSocketClosedError

from db.errors import DomainError, NotAuthenticated, RateLimited
from db.pool import DatabaseUnavailable
from db.queries.unread import count_unread
from realtime.events import Ack, Error, Event, Pong, Ready
from realtime.sockets import close_codes
from realtime.sockets.errors import Closed, TooMany
from realtime.sockets.send_queue import SendQueue, Transport
from realtime.wiring import Realtime
from services.metrics import FRAMES_SENT, SOCKETS_CLOSED
from services.security.rate_limit import Claim
from services.security.tokens import TokenError

HEARTBEAT_SECONDS = 25.0
EARLY_FRAMES = 100  # events that arrive during sign-in; `ready` contains the unread counts in any case
FLUSH_SECONDS = 1.0  # time to write queued frames before a close


class Client:
    """A socket's user, joined conversations and queue. Events and answers go to `send`."""

    __slots__ = (
        "answered", "busy", "closed", "deadline", "early", "expiry", "flush", "frame_id", "joined", "opened_at",
        "ping_at", "present", "queue", "realtime", "session_id", "slot", "transport", "user_id",
    )  # fmt: skip

    def __init__(self, realtime: Realtime, transport: Transport) -> None:
        self.realtime = realtime
        self.transport = transport
        self.queue = SendQueue(transport)
        self.user_id = ""
        self.session_id = ""
        self.expiry = 0  # of its token, in seconds since 1970
        self.joined: set[str] = set()
        self.opened_at = time.monotonic()
        self.closed = False
        self.present = False  # whether presence counts this client
        self.busy = False  # whether a command is running
        self.frame_id: str | int | None = None  # of the frame whose command is running
        self.answered = False
        self.early: list[bytes] | None = None
        self.deadline = math.inf  # for the sign-in, then for a newer token
        self.ping_at = math.inf
        self.slot = 0  # in the registry's timers
        self.flush: asyncio.TimerHandle | None = None

    @property
    def expires_at(self) -> str:
        return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(self.expiry))}.000Z"

    @property
    def queued_bytes(self) -> int:
        return self.queue.bytes

    # -- sign-in -----------------------------------------------------------------------------------------------------

    async def sign_in(self, token: str) -> None:
        """Accept an access token, first or renewed. Close with 4401 if it is invalid, 4403 if its session has ended,
        4429 if the user has too many sockets."""
        try:
            claims = self.realtime.tokens.read_access(token)
        except TokenError:
            claims = None
        if claims is None or (self.user_id and self.user_id != claims.user_id):
            error = NotAuthenticated("The token is invalid or has expired", code="INVALID_TOKEN")
            self.refuse_and_close(close_codes.INVALID_TOKEN, "invalid or expired token", error)
        caller = await self.realtime.sessions.caller(claims.session_id, claims.user_id)
        if self.closed:  # while the database was read
            raise Closed
        if caller is None:
            self.close_ended_session()
        self.session_id = caller.session_id
        self.expiry = claims.expires_at
        self._set_deadline(self.expiry - time.time())
        if not self.user_id:
            await self._start(caller.id)

    async def check_session(self) -> None:
        """Close if the session has ended. Reads the database if the sessions of this instance are not up to date."""
        if await self.realtime.sessions.caller(self.session_id, self.user_id) is None:
            self.close_ended_session()

    async def _start(self, user_id: str) -> None:
        limit = self.realtime.settings.sockets_per_user
        if self.realtime.hub.count_sockets(user_id) >= limit:
            error = TooMany(f"At most {limit} sockets can be open at once; please close one first")
            self.refuse_and_close(close_codes.FLOOD, "too many sockets", error)
        self.user_id = user_id
        self.early = []  # events that arrive meanwhile follow `ready`
        await self.realtime.hub.add_user(self)
        try:
            notifications, messages = await count_unread(self.realtime.db, user_id)
        except DatabaseUnavailable:
            self.early = None
            self.close(close_codes.TRY_AGAIN, "not ready")
            raise
        heartbeat_ms = int(HEARTBEAT_SECONDS * 1000)
        ready = Ready(user_id, self.session_id, heartbeat_ms, notifications, messages)
        early, self.early = self.early, None
        for frame in (ready.frame, *early):
            self.send(frame)
        if not self.closed:
            self.present = True
            self.realtime.presence.add_socket(self)

    # -- timers ------------------------------------------------------------------------------------------------------

    def start_timer(self, sign_in_seconds: float) -> None:
        """Ping from now on, and close if the client does not sign in within this time."""
        self.ping_at = self.opened_at + self.transport.heartbeat_seconds
        self._set_deadline(sign_in_seconds)

    def _set_deadline(self, seconds: float) -> None:
        self.deadline = time.monotonic() + seconds
        timers = self.realtime.sockets.timers
        timers.remove(self)
        timers.put(self, min(self.deadline, self.ping_at))

    def tick(self, now: float) -> float | None:
        """Ping if it is due, or close. Return when to do this next."""
        if now >= self.deadline:
            if self.session_id:
                self.close(close_codes.INVALID_TOKEN, "expired token")
            else:
                self.close(close_codes.NOT_SIGNED_IN, "no sign-in in time")
        elif now >= self.ping_at:
            self.transport.send_ping()
            self.ping_at = now + self.transport.heartbeat_seconds
        return None if self.closed else min(self.deadline, self.ping_at)

    # -- frames to the client ----------------------------------------------------------------------------------------

    def send(self, frame: bytes, event: Event | None = None) -> None:
        """Write or queue a frame, of this event; return at once. A client that reads too slowly is closed."""
        if self.early is not None:
            if len(self.early) < EARLY_FRAMES:
                self.early.append(frame)
        else:
            FRAMES_SENT.inc()
            if not self.queue.put(frame, event):
                self.close(close_codes.TOO_SLOW, "client reads too slowly")

    def acknowledge(self, data: dict[str, Any]) -> None:
        """Answer the current frame, once, if it has an id."""
        if self.frame_id is not None and not self.answered:
            self.answered = True
            self.send(Ack(data, self.frame_id).frame)

    def pong(self) -> None:
        """Answer a ping, with or without an id."""
        self.answered = True
        self.send(Pong({}, self.frame_id).frame)

    def refuse(self, error: DomainError) -> None:
        if not self.answered:
            self.answered = True
            self.send(Error(error.body(), self.frame_id).frame)

    async def count_against(self, claim: Claim) -> None:
        """Count a hit of a limit that REST shares. Raises RateLimited."""
        for verdict in await self.realtime.rate_limits.take([claim]):
            if not verdict.allowed:
                raise RateLimited(verdict.retry_after, "Too many messages; please wait")

    # -- conversations -----------------------------------------------------------------------------------------------

    def leave(self, conversation_id: str) -> None:
        self.joined.discard(conversation_id)

    # -- closing -----------------------------------------------------------------------------------------------------

    def close_ended_session(self) -> NoReturn:
        error = NotAuthenticated("Your session has ended; please sign in again", code="SESSION_ENDED")
        self.refuse_and_close(close_codes.SESSION_ENDED, "session has ended", error)

    def refuse_and_close(self, code: int, reason: str, error: DomainError) -> NoReturn:
        """Answer the current frame if it has an id, then close."""
        if self.frame_id is not None:
            self.refuse(error)
        self.close(code, reason)
        raise error

    def close(self, code: int, reason: str) -> None:
        """Close with a code of the contract. Queued frames are written first, unless the client reads too slowly."""
        if self.closed:
            return
        self.closed = True
        SOCKETS_CLOSED.labels(code, "server").inc()
        self._release()
        self.realtime.sockets.closing.add(self)
        if code == close_codes.TOO_SLOW or self.queue.writer is None:
            self._close_transport(code, reason)
        else:
            self.queue.writer.add_done_callback(lambda _: self._close_transport(code, reason))
            self.flush = asyncio.get_running_loop().call_later(FLUSH_SECONDS, self._close_transport, code, reason)

    def disconnected(self) -> None:
        """Clean up after either side has closed the WebSocket."""
        self.closed = True
        self.queue.close()
        self._release()
        self.realtime.sockets.closing.discard(self)

    def _close_transport(self, code: int, reason: str) -> None:
        self.queue.close()
        with contextlib.suppress(WebSocketClosedError):
            self.transport.close(code, reason)

    def _release(self) -> None:
        """Unsubscribe from everything. A second call has no effect."""
        if self.flush:
            self.flush.cancel()
        self.realtime.sockets.timers.remove(self)
        self.realtime.sockets.clients.discard(self)
        for conversation_id in list(self.joined):
            self.realtime.typists.stop(conversation_id, self.user_id)
            self.realtime.hub.leave(self, conversation_id)
        self.joined.clear()
        if self.user_id:
            self.realtime.hub.remove_user(self)
        if self.present:
            self.present = False
            self.realtime.presence.remove_socket(self)
