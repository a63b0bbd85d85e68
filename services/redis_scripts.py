"""Scripts that Redis runs by their hash. Those of one iteration of the event loop travel in one pipeline.

A request that sends its script alone costs three times as much: redis-py takes a connection, starts timers and waits
for each of them.
"""

import asyncio
from functools import cache
from hashlib import sha1
from typing import Any, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from services.redis_client import RedisClient


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
        self.waiting: list[Call] = []  # for the next pipeline; at most one per running request
        self.sending: set[asyncio.Task[None]] = set()  # the loop itself keeps only weak references to tasks

    async def eval(self, script: str, *arguments: Any) -> Any:
        call = Call(script, arguments, asyncio.get_running_loop().create_future())
        if not self.waiting:
            task = asyncio.create_task(self._send())  # it starts in the next iteration
            self.sending.add(task)
            task.add_done_callback(self.sending.discard)
        self.waiting.append(call)
        return await call.answer

    async def _send(self) -> None:
        calls, self.waiting = self.waiting, []
        pipeline = self.redis.pipeline(transaction=False)
        for script, arguments, _ in calls:
            pipeline.evalsha(hash_of(script), *arguments)
        try:
            answers = await pipeline.execute(raise_on_error=False)
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

    async def _send_whole(self, call: Call) -> Any:
        try:
            return await self.redis.eval(call.script, *call.arguments)
        except Exception as error:
            return error


def scripts_of(redis: RedisClient) -> RedisClient | Scripts:
    """Return what runs scripts in Redis. A cluster runs each one alone, because its nodes have different keys."""
    return Scripts(redis) if isinstance(redis, Redis) else redis
