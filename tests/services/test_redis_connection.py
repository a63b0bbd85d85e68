"""One connection for many commands: answers in order, failures for all, and another connection afterwards."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection, Connection, SSLConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse, ResponseError

from server import Instance
from services.redis_client import FAILURES
from services.redis_connection import OpenConnection, SharedConnection
from tests.helpers.servers.tls import Authority

SHORT = 0.3  # seconds, for answers that never come
LONG = 10.0  # for answers that come


@asynccontextmanager
async def connect(instance: Instance) -> AsyncIterator[SharedConnection]:
    assert isinstance(instance.redis, Redis)
    shared = SharedConnection(instance.redis.connection_pool.make_connection, LONG)
    yield shared
    await shared.close()


def opened(connection: SharedConnection) -> OpenConnection:
    assert connection.open
    return connection.open


async def client_id(connection: SharedConnection) -> int:
    [number] = await connection.run([("CLIENT", "ID")])
    return number


async def test_commands_are_sent_at_once_and_answered_in_order(instance):
    async with connect(instance) as connection:
        waiting = asyncio.create_task(connection.run([("BLPOP", "list", 0)]))
        later = [asyncio.create_task(connection.run([("ECHO", n), ("ECHO", b"\r\n")])) for n in range(3)]
        while connection.open is None or len(opened(connection).batches) < 4:
            await asyncio.sleep(0)
        assert not any(task.done() for task in (waiting, *later))
        await instance.redis.rpush("list", "first")
        assert await asyncio.gather(waiting, *later) == [
            [[b"list", b"first"]],
            *([str(n).encode(), b"\r\n"] for n in range(3)),
        ]
        assert opened(connection).timer is None


async def test_the_answer_to_a_refused_command_is_an_exception(instance):
    async with connect(instance) as connection:
        refused, answer = await connection.run([("GET",), ("ECHO", "x")])
        assert isinstance(refused, ResponseError)
        assert answer == b"x"


async def test_what_cannot_be_sent_leaves_the_order_of_answers(instance):
    async with connect(instance) as connection:
        with pytest.raises(TypeError):
            await connection.run([("ECHO", None)])  # type: ignore[list-item]
        assert await connection.run([("ECHO", "x")]) == [b"x"]


async def test_a_connection_that_redis_has_closed_is_opened_again(instance):
    async with connect(instance) as connection:
        first = await client_id(connection)
        waiting = asyncio.create_task(connection.run([("BLPOP", "list", 0)]))
        await asyncio.sleep(0)
        assert await instance.redis.client_kill_filter(_id=first) == 1
        with pytest.raises(RedisConnectionError):
            await waiting
        assert await client_id(connection) != first


async def test_a_connection_that_redis_closes_while_it_is_idle_causes_no_failure(instance):
    async with connect(instance) as connection:
        first = await client_id(connection)
        assert await instance.redis.client_kill_filter(_id=first) == 1
        while opened(connection).error is None:
            await asyncio.sleep(0)
        assert await client_id(connection) != first


async def test_without_an_answer_all_commands_fail_and_the_next_one_opens_another_connection(instance):
    async with connect(instance) as connection:
        first = await client_id(connection)
        opened(connection).seconds = connection.seconds = SHORT
        waiting = [connection.run([("BLPOP", "list", 0)]), connection.run([("ECHO", "x")])]
        assert [type(error) for error in await asyncio.gather(*waiting, return_exceptions=True)] == [TimeoutError] * 2
        connection.seconds = LONG
        assert await client_id(connection) != first


async def test_a_later_command_gets_its_whole_time(instance):
    """The timer belongs to the first command. When it ends, those after it have waited a shorter time."""
    async with connect(instance) as connection:
        await client_id(connection)
        present = opened(connection)
        present.seconds = SHORT
        early = present.send([("ECHO", "early")])
        present.seconds = LONG
        late = present.send([("BLPOP", "list", 0)])
        assert await early == [b"early"]
        first = present.timer
        while present.timer is first:
            await asyncio.sleep(0.01)
        assert present.error is None
        await instance.redis.rpush("list", "late")
        assert await late == [[b"list", b"late"]]


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def served_by(
    serve: Serve, authority: Authority | None = None
) -> AsyncIterator[tuple[SharedConnection, list[str]]]:
    """Yield a connection to a server of one's own, and what happened to its clients."""
    events: list[str] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        events.append("opened")
        try:
            await serve(reader, writer)
            await reader.read()
        except OSError:
            pass
        events.append("closed")
        writer.close()

    def make() -> Connection:
        if authority is None:
            return Connection(port=port, protocol=2, retry=None, driver_info=None)
        return SSLConnection(port=port, protocol=2, retry=None, driver_info=None, ssl_ca_certs=str(authority.root))

    tls = authority.server("localhost") if authority else None
    async with await asyncio.start_server(handle, "localhost", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        shared = SharedConnection(make, LONG)
        try:
            yield shared, events
        finally:
            await shared.close()


async def answer_in_bytes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while await reader.readuntil(b"ECHO\r\n$1\r\nx\r\n"):
        for byte in b"*2\r\n$1\r\nx\r\n:7\r\n":
            writer.write(bytes([byte]))
            await writer.drain()


@pytest.mark.parametrize("tls", [False, True])
async def test_an_answer_may_arrive_in_pieces_and_through_tls(tmp_path, tls):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with pytest.raises(asyncio.IncompleteReadError):
            await answer_in_bytes(reader, writer)

    async with served_by(serve, Authority(tmp_path) if tls else None) as (shared, _):
        assert await shared.run([("ECHO", "x"), ("ECHO", "x")]) == [[b"x", 7], [b"x", 7]]


@pytest.mark.parametrize("sent", [b"+one\r\n+two\r\n", b"+one\r\nnonsense\r\n"])
async def test_what_redis_would_not_send_closes_the_connection(sent):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"PING\r\n")
        writer.write(sent)

    async with served_by(serve) as (shared, events):
        assert await shared.run([("PING",)]) == [b"one"]
        while "closed" not in events:
            await asyncio.sleep(0.01)
        assert isinstance(opened(shared).error, InvalidResponse)
        assert await shared.run([("PING",)]) == [b"one"]  # on another connection
        assert events == ["opened", "closed", "opened"]


async def test_a_server_that_does_not_answer_the_opening_is_left(monkeypatch):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        pass

    async with served_by(serve) as (shared, events):
        make = shared.make_connection
        shared.make_connection = lambda: with_password(make())
        shared.seconds = SHORT
        callers = [shared.run([("PING",)]) for _ in range(3)]
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert all(isinstance(error, FAILURES) for error in errors)
        while events != ["opened", "closed"]:  # one attempt for all, and nothing stays open
            await asyncio.sleep(0.01)


def with_password(connection: AbstractConnection) -> AbstractConnection:
    """Make redis-py wait for an answer when it opens the connection."""
    connection.password = "secret"
    return connection


async def test_without_redis_all_commands_fail_with_one_attempt():
    attempts = []

    def make() -> Connection:
        attempts.append(1)
        return Connection(port=1, retry=None)

    shared = SharedConnection(make, LONG)
    errors = await asyncio.gather(*(shared.run([("PING",)]) for _ in range(3)), return_exceptions=True)
    assert [isinstance(error, RedisConnectionError) for error in errors] == [True] * 3
    assert len(attempts) == 1


async def test_callers_that_are_cancelled_while_it_opens_leave_it_for_the_next(instance):
    async with connect(instance) as connection:
        waiting = asyncio.create_task(connection.run([("PING",)]))
        await asyncio.sleep(0)
        waiting.cancel()
        assert await connection.run([("ECHO", "x")]) == [b"x"]
        assert waiting.cancelled()


class Lost(Connection):
    """A connection that the server closes before redis-py has finished opening it."""

    async def connect(self) -> None:
        await super().connect()
        assert self._reader
        assert self._writer
        while not (self._reader.at_eof() or self._writer.is_closing()):
            await asyncio.sleep(0.001)


@pytest.mark.parametrize("reset", [False, True])
async def test_a_connection_that_is_lost_while_it_opens_fails_at_once(reset):
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()

    async with served_by(serve) as (shared, _):
        port = shared.make_connection().port  # type: ignore[attr-defined]
        shared.make_connection = lambda: Lost(port=port, protocol=2, retry=None, driver_info=None)
        with pytest.raises(RedisConnectionError, match="closed the connection"):
            await shared.run([("PING",)])
        assert shared.open is None


async def test_commands_on_a_lost_connection_fail_at_once(instance):
    """Callers that waited for its opening use it one iteration later."""
    async with connect(instance) as connection:
        await client_id(connection)
        present = opened(connection)
        present.transport.abort()
        with pytest.raises(RedisConnectionError):
            present.send([("PING",)])


async def test_closing_while_it_opens_cancels_no_caller(instance):
    async with connect(instance) as connection:
        callers = [asyncio.create_task(connection.run([("BLPOP", "list", 0)])) for _ in range(2)]
        await asyncio.sleep(0)
        assert connection.opening
        await connection.close()
        errors = await asyncio.gather(*callers, return_exceptions=True)
        assert [type(error) for error in errors] == [RedisConnectionError] * 2


async def test_closing_ends_what_is_open(instance, recwarn):
    shared = SharedConnection(instance.redis.connection_pool.make_connection, LONG)
    number = await client_id(shared)
    waiting = asyncio.create_task(shared.run([("BLPOP", "list", 0)]))
    await asyncio.sleep(0)
    await shared.close()
    with pytest.raises(RedisConnectionError):
        await waiting
    while number in [int(client["id"]) for client in await instance.redis.client_list()]:
        await asyncio.sleep(0.01)
