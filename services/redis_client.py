"""A Redis client for requests: it fails fast, and uses one server or a cluster."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from redis import asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException, RedisError

# Errors if Redis or a node of a cluster is unavailable, does not answer or moves slots, for requests and pub/sub.
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)


@contextmanager
def closing_is_a_failure() -> Iterator[None]:
    """Raise one of FAILURES where redis-py 8.1 raises another error.

    redis-py writes to connections that the server has closed, and closes connections to a failed node of a cluster
    while other commands open them. Such a command then finds no writer, or one that uvloop has closed.
    https://github.com/redis/redis-py/pull/4288 corrects this in a later release.
    """
    try:
        yield
    except (AttributeError, RuntimeError) as error:
        raise RedisConnectionError("The connection was closed.") from error


class ClusterClient(RedisCluster):
    """A client of a cluster. Commands outside a pipeline raise only FAILURES if a node fails."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        with closing_is_a_failure():
            return await super().execute_command(*args, **options)


RedisClient = aioredis.Redis | RedisCluster


def connect_redis(redis_url: str, sharded: bool, seconds: float) -> RedisClient:
    """Return a client. No step waits longer than `seconds`, and none is repeated. `sharded`: a node of a cluster."""
    timeouts: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    if sharded:
        # While one primary is unavailable, the client uses the others.
        return ClusterClient.from_url(redis_url, require_full_coverage=False, retry=Retry(NoBackoff(), 0), **timeouts)
    return aioredis.Redis.from_url(redis_url, protocol=2, retry=None, **timeouts)
