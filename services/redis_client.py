"""A Redis client for requests: it fails fast, and uses one server or a cluster."""

from typing import Any

from redis import asyncio as aioredis
from redis.asyncio.cluster import RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisClusterException, RedisError

# Redis or one of its nodes is unavailable, frozen or changing. Requests and pub/sub use this list.
FAILURES = (RedisError, RedisClusterException, OSError, TimeoutError)

# Per instance; further commands wait for a free one. A command takes 0.1 ms, opening a connection several, and a
# burst of requests would otherwise open one for each.
CONNECTIONS = 16


RedisClient = aioredis.Redis | RedisCluster


def connect_redis(redis_url: str, sharded: bool, seconds: float) -> RedisClient:
    """Connect. No step waits longer than `seconds`, and none is repeated. `sharded`: it is a node of a cluster."""
    timeouts: dict[str, Any] = {"socket_timeout": seconds, "socket_connect_timeout": seconds}
    if sharded:
        # The other primaries work while one is unavailable.
        return RedisCluster.from_url(redis_url, require_full_coverage=False, retry=Retry(NoBackoff(), 0), **timeouts)
    pool = aioredis.BlockingConnectionPool.from_url(
        redis_url, max_connections=CONNECTIONS, timeout=seconds, retry=None, **timeouts
    )
    return aioredis.Redis.from_pool(pool)
