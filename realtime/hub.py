"""This process: who listens to what. Channel names come from channels.py, order within a conversation from feeds.py."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

import structlog

from db import tasks
from db.pool import Database, DatabaseUnavailable
from db.queries.conversations import Changes, fetch_changes, list_marked, list_moved
from realtime import channels
from realtime.catch_up import Inboxes
from realtime.events import Envelope, Event, MessageRead, encode
from realtime.feeds import Feed, Listener
from realtime.gate import Gate

log = structlog.get_logger()

WATCH_SECONDS = 1.5  # a change that Redis did not bring is found by then
OVERLAP_SECONDS = 10  # longer than a transaction may hold back what it has written
CATCH_UPS_AT_ONCE = 3  # after an outage thousands lag: requests keep most of the pool
ASKED_AT_ONCE = 5_000  # conversations in one statement


class Channels(Protocol):
    """What the hub needs of the relay."""

    async def subscribe(self, channel: str) -> None: ...

    def unsubscribe(self, channel: str) -> None: ...


class Hub:
    def __init__(self, db: Database, fresh: Callable[[], bool] = lambda: True) -> None:
        """`fresh`: whether it is known who is signed in (realtime/gate.py)."""
        self.db = db
        self.gate = Gate(fresh, self._hand_on, lambda: self.resync("overflow"))
        self.relay: Channels | None = None
        self.users: dict[str, set[Listener]] = {}  # by channel
        self.inboxes = Inboxes(db)
        self.feeds: dict[str, Feed] = {}  # by channel
        self.on_author: Callable[[str, str], None] = lambda conversation_id, user_id: None
        self.catching_up = asyncio.Semaphore(CATCH_UPS_AT_ONCE)
        self.watched_at = time.monotonic()
        self.wake = asyncio.Event()
        self.watching: asyncio.Task[None] | None = None

    # -- users -------------------------------------------------------------------------------------------------------

    async def add_user(self, listener: Listener) -> None:
        channel = channels.user(listener.user_id)
        self.users.setdefault(channel, set()).add(listener)
        self.inboxes.open(listener.user_id)
        await self._subscribe(channel)

    def remove_user(self, listener: Listener) -> None:
        channel = channels.user(listener.user_id)
        listeners = self.users.get(channel, set())
        listeners.discard(listener)
        if not listeners and self.users.pop(channel, None) is not None:
            self.inboxes.close(listener.user_id)
            self._unsubscribe(channel)

    def sockets_of(self, user_id: str) -> list[Listener]:
        return list(self.users.get(channels.user(user_id), ()))

    # -- conversations -----------------------------------------------------------------------------------------------

    async def begin_join(self, listener: Listener, conversation_id: str) -> Feed:
        """From here on nothing that happens there passes the socket by; finish or leave must follow."""
        channel = channels.conversation(conversation_id)
        feed = self.feeds.get(channel)
        if feed is None:
            feed = self.feeds[channel] = Feed(conversation_id, self._fetch, self._forget, self.tell)
        feed.begin_join(listener)
        await self._subscribe(channel)
        return feed

    def leave(self, listener: Listener, conversation_id: str) -> None:
        channel = channels.conversation(conversation_id)
        feed = self.feeds.get(channel)
        if feed is None:
            return
        feed.leave(listener)
        if feed.empty:
            self._forget(feed)

    async def _fetch(self, conversation_id: str, after: int) -> Changes | None:
        async with self.catching_up:
            changes = await fetch_changes(self.db, conversation_id, after)
        if not self.gate.fresh():
            raise DatabaseUnavailable("nobody knows who is signed in")
        return changes

    def _forget(self, feed: Feed) -> None:
        if self.feeds.get(feed.channel) is feed:
            del self.feeds[feed.channel]
            self._unsubscribe(feed.channel)

    # -- delivering --------------------------------------------------------------------------------------------------

    def deliver(self, envelope: Envelope) -> None:
        """Hand a frame to this instance's sockets; never waits."""
        self.gate.take(envelope)

    def _hand_on(self, envelope: Envelope) -> None:
        feed = self.feeds.get(envelope.channel)
        if feed is not None:
            feed.deliver(envelope)
            if envelope.author:
                self.on_author(feed.conversation_id, envelope.author)
        listeners = self.users.get(envelope.channel)
        if listeners and self.inboxes.is_news(envelope):
            for listener in list(listeners):
                listener.send(envelope.frame)

    def resync(self, reason: str) -> None:
        """Something may have been missed: users are told to look again, conversations are caught up."""
        frame = encode("resync", {"reason": reason})
        everybody = [listener for listeners in self.users.values() for listener in listeners]
        for listener in everybody:  # a copy: who reads too slowly leaves with this frame
            listener.send(frame)
        self.wake.set()

    # -- what Redis did not bring ------------------------------------------------------------------------------------

    def start(self) -> None:
        self.watching = asyncio.create_task(self._watch(), name="hub watch")

    async def stop(self) -> None:
        await tasks.end(self.watching)

    async def _watch(self) -> None:
        while True:
            try:
                async with asyncio.timeout(WATCH_SECONDS):
                    await self.wake.wait()
            except TimeoutError:
                pass
            self.wake.clear()
            try:
                await self.look()
            except DatabaseUnavailable:
                pass  # looked at again with the next round, as far back as this one
            except Exception:
                log.exception("hub watch failed")

    async def look(self) -> None:
        """Compare what was delivered with what the database holds, and catch up where it lags."""
        began = time.monotonic()
        seconds = began - self.watched_at + OVERLAP_SECONDS
        joined = [feed.conversation_id for feed in self.feeds.values() if feed.position is not None]
        for start in range(0, len(joined), ASKED_AT_ONCE):
            some = joined[start : start + ASKED_AT_ONCE]
            for moved in await list_moved(self.db, seconds, some):
                feed = self.feeds.get(channels.conversation(moved.conversation_id))
                if feed and feed.position is not None and (moved.last_rev > feed.position or moved.closed):
                    feed.catch_up()
            for mark in await list_marked(self.db, seconds, some):
                feed = self.feeds.get(channels.conversation(mark.conversation_id))
                if feed and feed.lacks(mark, began):
                    self.tell(MessageRead(mark.conversation_id, mark.user_id, mark.seq, mark.read_at))
        for envelope in await self.inboxes.look(seconds):
            self.deliver(envelope)
        self.watched_at = began

    def tell(self, event: Event) -> None:
        """This instance's sockets alone."""
        for envelope in event.envelopes():
            self.deliver(envelope)

    async def _subscribe(self, channel: str) -> None:
        if self.relay:
            await self.relay.subscribe(channel)

    def _unsubscribe(self, channel: str) -> None:
        if self.relay and channel not in self.users and channel not in self.feeds:
            self.relay.unsubscribe(channel)
