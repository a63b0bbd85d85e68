"""The open sockets of this instance: closed when their session ends, and all of them when the instance stops."""

import asyncio
import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Protocol

from db.queries.sessions import EndedSession
from realtime.events import GoingAway
from realtime.sockets import close_codes
from realtime.sockets.timers import Timers

RECONNECT_MS = (500, 5_000)  # clients reconnect spread over this time after a restart
RETURNING_A_SECOND = 700  # opening and joining cost 1 ms on idle cores (docs/scale.md), 3 ms on busy ones
RECONNECT_LATEST_MS = 15_000  # with any number of sockets; later, presence would publish the users as offline
CLOSE_BATCH = 200
POLL_SECONDS = 0.05
CLOSING_SECONDS = 2.0  # for the clients' part of the closing handshake


class RegisteredClient(Protocol):
    user_id: str
    session_id: str
    opened_at: float
    busy: bool

    @property
    def queued_bytes(self) -> int: ...

    def send(self, frame: bytes) -> None: ...

    def close(self, code: int, reason: str) -> None: ...


class SocketRegistry:
    """The open sockets of this instance."""

    def __init__(self) -> None:
        self.clients: set[RegisteredClient] = set()
        self.closing: set[RegisteredClient] = set()  # closed by this side, not yet by the peer
        self.timers = Timers()
        self.draining = False

    def __iter__(self) -> Iterator[RegisteredClient]:
        return iter(list(self.clients))

    def __len__(self) -> int:
        return len(self.clients)

    def close_session(self, ended: EndedSession) -> None:
        for client in self:
            if client.session_id == ended.session_id:
                client.close(close_codes.SESSION_ENDED, ended.reason.lower().replace("_", " "))

    def close_newest(self, user_id: str) -> None:
        """Close the user's newest socket here, because the user has too many over all instances."""
        clients = [client for client in self.clients if client.user_id == user_id]
        if clients:
            max(clients, key=lambda client: client.opened_at).close(close_codes.FLOOD, "too many sockets")

    def announce_drain(self) -> None:
        """Accept no more sockets, and ask each client to reconnect, each after a different time."""
        self.draining = True
        soonest, latest = RECONNECT_MS
        latest = min(max(latest, len(self.clients) * 1000 // RETURNING_A_SECOND), RECONNECT_LATEST_MS)
        for client in self:
            client.send(GoingAway(random.randint(soonest, latest)).frame)

    async def commands_end(self) -> None:
        """Wait until no command is running. The caller bounds the wait."""
        while any(client.busy for client in self.clients):  # noqa: ASYNC110  an event would cost every command, and a stop is rare
            await asyncio.sleep(POLL_SECONDS)

    async def close_all(self) -> None:
        while batch := list(self.clients)[:CLOSE_BATCH]:
            for client in batch:
                client.close(close_codes.GOING_AWAY, "going away")
            await asyncio.sleep(POLL_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSING_SECONDS):
                while self.closing:  # noqa: ASYNC110
                    await asyncio.sleep(POLL_SECONDS)
