"""Scripts run by their hash, also after Redis has forgotten them."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import NoScriptError, ResponseError

from server import Instance
from services.redis_connection import Command, SharedConnection
from services.redis_scripts import ServerScripts, scripts_of


@asynccontextmanager
async def connect(instance: Instance) -> AsyncIterator[ServerScripts]:
    scripts = scripts_of(instance.redis, 10)
    assert isinstance(scripts, ServerScripts)
    yield scripts
    await scripts.close()


async def test_calls_of_one_moment_get_their_own_answers(instance):
    async with connect(instance) as scripts:
        answers = await asyncio.gather(*(scripts.eval("return {KEYS[1], ARGV[1]}", 1, "key", n) for n in range(20)))
        assert answers == [[b"key", str(n).encode()] for n in range(20)]


async def test_numbers_arrive_as_redis_py_sends_them(instance):
    async with connect(instance) as scripts:
        numbers = [7, 2.5, 1e-7, 10**15, -1]
        sent = await scripts.eval("return ARGV", 0, *numbers)
        assert sent == await instance.redis.eval("return ARGV", 0, *numbers)


async def test_a_script_that_redis_does_not_know_is_sent_whole(instance):
    async with connect(instance) as scripts:
        assert await scripts.eval("return 1", 0) == 1
        await instance.redis.script_flush()
        assert await asyncio.gather(*(scripts.eval("return 1", 0) for _ in range(3))) == [1, 1, 1]
        await scripts.connection.run([("SCRIPT", "FLUSH")])
        stored = [scripts.eval(f"return {n}", 0) for n in range(3)]
        assert await asyncio.gather(*stored) == [0, 1, 2]


async def test_a_call_that_fails_or_is_cancelled_leaves_the_others(instance):
    async with connect(instance) as scripts:
        cancelled = asyncio.create_task(scripts.eval("return 2", 0))
        failing = asyncio.create_task(scripts.eval("return redis.error_reply('ERR no')", 0))
        good = asyncio.create_task(scripts.eval("return 3", 0))
        await asyncio.sleep(0)
        cancelled.cancel()
        with pytest.raises(ResponseError, match="no"):
            await failing
        assert await good == 3


async def test_the_second_round_trip_of_an_unknown_script_gets_no_time_of_its_own(instance):
    class Restarted(SharedConnection):
        """Redis answers the first command when the time is over, and the second one never."""

        async def run(self, commands: Sequence[Command]) -> list[Any]:
            if commands[0][0] == "EVAL":
                await asyncio.Event().wait()
            await asyncio.sleep(self.seconds)
            return [NoScriptError("NOSCRIPT")]

    scripts = ServerScripts(Restarted(instance.redis.connection_pool.make_connection, 0.01))
    with pytest.raises(TimeoutError):
        await scripts.eval("return 1", 0)
