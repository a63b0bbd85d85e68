"""PostgreSQL for everyone: one pool with a bound on every wait, and transactions that act after their commit."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import orjson
import structlog
from asyncpg.pgproto.pgproto import UUID  # in C: a seventh of the standard library's cost

log = structlog.get_logger()

ACQUIRE_SECONDS = 2.0  # a request that waits longer for a connection is better told to come back
COMMAND_SECONDS = 5.0  # the slowest statement of a request; jobs take their work in small steps
CONNECT_SECONDS = 3.0
CLOSE_SECONDS = 5.0
SERVER_SETTINGS = {
    "application_name": "beautiful-encer",
    "timezone": "UTC",
    "jit": "off",  # compiling costs more than any of our statements
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "idle_in_transaction_session_timeout": "10000",
}


class DatabaseUnavailable(Exception):
    """PostgreSQL is away, frozen or too busy; what was asked may be asked again."""


# What asyncpg and the operating system raise when the server is gone, going, starting, full or silent.
UNAVAILABLE = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InternalClientError,  # a connection that died in the middle of a statement
    asyncpg.CannotConnectNowError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
    asyncpg.TooManyConnectionsError,
    asyncpg.QueryCanceledError,
    asyncpg.LockNotAvailableError,
    asyncpg.DeadlockDetectedError,
    asyncpg.IdleInTransactionSessionTimeoutError,
)


class PooledConnection(asyncpg.Connection):
    """Between two users of a connection asyncpg resets its session, which is a second round trip after each statement.
    Nothing of ours outlives its transaction (tests/guards/test_sql.py holds every statement to that)."""

    __slots__ = ()

    def get_reset_query(self) -> str:
        return ""


async def set_codecs(conn: asyncpg.Connection) -> None:
    """JSON that a statement builds arrives as a Fragment, which orjson writes into an answer or a frame as it is.
    Ids are text in Python, as they are on the wire, but binary to PostgreSQL, which would parse each: 2,000 of them in
    1.2 ms instead of 0.1 (the polls of hub and inboxes ask for all that they hold)."""
    await conn.set_type_codec("json", schema="pg_catalog", encoder=str, decoder=orjson.Fragment)
    await conn.set_type_codec("uuid", schema="pg_catalog", encoder=pack_id, decoder=unpack_id, format="binary")


def pack_id(id: Any) -> bytes:
    return UUID(str(id)).bytes


def unpack_id(packed: bytes) -> str:
    return str(UUID(packed))


def is_dead(conn: Any) -> bool:
    """Whether this connection of a pool, while it is in use, has died."""
    try:
        return conn.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back, as it does with dead ones
        return True


class Queries:
    """The four ways to ask, over one connection or over whichever the pool gives."""

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        raise NotImplementedError

    async def fetch(self, sql: str, *args: Any) -> list[asyncpg.Record]:
        return await self._ask("fetch", sql, *args)

    async def fetchrow(self, sql: str, *args: Any) -> asyncpg.Record | None:
        return await self._ask("fetchrow", sql, *args)

    async def fetchval(self, sql: str, *args: Any) -> Any:
        return await self._ask("fetchval", sql, *args)

    async def execute(self, sql: str, *args: Any) -> str:
        return await self._ask("execute", sql, *args)


class Transaction(Queries):
    def __init__(self, conn: Any) -> None:
        self.conn = conn
        self.effects: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        return await getattr(self.conn, method)(sql, *args)

    def after_commit(self, effect: Callable[..., Awaitable[None] | None], *args: Any) -> None:
        """Call `effect(*args)` once the transaction stands; in order, and never if it is rolled back."""
        self.effects.append((effect, args))


class Database(Queries):
    def __init__(self, pool: Any) -> None:
        self.pool = pool

    @classmethod
    async def connect(cls, url: str, size: int) -> "Database":
        try:
            return cls(
                await asyncpg.create_pool(
                    url,
                    min_size=1,
                    max_size=size,
                    timeout=CONNECT_SECONDS,
                    command_timeout=COMMAND_SECONDS,
                    server_settings=SERVER_SETTINGS,
                    init=set_codecs,
                    connection_class=PooledConnection,
                )
            )
        except UNAVAILABLE as error:
            raise DatabaseUnavailable(type(error).__name__) from error

    async def close(self) -> None:
        try:
            await asyncio.wait_for(self.pool.close(), CLOSE_SECONDS)
        except TimeoutError:
            self.pool.terminate()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Any]:
        """A connection of the pool; everything that means “PostgreSQL is away” becomes DatabaseUnavailable."""
        try:
            async with self.pool.acquire(timeout=ACQUIRE_SECONDS) as conn:
                try:
                    yield conn
                except asyncpg.InterfaceError as error:
                    # Of a connection that has died as well as of arguments that do not fit, which is a defect of ours.
                    if not is_dead(conn):
                        raise
                    raise DatabaseUnavailable(type(error).__name__) from error
        except UNAVAILABLE as error:
            raise DatabaseUnavailable(type(error).__name__) from error
        except asyncpg.InterfaceError as error:
            if self.pool.is_closing():
                raise DatabaseUnavailable(type(error).__name__) from error
            raise

    async def _ask(self, method: str, sql: str, *args: Any) -> Any:
        async with self.connection() as conn:
            return await getattr(conn, method)(sql, *args)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """All or nothing; what was registered with `after_commit` runs when the connection is back in the pool."""
        async with self.connection() as conn, conn.transaction():
            tx = Transaction(conn)
            yield tx
        for effect, args in tx.effects:
            try:
                result = effect(*args)
                if inspect.isawaitable(result):
                    await result
            except Exception:
                # The change stands; whoever missed the news is told by the catch-up (realtime) or asks again.
                log.exception("after_commit failed", effect=getattr(effect, "__qualname__", repr(effect)))
