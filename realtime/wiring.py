"""Everything live: made once at start, handed to each socket."""

import asyncio
import random
from contextlib import suppress
from typing import TYPE_CHECKING

from db.pool import Database
from db.queries.sessions import Ended, Sessions
from realtime.events import Event, encode
from realtime.hub import Hub
from realtime.presence.presence import Presence
from realtime.publisher import Publisher
from realtime.redis.relay import Relay
from realtime.typing import Typists
from services.security.rate_limit import RateLimits
from services.security.tokens import Tokens
from settings import Settings

if TYPE_CHECKING:
    from realtime.sockets.socket import Socket

ENDED = 4403
FLOOD = 4429
GOING_AWAY = 1001
RECONNECT_MS = (500, 5_000)  # spread over this long, so that a restart is no stampede
RETURNING_A_SECOND = 700  # opening a socket costs 2 to 3 ms (docs/scale.md): two instances carry that beside their work
RECONNECT_AT_LAST_MS = 15_000  # with any number of sockets; later, presence would tell that they have gone
CLOSE_BATCH = 200
CLOSE_PAUSE_SECONDS = 0.05
GOODBYE_SECONDS = 2.0  # for the clients' side of the closing handshake


class Realtime:
    def __init__(
        self, settings: Settings, redis_url: str, db: Database, sessions: Sessions, tokens: Tokens, limits: RateLimits
    ) -> None:
        self.settings = settings
        self.db = db
        self.sessions = sessions
        self.tokens = tokens
        self.rate_limits = limits
        self.hub = Hub(db, lambda: sessions.fresh)
        self.relay = Relay(redis_url, self.hub.deliver, settings.redis_sharded)
        self.hub.relay = self.relay
        self.relay.on_resume = self.hub.resync
        self.publisher = Publisher(self.hub, self.relay)
        self.typists = Typists(self.publish)
        self.hub.on_author = self.typists.stop
        self.presence = Presence(
            self.relay.redis, self.relay.instance_id, db, self.publish, settings.sockets_per_user, self.end_newest
        )
        self.sockets: set[Socket] = set()
        self.leaving: set[Socket] = set()  # ended, and not yet closed by both sides
        self.draining = False
        sessions.on_end(self.end_session)
        sessions.on_answer = self.hub.gate.open

    def publish(self, event: Event) -> None:
        self.publisher.publish(event)

    def start(self) -> None:
        self.relay.start()
        self.hub.start()
        self.presence.start()

    def end_session(self, ended: Ended) -> None:
        """Whoever is logged out, suspended or deleted listens no longer."""
        for socket in [socket for socket in self.sockets if socket.session_id == ended.session_id]:
            socket.end(ENDED, ended.reason.lower().replace("_", " "))

    def end_newest(self, user_id: str) -> None:
        """The user has too many sockets over all instances: the latest one here gives way."""
        sockets = [socket for socket in self.sockets if socket.user_id == user_id]
        if sockets:
            max(sockets, key=lambda socket: socket.opened_at).end(FLOOD, "too many sockets")

    def announce_drain(self) -> None:
        """No new sockets; the open ones are told to come back elsewhere, each at another moment."""
        self.draining = True
        soonest, latest = RECONNECT_MS
        latest = min(max(latest, len(self.sockets) * 1000 // RETURNING_A_SECOND), RECONNECT_AT_LAST_MS)
        for socket in list(self.sockets):
            socket.send(encode("going_away", {"reconnectAfterMs": random.randint(soonest, latest)}))

    async def commands_end(self) -> None:
        """Wait until no socket's command is at work; bound it from outside."""
        while any(socket.busy for socket in self.sockets):  # noqa: ASYNC110  a stop is rare, a frame is not
            await asyncio.sleep(CLOSE_PAUSE_SECONDS)

    async def close_sockets(self) -> None:
        while batch := list(self.sockets)[:CLOSE_BATCH]:
            for socket in batch:
                socket.end(GOING_AWAY, "going away")
            await asyncio.sleep(CLOSE_PAUSE_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_SECONDS):
                while self.leaving:  # noqa: ASYNC110
                    await asyncio.sleep(CLOSE_PAUSE_SECONDS)

    async def stop(self) -> None:
        await self.presence.stop()
        await self.hub.stop()
        await self.relay.stop()
