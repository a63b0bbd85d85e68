"""Scripts that run in Redis: on one server by their hash and on one connection, in a cluster by redis-py's client."""

import asyncio
from functools import cache
from hashlib import sha1
from typing import Any, Protocol

from redis.asyncio.cluster import RedisCluster
from redis.exceptions import NoScriptError

from services.redis_client import RedisClient
from services.redis_connection import SharedConnection


class Scripts(Protocol):
    async def eval(self, script: str, /, *arguments: Any) -> Any:
        """Run a script in Redis, within a bounded time. The arguments are the number of keys, the keys and values.

        Raises one of FAILURES (services/redis_client.py)."""


@cache
def hash_of(script: str) -> str:
    return sha1(script.encode(), usedforsecurity=False).hexdigest()  # the name of a script in Redis


class ServerScripts:
    """Scripts of one server."""

    def __init__(self, connection: SharedConnection) -> None:
        self.connection = connection

    async def eval(self, script: str, /, *arguments: Any) -> Any:
        due = asyncio.get_running_loop().time() + self.connection.seconds
        [answer] = await self.connection.run([("EVALSHA", hash_of(script), *arguments)])
        if isinstance(answer, NoScriptError):  # Redis was restarted and has lost the script; EVAL stores it again
            async with asyncio.timeout_at(due):
                [answer] = await self.connection.run([("EVAL", script, *arguments)])
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        await self.connection.close()


class ClusterScripts:
    """Scripts of a cluster, whose nodes have different keys."""

    def __init__(self, redis: RedisCluster, seconds: float) -> None:
        self.redis = redis
        self.seconds = seconds

    async def eval(self, script: str, /, *arguments: Any) -> Any:
        async with asyncio.timeout(self.seconds):
            return await self.redis.eval(script, *arguments)

    async def close(self) -> None:
        pass  # the owner of the client closes it


def scripts_of(redis: RedisClient, seconds: float) -> ServerScripts | ClusterScripts:
    """No script waits longer than `seconds`."""
    if isinstance(redis, RedisCluster):
        return ClusterScripts(redis, seconds)
    return ServerScripts(SharedConnection(redis.connection_pool.make_connection, seconds))
