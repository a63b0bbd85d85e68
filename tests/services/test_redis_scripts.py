"""Scripts run by their hash: those of one moment in one pipeline, also after Redis has forgotten them."""

import asyncio
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from server import Instance
from services.redis_scripts import Scripts


def scripts_of(instance: Instance) -> Scripts:
    assert isinstance(instance.redis, Redis)
    return Scripts(instance.redis)


async def test_calls_of_one_moment_share_a_pipeline(instance: Instance):
    redis = Mock(wraps=instance.redis)
    scripts = Scripts(redis)
    answers = await asyncio.gather(*(scripts.eval("return {KEYS[1], ARGV[1]}", 1, "key", n) for n in range(20)))
    assert answers == [[b"key", str(n).encode()] for n in range(20)]
    assert redis.pipeline.call_count == 1


async def test_a_script_that_redis_does_not_know_is_sent_whole(instance: Instance):
    scripts = scripts_of(instance)
    assert await scripts.eval("return 1", 0) == 1
    await instance.redis.script_flush()
    assert await asyncio.gather(*(scripts.eval("return 1", 0) for _ in range(3))) == [1, 1, 1]


async def test_a_call_that_fails_or_is_cancelled_leaves_the_others(instance: Instance):
    scripts = scripts_of(instance)
    cancelled = asyncio.create_task(scripts.eval("return 2", 0))
    failing = asyncio.create_task(scripts.eval("return redis.error_reply('ERR no')", 0))
    good = asyncio.create_task(scripts.eval("return 3", 0))
    await asyncio.sleep(0)
    cancelled.cancel()
    with pytest.raises(ResponseError, match="no"):
        await failing
    assert await good == 3


async def test_without_redis_all_calls_fail(instance: Instance):
    redis = Mock()
    redis.pipeline.return_value.execute.side_effect = ConnectionError
    scripts = Scripts(redis)
    answers = await asyncio.gather(*(scripts.eval("return 1", 0) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 3
