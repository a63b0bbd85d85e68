"""Scripts that Redis runs by their hash. Those that wait while a batch is on its way travel together in the next one.

To send a script alone, redis-py takes a connection from the pool, starts timers and waits for each of them.
"""

import asyncio
from functools import cache
from hashlib import sha1
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.redis_client import RedisClient, run_batch


@cache
def hash_of(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()  # as Redis names scripts


class Call(NamedTuple):
    script: str
    arguments: tuple[Any, ...]  # number of keys, keys, further arguments
    answer: asyncio.Future[Any]


class Scripts:
    """`eval` has the form of redis-py's."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.connection: Any = None  # taken from the pool once, because that costs as much as a script
        self.seconds = 0.0  # of a batch: the timeout of one command of the pool
        self.waiting: list[Call] = []  # for the next batch; at most one per running request
        self.sending: asyncio.Task[None] | None = None

    async def eval(self, script: str, *arguments: Any) -> Any:
        call = Call(script, arguments, asyncio.get_running_loop().create_future())
        self.waiting.append(call)
        if self.sending is None:
            self.sending = asyncio.create_task(self._send_all())  # it starts in the next iteration
        return await call.answer

    async def _send_all(self) -> None:
        try:
            while self.waiting:
                calls, self.waiting = self.waiting, []
                await self._send([call for call in calls if not call.answer.done()])  # done: the caller is cancelled
        finally:
            self.sending = None

    async def _send(self, calls: list[Call]) -> None:
        commands = [("EVALSHA", hash_of(script), *arguments) for script, arguments, _ in calls]
        try:
            answers = await self._run(commands)
        except Exception as error:  # of the connection: all calls fail
            answers = [error] * len(calls)
        for call, answer in zip(calls, answers, strict=True):
            if isinstance(answer, NoScriptError):  # Redis has been restarted; this stores the script
                answer = await self._send_whole(call)
            if call.answer.done():  # cancelled, because the caller waits no longer
                continue
            if isinstance(answer, Exception):
                call.answer.set_exception(answer)
            else:
                call.answer.set_result(answer)

    async def _run(self, commands: list[tuple[Any, ...]]) -> list[Any]:
        if self.connection is None:
            self.connection = await self.redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]
            self.seconds, self.connection.socket_timeout = self.connection.socket_timeout, None
        return await run_batch(self.connection, commands, self.seconds)

    async def _send_whole(self, call: Call) -> Any:
        try:
            return await self.redis.eval(call.script, *call.arguments)
        except Exception as error:
            return error


def scripts_of(redis: RedisClient) -> RedisClient | Scripts:
    """Return what runs scripts in Redis. A cluster runs each one alone, because its nodes have different keys."""
    return Scripts(redis) if isinstance(redis, Redis) else redis
