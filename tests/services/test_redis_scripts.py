"""Scripts run by their hash: those of one moment in one round trip, also after Redis has forgotten them."""

import asyncio
from contextlib import suppress
from unittest.mock import Mock

import pytest
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from server import Instance
from services.redis_client import FAILURES
from services.redis_scripts import Scripts


def scripts_of(instance: Instance) -> Scripts:
    assert isinstance(instance.redis, Redis)
    return Scripts(instance.redis)


async def test_calls_of_one_moment_share_a_round_trip(instance: Instance):
    scripts = scripts_of(instance)
    assert await scripts.eval("return 1", 0) == 1
    scripts.connection = sent = Mock(wraps=scripts.connection)
    answers = await asyncio.gather(*(scripts.eval("return {KEYS[1], ARGV[1]}", 1, "key", n) for n in range(20)))
    assert answers == [[b"key", str(n).encode()] for n in range(20)]
    assert [len(call.args[0]) for call in sent.pack_commands.call_args_list] in ([20], [1, 19])  # one stores the script


async def test_calls_that_wait_for_a_batch_travel_together_in_the_next_one(instance: Instance):
    scripts = scripts_of(instance)
    first = asyncio.create_task(scripts.eval("return 1", 0))
    while scripts.waiting or scripts.sending is None:  # until it is on its way
        await asyncio.sleep(0)
    later = [asyncio.create_task(scripts.eval("return tonumber(ARGV[1])", 0, n)) for n in range(3)]
    assert await asyncio.gather(first, *later) == [1, 0, 1, 2]
    assert scripts.sending is None or await scripts.eval("return 4", 0) == 4


async def test_a_connection_that_redis_has_closed_is_opened_again(instance: Instance):
    scripts = scripts_of(instance)
    assert await scripts.eval("return 1", 0) == 1
    [number] = await scripts._run([("CLIENT", "ID")])
    assert await instance.redis.client_kill_filter(_id=number) == 1
    with suppress(*FAILURES):  # the first one may find the closed connection
        assert await scripts.eval("return 2", 0) == 2
    assert await scripts.eval("return 3", 0) == 3


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
    redis.connection_pool.get_connection.side_effect = ConnectionError
    scripts = Scripts(redis)
    answers = await asyncio.gather(*(scripts.eval("return 1", 0) for _ in range(3)), return_exceptions=True)
    assert [type(answer) for answer in answers] == [ConnectionError] * 3
