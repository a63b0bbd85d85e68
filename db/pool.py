"""The pool of PostgreSQL connections, with a bound on every wait, and transactions with effects after the commit."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any

import asyncpg
import orjson
import structlog
from asyncpg.pgproto.pgproto import UUID  # in C: seven times as fast as the standard library's

from db import tasks
from db.address import Address
from db.connect import CONNECT_SECONDS, LOCAL_LIMITS, Connector
from db.errors import NotReady
from db.metrics import POOL_WAIT_SECONDS
from db.outage import Outage
from db.shared import SharedStatements

log = structlog.get_logger()

ACQUIRE_SECONDS = 2.0  # a request that waits longer for a connection gets 503 with Retry-After
COMMAND_SECONDS = 5.0  # the bound of each statement; jobs work in small steps
CLOSE_SECONDS = 5.0
MAX_STATEMENTS = 50_000  # of a connection, which is then replaced, because a session's memory in PostgreSQL grows
WATCH_SECONDS = 1.0  # between two checks of a server that has failed


class DatabaseUnavailable(NotReady):
    """PostgreSQL is unreachable, frozen, too busy or takes no writes. The same statement can be tried again."""


# PostgreSQL answers but takes no writes: it is read-only after a fail-over (SQLSTATE 25006), or out of disk space,
# memory or connections (class 53).
REFUSED = (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientResourcesError)

# Errors of asyncpg and the operating system when the server is down, stopping, starting, full or does not answer.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # a connection that died in the middle of a statement
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IdleInTransactionSessionTimeoutError,
    *REFUSED,
)

# A read-only server rejects it, although it locks no row.
ASK_TO_WRITE = "select from _yoyo_migration where false for update"

# Needs disk space too, and changes nothing.
WRITE = "create temp table written on commit drop as select 1"


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    """A connection whose session is not reset on release: asyncpg's reset is a second round trip after each statement.
    No statement changes the session beyond its transaction (tests/guards/test_sql.py checks this)."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Pool(asyncpg.pool.Pool):  # type: ignore[misc]  # asyncpg has no types here
    """A pool that hands out an idle connection, and takes it back, without waiting.

    asyncpg makes a proxy, two timers and a task for each use. It has no public access to its free places."""

    def take_idle(self) -> Any:
        """Return an idle connection; None if the caller has to wait for one with `acquire`."""
        if self.is_closing() or self._queue.empty():
            return None
        holder = self._queue.get_nowait()
        if not holder.is_connected() or holder._generation != self._generation:
            self._queue.put_nowait(holder)
            return None
        holder._in_use = self._loop.create_future()
        return holder._con

    async def give_back(self, conn: asyncpg.Connection, seconds: float) -> None:
        """Take a connection back. This waits only if a statement was cancelled; if the caller is cancelled meanwhile,
        the connection is closed and its place in the pool is free (tests/db/test_pool.py)."""
        holder = conn._pool_holder and conn._pool_holder()
        if holder is None or holder._con is not conn:  # it was closed, which frees its place
            return
        protocol = conn._protocol
        if (
            conn.is_closed() or protocol._is_cancelling() or conn.is_in_transaction()
            or holder._generation != self._generation or protocol.queries_count >= MAX_STATEMENTS
        ):  # fmt: skip
            await holder.release(seconds)
        else:
            holder._release()


# The arguments that `asyncpg.create_pool` passes to its pool.
POOL_DEFAULTS: dict[str, Any] = {
    "record_class": asyncpg.Record,
    "init_size": None,
    "max_queries": 50_000,
    "loop": None,
    "setup": None,
    "reset": None,
}


async def set_codecs(conn: asyncpg.Connection) -> None:
    """Set how JSON and ids are converted.

    JSON arrives as a Fragment of bytes, which orjson copies into a response or frame; text would be decoded from UTF-8
    and encoded again. Ids are text in Python but are sent in binary form: PostgreSQL parses 2,000 of them as text in
    1.2 ms, and reads them as binary in 0.1 ms."""
    await conn.set_type_codec("json", schema="pg_catalog", encoder=str.encode, decoder=orjson.Fragment, format="binary")
    await conn.set_type_codec("uuid", schema="pg_catalog", encoder=pack_id, decoder=unpack_id, format="binary")


def pack_id(id: Any) -> bytes:
    value: bytes = UUID(str(id)).bytes
    return value


def unpack_id(packed: bytes) -> str:
    return str(UUID(packed))


class NoRow(LookupError):
    """A statement that always returns a row returned none: a defect, answered with 500."""


class Queries:
    """Methods that run statements, on one connection or on any of the pool."""

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        raise NotImplementedError

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        value: list[Any] = await self._ask("fetch", sql, *args)
        return value

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        return await self._ask("fetchrow", sql, *args)

    async def fetch_one(self, sql: str, *args: Any) -> asyncpg.Record:
        """Return the row of a statement that always returns one. Raises NoRow."""
        row = await self.fetchrow(sql, *args)
        if row is None:
            raise NoRow(f"no row was returned by: {sql.strip()[:80]}")
        return row

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._ask("fetchval", sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        value: str = await self._ask("execute", sql, *args)
        return value


class Transaction(Queries):
    def __init__(self, database: "Database", conn: asyncpg.Connection) -> None:
        self.database = database
        self.conn = conn
        self.open = True
        self.effects: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        return await getattr(self.conn, method)(sql, *args)

    def after_commit(self, effect: Callable[..., Awaitable[None] | None], *args: Any) -> None:
        """Call `effect(*args)` after the commit, in the order of registration; not after a rollback."""
        self.effects.append((effect, args))


open_transaction: ContextVar[Transaction | None] = ContextVar("open_transaction", default=None)


class Acquired:
    """A connection of the pool for an `async with` block. Raises DatabaseUnavailable for every error of an unavailable
    PostgreSQL. A class, because a generator would cost each statement more."""

    def __init__(self, database: "Database") -> None:
        self.database = database

    async def __aenter__(self) -> Any:
        database = self.database
        if database.strict and (outer := open_transaction.get()) and outer.open and outer.database is database:
            raise RuntimeError("Use the open transaction, not the database: a request holds one connection at a time")
        try:
            self.conn = await database.acquire()
        except (*UNAVAILABLE, asyncpg.InterfaceError) as error:
            self.check(error, dead=False)
            raise
        return self.conn

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        dead = self.conn.is_closed()
        try:
            await self.database.pool.give_back(self.conn, ACQUIRE_SECONDS)
        except UNAVAILABLE as lost:
            self.check(lost, dead)
        if error is not None:
            self.check(error, dead)

    def check(self, error: BaseException, dead: bool) -> None:
        """Raise DatabaseUnavailable if this is an error of PostgreSQL's. InterfaceError is raised for a dead connection
        or a closed pool, and also for wrong arguments, which are a defect."""
        closed = isinstance(error, asyncpg.InterfaceError) and (dead or self.database.pool.is_closing())
        if closed or isinstance(error, UNAVAILABLE):
            raise self.database.unavailable(error) from error


class Database(Queries):
    """The database. `strict` (tests) forbids a second connection inside a transaction, because requests that hold one
    connection and wait for another one can use up the pool."""

    def __init__(self, url: str, strict: bool = False) -> None:
        self.strict = strict
        self.connector = Connector(Address.parse(url))
        self.pool: Any = None
        self.shared = SharedStatements(self)
        self.waiting = 0  # statements and transactions that wait for a connection of the pool
        self.outage = Outage("PostgreSQL is not available", "PostgreSQL is available again")
        self.refuses_writes = False
        self.failed = asyncio.Event()  # a statement failed: check PostgreSQL
        self.stale = False  # a write was rejected: open connections may stay read-only
        self.watching: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, size: int, *, strict: bool = False) -> "Database":
        database = cls(url, strict)
        try:
            await database.connector.detect_pooler()
            database.pool = await Pool(
                connect=database.connector,
                command_timeout=COMMAND_SECONDS,
                min_size=1,
                max_size=min(size, database.connector.address.number("connection_limit") or size),
                init=set_codecs,
                connection_class=PooledConnection,
                max_inactive_connection_lifetime=0,  # saves a timer per use; keep-alive finds dead connections
                **POOL_DEFAULTS,
            )
        except UNAVAILABLE as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        database.watching = asyncio.create_task(
            tasks.supervise("database watch", database._watch), name="database watch"
        )
        return database

    async def close(self) -> None:
        await tasks.end(self.watching)
        try:
            await asyncio.wait_for(self.pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self.pool.terminate()

    def connection(self) -> "Acquired":
        return Acquired(self)

    async def acquire(self) -> Any:
        conn = self.pool.take_idle()
        if conn is not None:
            POOL_WAIT_SECONDS.observe(0)
            return conn
        began, self.waiting = time.monotonic(), self.waiting + 1
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):  # asyncpg's own time-out makes a task
                return (await self.pool.acquire())._con
        finally:
            self.waiting -= 1
            POOL_WAIT_SECONDS.observe(time.monotonic() - began)

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        async with self.connection() as conn:
            return await getattr(conn, method)(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Open a transaction. After its commit and the release of its connection, run the effects of `after_commit`."""
        async with self.connection() as conn, conn.transaction():
            if self.connector.pooled:
                await conn.execute(LOCAL_LIMITS)
            tx = Transaction(self, conn)
            outer = open_transaction.set(tx)
            try:
                yield tx
            finally:
                open_transaction.reset(outer)
                tx.open = False  # also for tasks that were started inside
        for effect, args in tx.effects:
            try:
                result = effect(*args)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                # The change is committed; clients that missed the event get it by the catch-up or their next request.
                log.exception("after_commit failed", effect=getattr(effect, "__qualname__", repr(effect)))

    # -- a server that fails -----------------------------------------------------------------------------------------

    @property
    def is_unavailable(self) -> bool:
        """Return whether the last check found that PostgreSQL does not answer, or takes no writes."""
        return self.outage.since is not None

    async def check_writes(self) -> None:
        """Raise DatabaseUnavailable while PostgreSQL takes no writes."""
        if self.refuses_writes:
            raise DatabaseUnavailable("PostgreSQL takes no writes")
        await self.execute(ASK_TO_WRITE)

    def unavailable(self, error: BaseException) -> DatabaseUnavailable:
        self.stale = self.stale or isinstance(error, REFUSED)
        self.failed.set()
        return DatabaseUnavailable(type(error).__name__)

    async def _watch(self) -> None:
        """Wait for a failure of the server. Then check it once a second, until it takes writes."""
        await self.failed.wait()
        self.failed.clear()
        error = await self._try_to_write()
        # A session stays read-only if it was opened so, so the pool opens new connections. If the server is out of
        # resources, open connections can still read, and it may be unable to open new ones.
        renew = error or self.stale or self.is_unavailable
        if renew and not isinstance(error, asyncpg.InsufficientResourcesError):
            await self.pool.expire_connections()
            self.stale = False
        self.refuses_writes = isinstance(error, REFUSED)
        if error:
            self.outage.begin(error)
            self.failed.set()
        else:
            self.outage.end()
        await asyncio.sleep(WATCH_SECONDS)

    async def _try_to_write(self) -> Exception | None:
        """Return the error of a write on a new connection, or None. The pool is not used, because it may be full."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                conn = await self.connector(command_timeout=COMMAND_SECONDS)
                try:
                    await conn.execute(WRITE)
                finally:
                    await conn.close()
        except asyncpg.InsufficientPrivilegeError:
            return None  # the role may not create temporary tables; the server works
        except Exception as error:  # any kind: statements would fail with it too
            return error
        return None
