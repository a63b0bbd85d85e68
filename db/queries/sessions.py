"""Sessions in PostgreSQL, cached by each instance. An ended session stops on every instance within a second.

An instance caches the callers that it has loaded, so most requests need no query for them. This is safe because each
instance queries a few times a second which sessions have ended, removes them from its cache and closes their sockets.
A cached caller is used only while this check is recent. While PostgreSQL does not answer, no cached caller is used.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from db.fragments import is_recent
from db.pool import Database, Queries, Transaction

EndReason = Literal["LOGGED_OUT", "SUSPENDED", "DELETED", "PASSWORD_CHANGED", "REUSED", "REPLACED"]

SESSIONS_PER_USER = 20
NETWORKS_PER_USER = 20  # known networks: home, work, a few mobile carriers, some hotels
CHECK_SECONDS = 0.3
IDLE_SECONDS = 5.0  # without a request and without a socket; then nobody needs the checks
CHECK_NOW_SECONDS = 1.0
TRUST_SECONDS = 0.8  # a cached caller is used only if the last successful check is younger than this
OVERLAP_SECONDS = 15  # longer than any transaction between setting `ended_at` and its commit
CACHE_SECONDS = 300
CACHED_CALLERS = 50_000  # about 20 MB


class Caller(NamedTuple):
    id: str
    role: str
    session_id: str


LOAD_CALLER = """
    select s.id as key, s.user_id, u.role
    from sessions s join users u on u.id = s.user_id
    where s.id = any($1::uuid[]) and s.ended_at is null and s.expires_at > now() and u.status = 'ACTIVE'
"""

LIST_ENDED = f"select id, user_id, end_reason from sessions where {is_recent('ended_at', '$1')}"

LOCK_USER = "select from users where id = $1 for update"

# Ends the oldest sessions above the limit, so that a sign-in is never rejected because of it.
END_OLDEST_SESSIONS = """
    update sessions set ended_at = clock_timestamp(), end_reason = 'REPLACED'
    where id in (
        select id from sessions where user_id = $1 and ended_at is null and expires_at > now()
        order by created_at desc offset $2
    )
"""

OPEN_SESSION = """
    insert into sessions (user_id, expires_at, ip_address, user_agent)
    values ($1, now() + make_interval(secs => $2), $3, left($4, 400))
    returning id
"""

END_SESSION = """
    update sessions set ended_at = clock_timestamp(), end_reason = $2
    where id = $1 and ended_at is null
"""

END_SESSIONS = """
    update sessions set ended_at = clock_timestamp(), end_reason = $2
    where user_id = $1 and ended_at is null and id is distinct from $3
"""


# The caller holds the lock of the user, so the limit is exact.
REMEMBER_NETWORK = """
    with forgotten as (
        delete from known_networks where user_id = $1 and network_hash in (
            select network_hash from known_networks where user_id = $1 and network_hash <> $2
            order by last_used_at desc offset $3
        )
    )
    insert into known_networks (user_id, network_hash) values ($1, $2)
    on conflict (user_id, network_hash) do update set last_used_at = now()
"""

KNOWS_NETWORK = """
    select exists (
        select from known_networks k join users u on u.id = k.user_id
        where lower(u.email) = $1 and k.network_hash = any($2)
    )
"""


async def open_session(tx: Transaction, user_id: str, seconds: float, ip: str, user_agent: str) -> str:
    """Open a session with generation 1 and return its id; end the user's oldest sessions above SESSIONS_PER_USER."""
    await tx.execute(LOCK_USER, user_id)
    await tx.execute(END_OLDEST_SESSIONS, user_id, SESSIONS_PER_USER - 1)
    value: str = await tx.fetchval(OPEN_SESSION, user_id, seconds, ip, user_agent)
    return value


async def remember_network(tx: Transaction, user_id: str, network_hash: bytes) -> None:
    """Store that the user has signed in from this network, after `open_session`."""
    await tx.execute(REMEMBER_NETWORK, user_id, network_hash, NETWORKS_PER_USER - 1)


async def knows_network(queries: Queries, email: str, network_hashes: Sequence[bytes]) -> bool:
    """Return whether this account has signed in from the network; `network_hashes` has one hash per key."""
    value: bool = await queries.fetchval(KNOWS_NETWORK, email, network_hashes)
    return value


async def end_sessions(queries: Queries, user_id: str, reason: EndReason, keep: str | None = None) -> None:
    """End all sessions of a user except `keep`; the check of each instance then closes their sockets."""
    await queries.execute(END_SESSIONS, user_id, reason, keep)


class EndedSession(NamedTuple):
    session_id: str
    user_id: str
    reason: EndReason


class Sessions:
    """The cached callers of this instance, and the check that finds sessions that ended on any instance."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.cached: OrderedDict[str, tuple[Caller, float]] = OrderedDict()
        self.ended: dict[str, float] = {}
        self.checked_at = float("-inf")  # when the last successful check began
        self.used_at = float("-inf")  # when a caller was last needed
        self.paused = False  # no checks until a caller is needed
        self.check_soon = asyncio.Event()
        self.check_soon.set()
        self.waiting: list[asyncio.Future[None]] = []  # resolved when the next check ends

    @property
    def fresh(self) -> bool:
        """Return whether the last successful check is recent enough to use cached callers."""
        return time.monotonic() - self.checked_at < TRUST_SECONDS

    async def caller(self, session_id: str, user_id: str) -> Caller | None:
        """Return the caller of this session, or None if it has ended or its account is not active."""
        now = self._use()
        caller, until = self.cached.get(session_id, (None, 0.0))
        if caller is not None and now < until and self.fresh:
            return caller if caller.id == user_id else None
        row = await self.database.shared.fetchrow(LOAD_CALLER, session_id)
        if row is None or row["user_id"] != user_id:
            self.cached.pop(session_id, None)
            return None
        if session_id in self.ended:  # it ended during the query; `find_ended` has returned it
            return None
        self._use()  # also if the checks have paused during the query
        caller = Caller(user_id, row["role"], session_id)
        self.cached[session_id] = (caller, now + CACHE_SECONDS)
        self.cached.move_to_end(session_id)
        if len(self.cached) > CACHED_CALLERS:
            self.cached.popitem(last=False)
        return caller

    def _use(self) -> float:
        """Continue the checks if they have paused; return the time."""
        self.used_at = time.monotonic()
        if self.paused:
            self.paused = False
            self.check_soon.set()
        return self.used_at

    async def next_check(self, has_sockets: bool) -> None:
        """Wait until the next check is due: soon, or when a caller is needed again if this instance is idle."""
        if not has_sockets and time.monotonic() - self.used_at > IDLE_SECONDS:
            self.paused = True
            self.cached.clear()  # they are loaded again, because the next check does not look back so far
            self.checked_at = float("-inf")
            await self.check_soon.wait()
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_SECONDS):
                await self.check_soon.wait()

    async def find_ended(self) -> list[EndedSession]:
        """Return the sessions that ended since the last check, each once, and drop their cached callers."""
        self.check_soon.clear()
        waiting, self.waiting = self.waiting, []
        try:
            now = time.monotonic()
            silence = 0.0 if self.checked_at == float("-inf") else now - self.checked_at
            rows = await self.database.fetch(LIST_ENDED, silence + OVERLAP_SECONDS)
        finally:
            for waiter in waiting:
                if not waiter.done():
                    waiter.set_result(None)
        found = [
            EndedSession(row["id"], row["user_id"], row["end_reason"]) for row in rows if row["id"] not in self.ended
        ]
        for ended in found:
            self.cached.pop(ended.session_id, None)
        self.ended.update((row["id"], now) for row in rows)
        self.checked_at = now
        drop_before = now - silence - 2 * OVERLAP_SECONDS
        self.ended = {session: seen for session, seen in self.ended.items() if seen > drop_before}
        return found

    async def check_now(self) -> None:
        """Run the check now and wait for it, because the caller has committed the end of a session.

        Return also if the database does not answer: the end is committed, and the next successful check finds it.
        """
        waiter = asyncio.get_running_loop().create_future()
        self.waiting.append(waiter)
        self.check_soon.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(CHECK_NOW_SECONDS):
                await waiter
