"""Who is online, counted over all sockets and instances, told to the users they are connected to.

Each instance keeps in Redis what it holds, and beats. Whoever lives sweeps an instance that has stopped beating.
Nothing waits for any of this: sockets note their coming and going here, a worker tells Redis in batches and announces
what changed. Redis may be away or lose everything: what each instance holds is told again, and until all have had the
time to do so nobody is declared gone.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import structlog

from db import tasks
from db.pool import Database, DatabaseUnavailable
from realtime.events import Event, UserOffline, UserOnline
from realtime.feeds import Listener
from realtime.presence.scripts import BEAT, INSTANCES, LEAVE, PRESENT, SWEEP, TELL
from services.redis_client import FAILURES

log = structlog.get_logger()

GRACE_SECONDS = 10.0  # a reload or a change of instance is no departure
BEAT_SECONDS = 2.0
DEAD_SECONDS = 10.0  # of silence; then an instance's users are gone, unless they are elsewhere
FRESH_SECONDS = 4.0  # sockets of an instance that has beaten within this count towards a user's bound
REDIS_SECONDS = 1.0
RETRY_SECONDS = 0.5
BATCH_USERS = 200
TOLD_USERS = 1_000  # how many of a user's connections hear of it; the latest ones

# The users that $1 is connected to, the latest first.
CONNECTED = f"""
    select other_id from (
        select receiver_id as other_id, updated_at from connection_requests where sender_id = $1 and status = 'ACCEPTED'
        union all
        select sender_id, updated_at from connection_requests where receiver_id = $1 and status = 'ACCEPTED'
    ) connections order by updated_at desc limit {TOLD_USERS}
"""

NOTE_SEEN = f"""
    update users set last_seen_at = greatest(last_seen_at, $2) where id = $1
    returning iso(last_seen_at) as last_seen_at, array({CONNECTED})::text[] as tell
"""

LIST_CONNECTED = f"select id, iso(last_seen_at) as last_seen_at from users where id in ({CONNECTED})"


class Presence:
    def __init__(
        self,
        redis: Any,
        instance_id: str,
        db: Database,
        publish: Callable[[Event], None],
        sockets_per_user: int,
        on_crowd: Callable[[str], None],
    ) -> None:
        self.redis = redis
        self.instance_id = instance_id
        self.db = db
        self.publish = publish
        self.sockets_per_user = sockets_per_user
        self.on_crowd = on_crowd  # called with a user who has more sockets than that
        self.counts: dict[str, int] = {}  # user -> open sockets here; 0 during the grace
        self.graces: dict[str, asyncio.TimerHandle] = {}
        self.left_at: dict[str, float] = {}
        self.untold: dict[str, None] = {}  # users of whom Redis does not know the present count; in order
        self.silent: set[str] = set()  # told anew to a Redis that forgot: no news to anybody
        # News that is still to be told; no more than there are users: when they came, when they were last seen.
        self.came: dict[str, float] = {}
        self.went: dict[str, float] = {}
        self.newcomers: dict[Listener, None] = {}  # sockets that do not know yet who is online
        self.settled_at = float("inf")  # since when every instance has had the chance to tell what it holds
        self.wake = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [
            asyncio.create_task(self._beat_for_ever(), name="presence beat"),
            asyncio.create_task(self._tell_for_ever(), name="presence"),
        ]

    async def stop(self) -> None:
        """Tell the other instances that this is no death. Its users stay: they are gone when they have had their grace,
        like those of a dead instance."""
        for grace in self.graces.values():
            grace.cancel()
        await tasks.end(*self.tasks)
        with suppress(*FAILURES):  # without Redis the stop is taken for a death
            await self._run(LEAVE, self.instance_id)

    # -- what sockets note -------------------------------------------------------------------------------------------

    def arrive(self, listener: Listener) -> None:
        user_id = listener.user_id
        self.counts[user_id] = self.counts.get(user_id, 0) + 1
        grace = self.graces.pop(user_id, None)
        if grace:
            grace.cancel()
        self.newcomers[listener] = None
        self._changed(user_id)

    def leave(self, listener: Listener) -> None:
        user_id = listener.user_id
        self.newcomers.pop(listener, None)
        if self.counts.get(user_id, 0) > 0:
            self.counts[user_id] -= 1
            if self.counts[user_id] == 0:
                self.left_at[user_id] = time.time()
                self.graces[user_id] = asyncio.get_running_loop().call_later(GRACE_SECONDS, self._gone, user_id)
            self._changed(user_id)

    def _gone(self, user_id: str) -> None:
        del self.graces[user_id], self.counts[user_id]
        self._changed(user_id)

    def _changed(self, user_id: str) -> None:
        self.untold[user_id] = None
        self.wake.set()

    @property
    def settled(self) -> bool:
        return time.monotonic() - self.settled_at >= DEAD_SECONDS

    # -- telling Redis -----------------------------------------------------------------------------------------------

    async def _tell_for_ever(self) -> None:
        while True:
            await self.wake.wait()
            self.wake.clear()
            try:
                while batch := self._next_batch():
                    await self._tell(batch)
                await self._spread_the_news()
                while self.newcomers:
                    await self._welcome(next(iter(self.newcomers)))
            except (*FAILURES, DatabaseUnavailable):
                self._look_again_in(RETRY_SECONDS)
            except Exception:
                log.exception("presence failed")
                self._look_again_in(RETRY_SECONDS)

    def _look_again_in(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self.wake.set)

    def _next_batch(self) -> list[str]:
        """Departures wait until it is certain that nobody else holds the user."""
        if self.settled:
            return list(islice(self.untold, BATCH_USERS))
        batch = list(islice((user_id for user_id in self.untold if user_id in self.counts), BATCH_USERS))
        if not batch and self.untold:
            self._look_again_in(RETRY_SECONDS)
        return batch

    async def _tell(self, users: list[str]) -> None:
        counts = {user_id: self.counts.get(user_id, -1) for user_id in users}
        pairs = [part for pair in counts.items() for part in pair]
        answers = await self._run(TELL, self.instance_id, FRESH_SECONDS, *pairs)
        for (user_id, count), (before, elsewhere, total) in zip(counts.items(), answers, strict=True):
            if self.counts.get(user_id, -1) == count:
                self.untold.pop(user_id, None)
            if count >= 0 and not before and not elsewhere and user_id not in self.silent:
                if self.went.pop(user_id, None) is None:  # else nobody was told that the user had gone
                    self.came[user_id] = time.time()
            elif count < 0:
                left_at = self.left_at.pop(user_id, time.time())
                if before and not elsewhere and self.came.pop(user_id, None) is None:
                    self.went[user_id] = left_at
            self.silent.discard(user_id)
            if total > self.sockets_per_user and self.counts.get(user_id):
                self.on_crowd(user_id)

    async def _run(self, script: str, *arguments: Any) -> Any:
        async with asyncio.timeout(REDIS_SECONDS):
            return await self.redis.eval(script, 1, INSTANCES, *arguments)

    # -- telling people ----------------------------------------------------------------------------------------------

    async def _announce(self, event: type[UserOnline] | type[UserOffline], user_id: str, seen_at: float) -> None:
        row = await self.db.fetchrow(NOTE_SEEN, user_id, datetime.fromtimestamp(seen_at, UTC))
        if row is not None and row["tell"]:
            self.publish(event(user_id, row["last_seen_at"], tuple(row["tell"])))

    async def _spread_the_news(self) -> None:
        """Who has come back before or while a departure was told is online, in whatever order it is heard."""
        while self.came:
            user_id, seen_at = next(iter(self.came.items()))
            await self._announce(UserOnline, user_id, seen_at)
            self.came.pop(user_id, None)
        while users := list(islice(self.went, BATCH_USERS)):
            gone = await self._present(users, present=False)
            for user_id in gone:
                await self._announce(UserOffline, user_id, self.went.get(user_id, time.time()))
            for user_id in await self._present(gone, present=True):
                await self._announce(UserOnline, user_id, time.time())
            for user_id in users:
                self.went.pop(user_id, None)

    async def _present(self, users: list[str], present: bool) -> list[str]:
        """Those of `users` who are online, or those who are not."""
        if not users:
            return []
        answers = await self._run(PRESENT, *users)
        return [user_id for user_id, answer in zip(users, answers, strict=True) if bool(answer) == present]

    async def _welcome(self, listener: Listener) -> None:
        """Tell a new socket which of its user's connections are online."""
        rows = await self.db.fetch(LIST_CONNECTED, listener.user_id)
        seen = {row["id"]: row["last_seen_at"] for row in rows}
        online = await self._present(list(seen), present=True)
        if self.newcomers.pop(listener, 0) == 0:  # it has left meanwhile
            return
        for user_id in online:
            for envelope in UserOnline(user_id, seen[user_id], (listener.user_id,)).envelopes():
                listener.send(envelope.frame)

    # -- living and dying --------------------------------------------------------------------------------------------

    async def _beat_for_ever(self) -> None:
        while True:
            try:
                await self.beat()
            except FAILURES:
                self.settled_at = float("inf")
            except Exception:
                log.exception("presence beat failed")
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        """Say that this instance lives; tell everything anew to a Redis that has forgotten it; sweep the dead."""
        silence, swept, dead = await self._run(BEAT, self.instance_id, DEAD_SECONDS)
        if silence < 0:
            self.silent = set() if swept else set(self.counts)
            self.untold = dict.fromkeys([*self.untold, *self.counts])
            self.wake.set()
        if self.settled_at == float("inf") or not 0 <= silence < DEAD_SECONDS:
            self.settled_at = time.monotonic()
        for instance_id in dead if self.settled else []:
            for last_beat, gone, left in await self._run(SWEEP, instance_id.decode(), DEAD_SECONDS):
                if not left:
                    log.warning("an instance has died", instance=instance_id.decode(), users=len(gone))
                self.went.update({user_id.decode(): float(last_beat) for user_id in gone})
                self.wake.set()
