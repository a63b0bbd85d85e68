"""Presence of the users in one partition: counts their sockets here, reports them to Redis, publishes the changes.

Sockets only record arrivals and departures here; one task reports them to Redis in batches, publishes the changes, and
closes the newest socket of a user who has more than SOCKETS_PER_USER. Redis may fail or lose everything: every instance
then reports all its users again, and no user is published as offline until all have had time for this report.
"""

import asyncio
import time
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice

import structlog

from db import tasks
from db.pool import Database, DatabaseUnavailable
from realtime.conversation_feeds import Listener
from realtime.events import UserOffline, UserOnline
from realtime.presence.index import DEAD_SECONDS, PresenceIndex
from realtime.publisher import Publisher
from realtime.sockets.registry import SocketRegistry
from services.redis_client import FAILURES

log = structlog.get_logger()

GRACE_SECONDS = 10.0  # a page reload or a change of instance is not a departure
HEARTBEAT_SECONDS = 2.0
RETRY_SECONDS = 0.5
BATCH_SECONDS = 0.05  # announcements of this time share statements
BATCH_USERS = 200
BATCH_SOCKETS = 20  # each may have NOTIFIED_USERS connections
PUBLISH_AT_ONCE = 100  # to users, then other tasks run; a socket receives the frames of these in one write
NOTIFIED_USERS = 1_000  # connected users who are informed, the latest ones

# The users that $1 is connected to, latest first. The statements below ask it of several users.
CONNECTED = f"""
    select other_id from (
        select receiver_id as other_id, updated_at from connection_requests where sender_id = $1 and status = 'ACCEPTED'
        union all
        select sender_id, updated_at from connection_requests where receiver_id = $1 and status = 'ACCEPTED'
    ) connections order by updated_at desc limit {NOTIFIED_USERS}
"""

# The rows are locked in the order of ids, because two instances may report the same users.
UPDATE_LAST_SEEN = f"""
    with seen as materialized (
        select u.id, s.at from unnest($1::uuid[], $2::timestamptz[]) s(id, at) join users u on u.id = s.id
        order by u.id for no key update of u
    )
    update users u set last_seen_at = greatest(u.last_seen_at, seen.at) from seen where u.id = seen.id
    returning u.id, iso(u.last_seen_at) as last_seen_at,
        array({CONNECTED.replace("$1", "u.id")})::text[] as connected
"""

LIST_CONNECTED = f"""
    select listener.id as listener_id, u.id, iso(u.last_seen_at) as last_seen_at
    from unnest($1::uuid[]) listener(id)
    cross join lateral ({CONNECTED.replace("$1", "listener.id")}) connected
    join users u on u.id = connected.other_id
"""


class PresencePartition:
    """Counts this instance's sockets per user, reports the counts to Redis, and publishes changes."""

    def __init__(
        self,
        index: PresenceIndex,
        name: str,
        db: Database,
        publisher: Publisher,
        sockets: SocketRegistry,
        sockets_per_user: int,
    ) -> None:
        self.index = index
        self.name = name
        self.db = db
        self.publisher = publisher
        self.sockets = sockets
        self.sockets_per_user = sockets_per_user
        self.counts: dict[str, int] = {}  # user -> open sockets here; 0 during the grace period
        self.graces: dict[str, asyncio.TimerHandle] = {}
        self.left_at: dict[str, float] = {}
        self.dirty: dict[str, None] = {}  # users whose current count was not reported to Redis, in order
        self.restored: set[str] = set()  # reported again to a Redis that lost them: announced before
        # Changes that are not published yet: user -> time of arrival, time last seen.
        self.pending_online: dict[str, float] = {}
        self.pending_offline: dict[str, float] = {}
        self.awaiting_online_users: dict[Listener, None] = {}  # new sockets that have not received the online users yet
        self.announcement: asyncio.TimerHandle | None = None  # for the changes and sockets above
        self.announcement_due = False
        self.registered = False  # whether Redis had this instance; users who connected before that are arrivals
        self.settled_at = float("inf")  # time from which every instance has had time to report all its users
        self.wake = asyncio.Event()
        self.running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        failures = (*FAILURES, DatabaseUnavailable)
        pause = (RETRY_SECONDS, RETRY_SECONDS)
        self.running = [
            asyncio.create_task(tasks.supervise("heartbeat", self._send_heartbeats, FAILURES), name="heartbeat"),
            asyncio.create_task(tasks.supervise("presence", self._report, failures, pause), name="presence"),
        ]

    async def stop(self) -> None:
        """Report an orderly stop to Redis. Other instances remove this one's users later, as for a dead instance."""
        for grace in self.graces.values():
            grace.cancel()
        await tasks.end(*self.running)
        with suppress(*FAILURES):  # without Redis, the other instances handle the stop like a crash
            await self.index.leave(self.name)

    # -- arrivals and departures ---------------------------------------------------------------------------------------

    def add_socket(self, listener: Listener) -> None:
        user_id = listener.user_id
        self.counts[user_id] = self.counts.get(user_id, 0) + 1
        grace = self.graces.pop(user_id, None)
        if grace:
            grace.cancel()
        self.awaiting_online_users[listener] = None
        self._mark_dirty(user_id)

    def remove_socket(self, listener: Listener) -> None:
        user_id = listener.user_id
        self.awaiting_online_users.pop(listener, None)
        if self.counts.get(user_id, 0) > 0:
            self.counts[user_id] -= 1
            if self.counts[user_id] == 0:
                self.left_at[user_id] = time.time()
                self.graces[user_id] = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._end_grace, user_id)
            self._mark_dirty(user_id)

    def _end_grace(self, user_id: str) -> None:
        del self.graces[user_id], self.counts[user_id]
        self._mark_dirty(user_id)

    def _mark_dirty(self, user_id: str) -> None:
        self.dirty[user_id] = None
        self.wake.set()

    @property
    def settled(self) -> bool:
        return time.monotonic() - self.settled_at >= DEAD_SECONDS

    # -- reporting to Redis -------------------------------------------------------------------------------------------

    async def _report(self) -> None:
        await self.wake.wait()
        self.wake.clear()
        try:
            while batch := self._next_batch():
                await self._report_counts(batch)
            if not self._may_announce():
                return
            waiting = list(self.awaiting_online_users)
            announced = await self._publish_changes()
            for first in range(0, len(waiting), BATCH_SOCKETS):
                await self._send_online_users(waiting[first : first + BATCH_SOCKETS], announced)
        except Exception:
            self.wake.set()
            raise

    def _may_announce(self) -> bool:
        """Return whether BATCH_SECONDS have passed since something is to announce; if not, wake up then. Reports never
        wait, because they bound the sockets of a user."""
        if not (self.pending_online or self.pending_offline or self.awaiting_online_users):
            return False
        due, self.announcement_due = self.announcement_due, False
        if not due and self.announcement is None:
            self.announcement = asyncio.get_running_loop().call_later(BATCH_SECONDS, self._announce)
        return due

    def _announce(self) -> None:
        self.announcement, self.announcement_due = None, True
        self.wake.set()

    def _wake_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.wake.set)

    def _next_batch(self) -> list[str]:
        """Return users to report. Departures wait until it is known whether another instance has the user."""
        if self.settled:
            return list(islice(self.dirty, BATCH_USERS))
        batch = list(islice((user_id for user_id in self.dirty if user_id in self.counts), BATCH_USERS))
        if not batch and self.dirty:
            self._wake_in(RETRY_SECONDS)
        return batch

    async def _report_counts(self, users: list[str]) -> None:
        counts = {user_id: self.counts.get(user_id, -1) for user_id in users}
        answers = await self.index.report(self.name, counts)
        if not answers:  # Redis has lost its data, or this is the start
            await self.heartbeat()
            return
        self.registered = True  # also if the answer to the heartbeat was lost
        for (user_id, count), (before, elsewhere, total) in zip(counts.items(), answers, strict=True):
            if self.counts.get(user_id, -1) == count:
                self.dirty.pop(user_id, None)
            if count >= 0 and not before and not elsewhere and user_id not in self.restored:
                if self.pending_offline.pop(user_id, None) is None:  # otherwise the departure was not published yet
                    self.pending_online[user_id] = time.time()
            elif count < 0:
                left_at = self.left_at.pop(user_id, time.time())
                if before and not elsewhere and self.pending_online.pop(user_id, None) is None:
                    self.pending_offline[user_id] = left_at
            self.restored.discard(user_id)
            if total > self.sockets_per_user and self.counts.get(user_id):
                self.sockets.close_newest(user_id)

    # -- announcing to users ------------------------------------------------------------------------------------------

    async def _publish(
        self, event: type[UserOnline] | type[UserOffline], seen_at: dict[str, float]
    ) -> dict[str, list[str]]:
        """Publish changes. Return for each user the connected users who are informed."""
        times = [datetime.fromtimestamp(at, UTC) for at in seen_at.values()]
        rows = await self.db.fetch(UPDATE_LAST_SEEN, list(seen_at), times) if seen_at else []
        published = 0
        for row in rows:
            if row["connected"]:
                self.publisher.publish(event(row["id"], row["last_seen_at"], tuple(row["connected"])))
                published += len(row["connected"])
                if published >= PUBLISH_AT_ONCE:
                    published = 0
                    await asyncio.sleep(0)
        return {row["id"]: row["connected"] for row in rows}

    async def _publish_changes(self) -> dict[str, list[str]]:
        """Publish arrivals, then departures. A user who returned meanwhile is published as online last. Return for each
        arrival the connected users who are informed."""
        announced: dict[str, list[str]] = {}
        while arrived := dict(islice(self.pending_online.items(), BATCH_USERS)):
            announced |= await self._publish(UserOnline, arrived)
            for user_id in arrived:
                self.pending_online.pop(user_id, None)
        while left := dict(islice(self.pending_offline.items(), BATCH_USERS)):
            online = await self.index.find_online(left)
            gone = {user_id: at for user_id, at in left.items() if user_id not in online}
            await self._publish(UserOffline, gone)
            returned = await self.index.find_online(gone)
            await self._publish(UserOnline, dict.fromkeys(returned, time.time()))
            for user_id in left:
                self.pending_offline.pop(user_id, None)
        return announced

    async def _send_online_users(self, listeners: list[Listener], announced: dict[str, list[str]]) -> None:
        """Send new sockets the connected users who are online, except those who were announced to them just now."""
        rows = await self.db.fetch(LIST_CONNECTED, list({listener.user_id for listener in listeners}))
        seen = {row["id"]: row["last_seen_at"] for row in rows}
        frames = {user_id: UserOnline(user_id, seen[user_id]).frame for user_id in await self.index.find_online(seen)}
        connected: dict[str, list[bytes]] = {}
        for row in rows:
            if row["id"] in frames and row["listener_id"] not in announced.get(row["id"], ()):
                connected.setdefault(row["listener_id"], []).append(frames[row["id"]])
        for listener in listeners:
            if listener not in self.awaiting_online_users:  # the socket closed meanwhile
                continue
            del self.awaiting_online_users[listener]
            for frame in connected.get(listener.user_id, ()):
                listener.send(frame)

    # -- heartbeats --------------------------------------------------------------------------------------------------

    async def _send_heartbeats(self) -> None:
        try:
            await self.heartbeat()
        except FAILURES:
            self.settled_at = float("inf")
        await asyncio.sleep(tasks.until_next(HEARTBEAT_SECONDS))

    async def heartbeat(self) -> None:
        """Renew this instance's heartbeat. Report all users again to a Redis that lost them; remove dead instances."""
        silence, swept, dead = await self.index.heartbeat(self.name)
        if silence < 0:
            self.restored = set(self.counts) if self.registered and not swept else set()
            self.dirty = dict.fromkeys([*self.dirty, *self.counts])
            self.wake.set()
        self.registered = True
        if self.settled_at == float("inf") or not 0 <= silence < DEAD_SECONDS:
            self.settled_at = time.monotonic()
        for instance_id in dead if self.settled else []:
            if swept_now := await self.index.sweep(self.name, instance_id.decode()):
                last_heartbeat, gone, in_order = swept_now
                if not in_order and self.name == self.index.partitions[0]:  # all partitions notice it; one logs it
                    log.warning("an instance has died", instance=instance_id.decode())
                self.pending_offline.update(dict.fromkeys(gone, last_heartbeat))
                self.wake.set()
