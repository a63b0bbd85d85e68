"""Rate limits shared by all instances: one atomic round trip to Redis, and a per-instance limit while Redis is away.

A limit without burst lets `hits` through in a window of `period` seconds that starts with the first hit. One with
burst is a bucket: `burst` hits may come at once, `hits / period` a second over time.
"""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

import structlog

from services.redis_client import FAILURES
from settings import Limit

log = structlog.get_logger()

REST_SECONDS = 2.0  # after a failure Redis is left alone this long, so that an outage costs few requests a wait
LOCAL_KEYS = 20_000  # about 4 MB; the least recently used counter gives way

# KEYS: one counter a limit. ARGV[1]: hits to take (-1 gives one back); then period, hits, burst (0: window) of each.
# All pass or none is counted. Answers {allowed, remaining, seconds until full, seconds until the next is allowed}
# a limit, times 1000 where fractions matter.
TAKE = """
local now = redis.call('TIME')
now = tonumber(now[1]) + tonumber(now[2]) / 1e6
local take = tonumber(ARGV[1])
local answer, writes, allowed = {}, {}, true
for i, key in ipairs(KEYS) do
    local period, hits, burst = tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i]), tonumber(ARGV[3*i+1])
    local remaining, reset, wait, value, life
    if burst > 0 then
        local cost = period / hits
        local full = math.max(tonumber(redis.call('GET', key) or now) or now, now)
        value = full + take * cost
        life = math.max(value - now, 0)
        remaining = math.floor((burst * cost - life) / cost + 1e-6)
        reset, wait = life, life - burst * cost
    else
        local used = tonumber(redis.call('GET', key) or 0)
        local left = redis.call('PTTL', key) / 1000
        if left <= 0 then left = period; used = 0 end
        value, life = math.max(used + take, 0), left
        remaining, reset, wait = hits - value, left, left
    end
    if remaining < 0 then allowed = false else wait = 0 end
    writes[i] = {key, tostring(value), math.ceil(life * 1000)}
    answer[i] = {math.max(remaining, 0), math.ceil(reset * 1000), math.ceil(wait * 1000)}
end
if allowed then
    for _, write in ipairs(writes) do
        if write[3] > 0 then redis.call('SET', write[1], write[2], 'PX', write[3]) else redis.call('DEL', write[1]) end
    end
end
return {allowed and 1 or 0, answer}
"""


class Claim(NamedTuple):
    """One counter to take a hit from. `owner` is who is counted, `name` what is."""

    owner: str
    name: str
    limit: Limit | None  # None: switched off

    @property
    def key(self) -> str:
        # The braces keep one owner's counters on one node of a Redis cluster.
        return f"limit:{{{self.owner}}}:{self.name}"


Counted = tuple[str, Limit]  # a counter's key and its limit


def in_force(claims: Sequence[Claim]) -> list[Counted]:
    return [(claim.key, claim.limit) for claim in claims if claim.limit]


class Verdict(NamedTuple):
    allowed: bool
    limit: int
    remaining: int
    reset: int  # seconds until the counter is full again
    retry_after: int  # seconds; 0 when allowed


class RateLimits:
    def __init__(self, redis: Any, redis_seconds: float) -> None:
        """`redis_seconds`: when Redis takes longer than that, a request is better counted here."""
        self.redis = redis
        self.redis_seconds = redis_seconds
        self.local = LocalCounters()
        self.rest_until = 0.0

    async def take(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Count a hit on every claim, or on none if one is exhausted; a verdict for each that is not off, in order."""
        counted = in_force(claims)
        if not counted:
            return []
        allowed, counters = await self._count(counted, 1)
        return [
            Verdict(
                allowed or wait == 0,
                limit.burst or limit.hits,
                int(remaining),
                math.ceil(reset / 1000),
                math.ceil(wait / 1000),
            )
            for (_, limit), (remaining, reset, wait) in zip(counted, counters, strict=True)
        ]

    async def give_back(self, claims: Sequence[Claim]) -> None:
        """Undo one hit: what was counted beforehand turned out not to count (a login that succeeded)."""
        counted = in_force(claims)
        if counted:
            await self._count(counted, -1)

    async def _count(self, counted: Sequence[Counted], hits: int) -> tuple[bool, list[Any]]:
        arguments: list[float] = [hits]
        for _, limit in counted:
            arguments += [limit.period, limit.hits, limit.burst or 0]
        if time.monotonic() >= self.rest_until:
            try:
                async with asyncio.timeout(self.redis_seconds):
                    keys = [key for key, _ in counted]
                    allowed, counters = await self.redis.eval(TAKE, len(keys), *keys, *arguments)
                    return bool(allowed), counters
            except FAILURES as error:
                self.rest_until = time.monotonic() + REST_SECONDS
                log.warning("rate limits count on this instance alone", reason=type(error).__name__)
        return self.local.count(counted, hits)


class LocalCounters:
    """The same rules in this process's memory, bounded."""

    def __init__(self) -> None:
        self.counters: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (value, end)

    def count(self, counted: Sequence[Counted], hits: int) -> tuple[bool, list[Any]]:
        now, allowed = time.time(), True
        writes, answer = {}, []
        for key, limit in counted:
            value, end = self.counters.get(key, (0.0, 0.0))
            if limit.burst:
                cost = limit.period / limit.hits
                value = max(value, now) + hits * cost
                reset = max(value - now, 0.0)
                remaining = math.floor((limit.burst * cost - reset) / cost + 1e-6)
                wait, end = reset - limit.burst * cost, value
            else:
                value, end = (value, end) if end > now else (0.0, now + limit.period)
                value = max(value + hits, 0)
                remaining, reset, wait = int(limit.hits - value), end - now, end - now
            if remaining < 0:
                allowed = False
            else:
                wait = 0
            writes[key] = (value, end)
            answer.append((max(remaining, 0), math.ceil(reset * 1000), math.ceil(wait * 1000)))
        if allowed:
            for name, counter in writes.items():
                self.counters[name] = counter
                self.counters.move_to_end(name)
            while len(self.counters) > LOCAL_KEYS:
                self.counters.popitem(last=False)
        return allowed, answer
