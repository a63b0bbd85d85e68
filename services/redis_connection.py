"""One connection to a Redis server for many commands: each is sent at once, without waiting for earlier answers.

redis-py opens the connection. For each command it would make a task and several timers, so this module reads and
writes, with hiredis.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import InvalidResponse

from db import tasks
from services.redis_client import closing_is_a_failure

Command = tuple[str | bytes | int | float, ...]

pack: Callable[[Command], bytes] = hiredis.pack_command  # type: ignore[assignment]  # its type is too narrow
INCOMPLETE = object()  # what the parser returns while an answer is not complete


class Batch(NamedTuple):
    size: int
    answers: list[Any]  # so far
    all_answers: asyncio.Future[list[Any]]
    due: float  # in the event loop's time: the connection is closed if answers are missing then


class OpenConnection(asyncio.Protocol):
    """A connection that redis-py has opened. After a failure it is closed, and `error` says why."""

    def __init__(self, connection: AbstractConnection, seconds: float) -> None:
        self.connection = connection
        self.seconds = seconds
        self.loop = asyncio.get_running_loop()
        self.parser = hiredis.Reader(InvalidResponse, DefaultParser.parse_error, notEnoughData=INCOMPLETE)
        self.batches: deque[Batch] = deque()  # sent within the last `seconds`, and not answered yet
        self.timer: asyncio.TimerHandle | None = None  # for the first batch, or for one that was answered since
        self.error: Exception | None = None
        self.transport: asyncio.Transport = connection._writer.transport  # type: ignore[union-attr,assignment]
        self.transport.set_protocol(self)
        # If Redis closed the connection before this line, only redis-py's protocol was notified.
        if self.transport.is_closing() or connection._reader.at_eof():  # type: ignore[union-attr]
            raise RedisConnectionError("Redis has closed the connection.")

    def send(self, commands: Sequence[Command]) -> asyncio.Future[list[Any]]:
        if self.transport.is_closing():
            raise RedisConnectionError("Redis has closed the connection.")
        packed = b"".join([pack(command) for command in commands])
        batch = Batch(len(commands), [], self.loop.create_future(), self.loop.time() + self.seconds)
        self.batches.append(batch)
        if self.timer is None:
            self.timer = self.loop.call_at(batch.due, self._check)
        self.transport.write(packed)
        return batch.all_answers

    def data_received(self, data: bytes) -> None:
        self.parser.feed(data)
        try:
            while (answer := self.parser.gets()) is not INCOMPLETE:
                self._add(answer)
        except InvalidResponse as error:
            self.close(error)

    def _add(self, answer: Any) -> None:
        if not self.batches:
            raise InvalidResponse(f"Redis has sent what it was not asked for: {answer!r}")
        batch = self.batches[0]
        batch.answers.append(answer)
        if len(batch.answers) == batch.size:
            self.batches.popleft()
            if not batch.all_answers.done():  # it is done if the caller was cancelled
                batch.all_answers.set_result(batch.answers)
            if not self.batches and self.timer:
                self.timer.cancel()
                self.timer = None

    def _check(self) -> None:
        """Close the connection if the first batch waits too long."""
        due = self.batches[0].due
        if due <= self.loop.time():
            self.close(TimeoutError("Redis does not answer."))
        else:
            self.timer = self.loop.call_at(due, self._check)

    def connection_lost(self, error: Exception | None) -> None:
        self.close(RedisConnectionError(str(error or "Redis has closed the connection.")))

    def close(self, error: Exception) -> None:
        """Close the connection. All batches fail, but Redis may have executed them."""
        if self.error is not None:
            return
        self.error = error
        if self.timer:
            self.timer.cancel()
        self.transport.abort()
        self.connection._close()  # type: ignore[no-untyped-call]  # otherwise redis-py warns that it is open
        for batch in self.batches:
            if not batch.all_answers.done():
                batch.all_answers.set_exception(error)
        self.batches.clear()


class SharedConnection:
    """A connection that the first command opens, and the first command after a failure opens again."""

    def __init__(self, make_connection: Callable[[], AbstractConnection], seconds: float) -> None:
        """`make_connection` returns a connection that is not open yet. No command waits longer than `seconds`."""
        self.make_connection = make_connection
        self.seconds = seconds
        self.open: OpenConnection | None = None
        self.opening: asyncio.Task[OpenConnection] | None = None

    async def run(self, commands: Sequence[Command]) -> list[Any]:
        """Run commands in one round trip. Return their answers; for a refused command, the answer is an exception."""
        if self.open and not self.open.transport.is_closing():
            return await self.open.send(commands)
        async with asyncio.timeout(self.seconds):
            if self.opening is None or self.opening.done():
                self.opening = asyncio.create_task(self._open(), name="Redis connection")
                self.opening.add_done_callback(tasks.retrieve)  # all callers may be cancelled by then
            connection = await asyncio.shield(self.opening)
            return await connection.send(commands)

    async def _open(self) -> OpenConnection:
        connection = self.make_connection()
        try:
            with closing_is_a_failure():
                async with asyncio.timeout(self.seconds):
                    await connection.connect()  # type: ignore[no-untyped-call]  # redis-py declares no types here
            self.open = OpenConnection(connection, self.seconds)
            return self.open
        except BaseException:
            connection._close()  # type: ignore[no-untyped-call]
            raise

    async def close(self) -> None:
        """Close the connection. If it is being opened, wait for that first, at most `seconds`."""
        if self.opening:
            await asyncio.wait([self.opening])  # cancelling it would cancel the callers
        if self.open:
            self.open.close(RedisConnectionError("This instance stops."))
