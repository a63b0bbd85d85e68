"""Compare delivered events with the database, and deliver those that did not arrive through Redis.

Every COMPARE_SECONDS while there are sockets, and at once after a resync, one task reads which conversations, read
marks and notifications changed lately. It delivers missing read marks and notifications; a few workers read the missing
messages of conversations, also of those whose feed has a gap.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import TypeVar

from db import tasks
from db.fragments import is_recent, unread_notifications
from db.pool import Database, DatabaseUnavailable
from db.queries.conversations import fetch_changes, list_changed_conversations, list_changed_read_marks
from db.queries.sessions import Sessions
from db.schemas.shapes import Notification
from realtime import channels
from realtime.conversation_feeds import CatchUpQueue
from realtime.events import (
    READ,
    MessageRead,
    NotificationDeleted,
    NotificationReceived,
    NotificationState,
    NotificationUpdated,
    Resync,
)
from realtime.gate import DeliveryGate
from realtime.hub import Hub
from realtime.user_feeds import GONE, IN_TRANSIT_SECONDS, StoredNotice
from services.metrics import CATCH_UPS

COMPARE_SECONDS = 1.5  # an event that did not arrive through Redis is delivered within about this time
OVERLAP_SECONDS = 10  # a transaction may take this long from a change to its commit
WORKERS = 3  # after an outage thousands of feeds lag, but requests need most of the pool
RETRY_SECONDS = 0.5
BATCH = 5_000  # conversations or users in one statement, and changes that it returns: the latest

# The columns of StoredNotice (realtime/user_feeds.py).
LIST_NOTICES = f"""
    with changed as materialized (select * from notifications where {is_recent("changed_at", "$1")}),
        deleted as materialized (select * from deleted_notifications where {is_recent("deleted_at", "$1")})
    select user_id, id, case when is_read then '{READ}' else '' end || iso(greatest(updated_at, changed_at)) as stamp,
        is_read,
        extract(epoch from clock_timestamp() - changed_at)::float8 as age,
        iso(updated_at) as arrival_stamp, extract(epoch from clock_timestamp() - updated_at)::float8 as arrival_age
    from changed where user_id = any($2::uuid[])
    union all
    select user_id, id, '{GONE}', false, extract(epoch from clock_timestamp() - deleted_at)::float8, '{GONE}', 0
    from deleted where user_id = any($2::uuid[])
    order by age limit {BATCH}
"""

FETCH_NOTICES = f"""
    select n.id, n.user_id, {Notification.sql("n")} as notification,
        {unread_notifications("n.user_id")} as unread_count
    from notifications n where n.id = any($1::uuid[]) and not n.is_read
"""

COUNT_UNREAD = f"""
    select u.id, {unread_notifications("u.id")} as unread
    from unnest($1::uuid[]) u(id)
"""

Item = TypeVar("Item")


class CatchUp:
    """Finds events that did not reach this instance's sockets, and delivers them."""

    def __init__(self, db: Database, sessions: Sessions, hub: Hub, gate: DeliveryGate, queue: CatchUpQueue) -> None:
        self.db = db
        self.sessions = sessions
        self.hub = hub
        self.gate = gate
        self.queue = queue
        self.compared_at = time.monotonic()
        self.running: list[asyncio.Task[None]] = []

    def start(self) -> None:
        steps = [("comparison", self._compare), *[("catch-up", self._read_next)] * WORKERS]
        self.running = [
            asyncio.create_task(tasks.supervise(name, step, (DatabaseUnavailable,)), name=name) for name, step in steps
        ]

    async def stop(self) -> None:
        await tasks.end(*self.running)

    async def _compare(self) -> None:
        if not self.hub.has_feeds:  # an idle process would wake up to compare nothing
            self.hub.used.clear()
            await self.hub.used.wait()
            self.compared_at = time.monotonic()  # a feed needs no changes that are older than it
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_seconds()):
                await self.queue.all_soon.wait()
        self.queue.all_soon.clear()
        await self.find_missed()

    async def find_missed(self) -> None:
        """Compare all feeds with what changed since the last successful comparison."""
        now = time.monotonic()
        seconds = now - self.compared_at + OVERLAP_SECONDS
        await self._find_missed_changes(seconds)
        unsure = await self._find_missed_notifications(now, seconds) | await self._find_wrong_counts(now)
        for user_id in unsure:
            self.gate.deliver(channels.user(user_id), Resync("notifications"))
        self.compared_at = now

    async def _find_missed_changes(self, seconds: float) -> None:
        feeds = self.hub.conversations
        joined = [feed.conversation_id for feed in feeds.values() if feed.position is not None]
        for batch in batches(joined):
            for changed in await list_changed_conversations(self.db, seconds, batch):
                feed = feeds.get(channels.conversation(changed.conversation_id))
                if feed and feed.position is not None and (changed.last_rev > feed.position or changed.closed):
                    feed.catch_up()
            marks = await list_changed_read_marks(self.db, seconds, batch)
            answered = time.monotonic()
            for mark in marks:
                channel = channels.conversation(mark.conversation_id)
                feed = feeds.get(channel)
                if feed and feed.misses(mark, answered):
                    self.gate.deliver(channel, MessageRead(mark.conversation_id, mark.user_id, mark.seq, mark.read_at))

    async def _find_missed_notifications(self, now: float, seconds: float) -> set[str]:
        """Deliver notifications and deletions that did not arrive. Return the users who may have missed a read one."""
        feeds = self.hub.users
        missed: dict[str, type[NotificationState]] = {}  # by notification
        deleted: dict[str, str] = {}  # notification → user
        unsure: set[str] = set()
        for batch in batches([feed.user_id for feed in feeds.values()]):
            rows = await self.db.fetch(LIST_NOTICES, seconds, batch)
            answered = time.monotonic()
            for row in rows:
                notice = StoredNotice(*row)
                feed = feeds.get(channels.user(notice.user_id))
                if feed is None or not feed.misses(notice, now, answered):
                    continue
                if notice.is_read:
                    feed.mark_read(notice.id, now)
                    unsure.add(notice.user_id)
                elif notice.stamp == GONE:
                    deleted[notice.id] = notice.user_id
                else:
                    arrived = feed.misses_arrival(notice, answered, seconds)
                    missed[notice.id] = NotificationReceived if arrived else NotificationUpdated
        for feed in feeds.values():
            feed.drop_older_than(now - seconds)
        for row in await self.db.fetch(FETCH_NOTICES, list(missed)) if missed else []:
            event = missed[row["id"]](row["user_id"], row["notification"], row["unread_count"])
            self.gate.deliver(channels.user(event.user_id), event)
        for row in await self.db.fetch(COUNT_UNREAD, list(set(deleted.values()))) if deleted else []:
            for notification_id, user_id in deleted.items():
                if user_id == row["id"]:
                    gone = NotificationDeleted(user_id, notification_id, row["unread"])
                    self.gate.deliver(channels.user(user_id), gone)
        return unsure

    async def _find_wrong_counts(self, now: float) -> set[str]:
        """Return the users whose last delivered unread count is wrong."""
        feeds = self.hub.users
        found: set[str] = set()
        for batch in batches([feed.user_id for feed in feeds.values() if feed.unread is not None]):
            for row in await self.db.fetch(COUNT_UNREAD, batch):
                feed = feeds.get(channels.user(row["id"]))
                if feed and feed.count_was_wrong(row["unread"], now):
                    found.add(row["id"])
        return found

    async def _read_next(self) -> None:
        """Read the changes that one feed lacks."""
        feed = await self.queue.get()
        if not feed.needs_catch_up:
            return
        held_before = list(feed.held)
        try:
            changes = await fetch_changes(self.db, feed.conversation_id, feed.position)
            if not self.sessions.fresh:
                raise DatabaseUnavailable("it is not known which sessions have ended")
        except DatabaseUnavailable:
            self.queue.put(feed, RETRY_SECONDS)
            raise
        if changes is not None:
            CATCH_UPS.inc()
            self.hub.apply(feed, changes, held_before)


def pause_seconds() -> float:
    """Return the time until the next comparison. What is in transit during one has arrived before the next."""
    return max(tasks.until_next(COMPARE_SECONDS), IN_TRANSIT_SECONDS)


def batches(items: list[Item]) -> Iterator[list[Item]]:
    rest = iter(items)
    while batch := list(islice(rest, BATCH)):
        yield batch
