"""Connections to PostgreSQL by asyncpg: several hosts, keep-alive, poolers, and the wait until the server runs."""

import asyncio
import os
import socket
import ssl
import time
from contextlib import suppress
from typing import Any

import asyncpg
import structlog

from db.address import Address

log = structlog.get_logger()

CONNECT_SECONDS = 3.0  # for all hosts together, unless the address sets connect_timeout (for each host)
START_SECONDS = 30.0  # enough for a database that is started together with this server
RETRY_SECONDS = 0.5
# After these errors another host, or the same one later, may accept the connection.
CONNECT_FAILURES = (
    OSError,
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.CannotConnectNowError,
    asyncpg.TooManyConnectionsError,
    asyncpg.InternalClientError,  # also: no host is a primary
)
SESSION = {"application_name": "beautiful-encer", "timezone": "UTC"}  # poolers support these two per client
LIMITS = {
    "jit": "off",  # compiling takes longer than each of our statements
    "plan_cache_mode": "force_generic_plan",  # planning a search for each execution takes as long as the search
    "statement_timeout": "5000",
    "lock_timeout": "3000",
    "idle_in_transaction_session_timeout": "10000",
}
SERVER_SETTINGS = SESSION | LIMITS
# The limits for one transaction: behind a pooler the next one may run in another session.
LOCAL_LIMITS = "; ".join(f"set local {name} = '{value}'" for name, value in LIMITS.items())
# libpq's names of keep-alive options; 0 leaves the system's value.
SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}


class UnusableDatabase(Exception):
    """The database cannot be used. The text is for operators and contains no user, password or host."""


class CannotConnect(UnusableDatabase):
    """No server answers, or the server refuses the connection."""


class Connector:
    """The factory of connections to `address`, also for a pool (`asyncpg.create_pool(connect=connector)`).

    It gives each host its own time-out. asyncpg has one for all hosts, which a silent host would use up."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.first = 0  # index of the host to try first: the last one that answered
        given = address.number("connect_timeout")
        self.seconds = float(given or CONNECT_SECONDS / len(address.hosts))
        # Whether a pooler may run transactions of one connection in different sessions. True is safe without one, too.
        self.pooled = address.pgbouncer is not False

    async def detect_pooler(self) -> None:
        """Set `pooled`, unless the address says it. A pooler reports a process id that PostgreSQL does not have."""
        if self.address.pgbouncer is None:
            conn = await self()
            try:
                self.pooled = conn.get_server_pid() != await conn.fetchval("select pg_backend_pid()")
            finally:
                await conn.close()

    async def __call__(self, *_: Any, **options: Any) -> Any:
        """Return a connection to the first host that accepts it. Raises the error of the last host."""
        for _ in self.address.hosts[1:]:
            with suppress(*CONNECT_FAILURES):
                return await self._open(options)
        return await self._open(options)

    async def _open(self, options: dict[str, Any]) -> Any:
        host, port = self.address.hosts[self.first]
        arguments = self.address.for_asyncpg() | self._session_options() | options
        try:
            conn = await asyncpg.connect(host=host, port=port, timeout=self.seconds, **arguments)
        except BaseException:  # also a cancellation: the next attempt begins with another host
            self.first = (self.first + 1) % len(self.address.hosts)
            raise
        if not host.startswith("/"):
            keep_alive(conn, self.address)
        return conn

    def _session_options(self) -> dict[str, Any]:
        """Return the options of a session: its settings; behind a pooler without limits and prepared statements."""
        size = 0 if self.pooled else self.address.number("statement_cache_size")
        settings = (SESSION if self.pooled else SERVER_SETTINGS) | self.address.session
        return {"server_settings": settings} | ({} if size is None else {"statement_cache_size": size})


def keep_alive(conn: asyncpg.Connection, address: Address) -> None:
    """Set the keep-alive options that libpq would set. asyncpg has no public access to its socket."""
    if address.number("keepalives") == 0:
        return
    connected = conn._transport.get_extra_info("socket")
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, option in SOCKET_OPTIONS.items():
        value = address.number(name)
        if value and hasattr(socket, option):  # each operating system has only some of them
            connected.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)


async def wait_for_database(url: str, stopping: asyncio.Event, seconds: float = START_SECONDS) -> None:
    """Return when PostgreSQL answers, or when the server is to stop. Raises CannotConnect."""
    connector = Connector(Address.parse(url))
    began = time.monotonic()
    waits = False
    while not stopping.is_set():
        try:
            await ask(connector)
            return
        except Exception as error:
            reason = reason_of(error)
            if not isinstance(error, CONNECT_FAILURES) or isinstance(error, ssl.SSLError):  # it refuses
                raise CannotConnect(f"The database refuses the connection: {reason}. Check DATABASE_URL.") from None
            if time.monotonic() - began > seconds:
                raise CannotConnect(
                    f"The database does not answer: {reason}. The server has waited {seconds:g} seconds for it. "
                    "Check DATABASE_URL and whether PostgreSQL runs."
                ) from None
            if not waits:
                log.info("waiting for the database", reason=reason, seconds=seconds)
            waits = True
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), RETRY_SECONDS)


async def ask(connector: Connector) -> None:
    """Connect and run a statement, because a pooler accepts connections also while PostgreSQL is down."""
    conn = await connector()
    try:
        await conn.execute("select 1", timeout=CONNECT_SECONDS)
    finally:
        await conn.close(timeout=CONNECT_SECONDS)


def reason_of(error: BaseException) -> str:
    """Describe an error without its text, which may contain parts of the address."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted ({error.verify_message.partition(',')[0]})"
    if isinstance(error, socket.gaierror):
        return "the name of its host is not known"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return "wrong user or password"
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "it has no database of this name"
    if getattr(error, "sqlstate", None) == asyncpg.ReadOnlySQLTransactionError.sqlstate:  # psycopg's too
        return "it is read-only"
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if type(error) is ConnectionError:  # asyncpg's
        return "it does not offer TLS"
    if isinstance(error, OSError) and error.errno and not isinstance(error, ssl.SSLError):
        return os.strerror(error.errno)
    return type(error).__name__
