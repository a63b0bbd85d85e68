"""The pool of PostgreSQL connections, with a bound on every wait, and transactions with effects after their commit."""

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import asyncpg
import orjson
import structlog
from asyncpg.pgproto.pgproto import UUID  # in C: a seventh of the standard library's cost

from db import tasks
from db.address import Address
from db.connect import CONNECT_SECONDS, LOCAL_LIMITS, Connector
from db.errors import NotReady
from db.metrics import POOL_WAIT_SECONDS
from db.outage import Outage

log = structlog.get_logger()

ACQUIRE_SECONDS = 2.0  # a request that waits longer for a connection is better told to come back
COMMAND_SECONDS = 5.0  # the slowest statement of a request; jobs take their work in small steps
CLOSE_SECONDS = 5.0
WATCH_SECONDS = 1.0  # between two looks at a server that has failed


class DatabaseUnavailable(NotReady):
    """PostgreSQL is away, frozen, too busy or takes no writes. The same statement can be tried again."""


# PostgreSQL answers and takes no writes: it is read-only after a fail-over (SQLSTATE 25006), or its disk is full, its
# memory used up, its connections all taken (class 53).
REFUSED = (asyncpg.ReadOnlySQLTransactionError, asyncpg.InsufficientResourcesError)

# What asyncpg and the operating system raise when the server is gone, going, starting, full or silent.
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

# Refused by a read-only server, although it locks nothing.
ASK_TO_WRITE = "select from _yoyo_migration where false for update"

# Needs disk space too, and leaves nothing behind.
WRITE = "create temp table written on commit drop as select 1"


class PooledConnection(asyncpg.Connection):  # type: ignore[misc]
    """Between two users of a connection asyncpg resets its session, which is a second round trip after each statement.
    Nothing of ours outlives its transaction (tests/guards/test_sql.py holds every statement to that)."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


class Pool(asyncpg.pool.Pool):  # type: ignore[misc]  # asyncpg has no types here
    """asyncpg puts each release into a task of its own, so that a cancelled caller returns its connection. Ours needs
    no task: a release waits only if a statement was cancelled. If the caller is cancelled meanwhile, the connection is
    closed and its place in the pool is free (tests/db/test_pool.py)."""

    async def release(self, connection: Any, *, timeout: float | None = None) -> None:  # noqa: ASYNC109  asyncpg's
        if connection._con is not None:  # None: it was released before
            connection._con._on_release()
            await connection._holder.release(timeout)


# What `asyncpg.create_pool` gives its pool.
POOL_DEFAULTS: dict[str, Any] = {
    "record_class": asyncpg.Record, "init_size": None, "max_queries": 50_000, "loop": None, "setup": None,
    "reset": None,
}  # fmt: skip


async def set_codecs(conn: asyncpg.Connection) -> None:
    """JSON that a statement builds arrives as a Fragment, which orjson writes into an answer or a frame as it is.
    Ids are text in Python, as they are on the wire, but binary to PostgreSQL, which would parse each: 2,000 of them in
    1.2 ms instead of 0.1 (the polls of hub and inboxes ask for all that they hold)."""
    await conn.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=orjson.Fragment)
    await conn.set_type_codec("uuid", schema="pg_catalog", encoder=pack_id, decoder=unpack_id, format="binary")


def pack_id(id: Any) -> bytes:
    value: bytes = UUID(str(id)).bytes
    return value


def unpack_id(packed: bytes) -> str:
    return str(UUID(packed))


def is_dead(conn: Any) -> bool:
    """Whether this connection of a pool, while it is in use, has died."""
    try:
        value: bool = conn.is_closed()
        return value
    except asyncpg.InterfaceError:  # the pool has taken it back, as it does with dead ones
        return True


class NoRow(LookupError):
    """A statement that always returns a row returned none: a defect, answered with 500."""


class Queries:
    """Statements, over one connection or over any of the pool."""

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
    def __init__(self, database: "Database", conn: Any) -> None:
        self.database = database
        self.conn = conn
        self.open = True
        self.effects: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        return await getattr(self.conn, method)(sql, *args)

    def after_commit(self, effect: Callable[..., Awaitable[None] | None], *args: Any) -> None:
        """Call `effect(*args)` once the transaction stands; in order, and never if it is rolled back."""
        self.effects.append((effect, args))


open_transaction: ContextVar[Transaction | None] = ContextVar("open_transaction", default=None)


class Database(Queries):
    """`strict` (tests): refuse to take a second connection inside a transaction. Requests that each hold one connection
    and wait for another starve the pool."""

    def __init__(self, url: str, strict: bool = False) -> None:
        self.strict = strict
        self.connector = Connector(Address.parse(url))
        self.pool: Any = None
        self.waiting = 0  # statements and transactions that wait for a connection of the pool
        self.outage = Outage("PostgreSQL is not available", "PostgreSQL is available again")
        self.refuses_writes = False
        self.failed = asyncio.Event()  # PostgreSQL is to be looked at
        self.stale = False  # a connection was refused a write: it, and others, may stay read-only for good
        self.watching: asyncio.Task[None] | None = None

    @classmethod
    async def connect(cls, url: str, size: int, *, strict: bool = False) -> "Database":
        database = cls(url, strict)
        try:
            await database.connector.look_for_pooler()
            database.pool = await Pool(
                connect=database.connector,
                command_timeout=COMMAND_SECONDS,
                min_size=1,
                max_size=min(size, database.connector.address.number("connection_limit") or size),
                init=set_codecs,
                connection_class=PooledConnection,
                max_inactive_connection_lifetime=0,  # a timer for each use; keep-alive finds connections that are dead
                **POOL_DEFAULTS,
            )
        except UNAVAILABLE as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        database.watching = asyncio.create_task(database._watch(), name="database watch")
        return database

    async def close(self) -> None:
        await tasks.end(self.watching)
        try:
            await asyncio.wait_for(self.pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self.pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; everything that means “PostgreSQL is away” becomes DatabaseUnavailable."""
        if self.strict and (outer := open_transaction.get()) and outer.open and outer.database is self:
            raise RuntimeError("Ask the open transaction, not the database: a request holds one connection at a time")
        try:
            conn = await self._acquire()
            try:
                yield conn
            except asyncpg.InterfaceError as error:
                # Of a connection that has died as well as of arguments that do not fit, which is a defect of ours.
                if not is_dead(conn):
                    raise
                raise self._unavailable(error) from error
            finally:
                await self.pool.release(conn, timeout=ACQUIRE_SECONDS)
        except UNAVAILABLE as error:
            raise self._unavailable(error) from error
        except asyncpg.InterfaceError as error:
            if self.pool.is_closing():
                raise DatabaseUnavailable(type(error).__name__) from error
            raise

    async def _acquire(self) -> Any:
        began, self.waiting = time.monotonic(), self.waiting + 1
        try:
            async with asyncio.timeout(ACQUIRE_SECONDS):  # asyncpg's own time-out makes a task
                return await self.pool.acquire()
        finally:
            self.waiting -= 1
            POOL_WAIT_SECONDS.observe(time.monotonic() - began)

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        async with self.connection() as conn:
            return await getattr(conn, method)(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All or nothing; what was registered with `after_commit` runs when the connection is back in the pool."""
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
                # The change is committed; clients that missed the event get it by the catch-up, or ask again.
                log.exception("after_commit failed", effect=getattr(effect, "__qualname__", repr(effect)))

    # -- a server that fails -----------------------------------------------------------------------------------------

    @property
    def away(self) -> bool:
        """Whether the last look found that PostgreSQL does not answer, or takes no writes."""
        return self.outage.since is not None

    async def check_writes(self) -> None:
        """Raises DatabaseUnavailable while PostgreSQL takes no writes."""
        if self.refuses_writes:
            raise DatabaseUnavailable("PostgreSQL takes no writes")
        await self.execute(ASK_TO_WRITE)

    def _unavailable(self, error: BaseException) -> DatabaseUnavailable:
        self.stale = self.stale or isinstance(error, REFUSED)
        self.failed.set()
        return DatabaseUnavailable(type(error).__name__)

    async def _watch(self) -> None:
        """Ask a server that has failed once a second whether it takes writes, until it does."""
        while True:
            await self.failed.wait()
            self.failed.clear()
            error = await self._try_to_write()
            # Sessions keep the read-only state in which they were opened, so they are opened again. Those of a server
            # that is full still read, and it may be unable to open others.
            if not isinstance(error, asyncpg.InsufficientResourcesError) and (error or self.stale or self.away):
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
        """What stops a write on a new connection; a pool without a free connection says nothing about the server."""
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                conn = await self.connector(command_timeout=COMMAND_SECONDS)
                try:
                    await conn.execute(WRITE)
                finally:
                    await conn.close()
        except asyncpg.InsufficientPrivilegeError:
            return None  # a role without temporary tables; the server takes statements
        except Exception as error:  # whatever it is, statements would fail of it too
            return error
        return None
