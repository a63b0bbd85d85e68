"""The general limit is counted in leases: few round trips, the right number of requests; other limits are exact."""

import asyncio
from unittest.mock import Mock
from uuid import uuid4

import pytest

from services.security.leases import LEASED, SHARE
from services.security.rate_limit import Claim, RateLimits
from settings import Limit

HITS = 200
LEASE = HITS // SHARE


@pytest.fixture
def claim() -> Claim:
    return Claim(f"user:{uuid4()}", LEASED, Limit(HITS, 900))


async def allowed(limits: RateLimits, *claims: Claim) -> bool:
    return all(verdict.allowed for verdict in await limits.take(claims))


async def test_most_requests_ask_redis_nothing(instance, claim):
    ask = Mock(wraps=instance.redis.eval)
    limits = RateLimits(Mock(eval=ask))
    remaining = [(await limits.take([claim]))[0].remaining for _ in range(3 * LEASE)]
    assert remaining == [HITS - 1 - number for number in range(3 * LEASE)]
    assert ask.call_count == 3


async def test_exactly_as_many_requests_pass_as_the_limit_says(instance, claim):
    limits = RateLimits(instance.redis)
    passed = [await allowed(limits, claim) for _ in range(HITS + 5)]
    assert passed == [True] * HITS + [False] * 5


async def test_instances_together_allow_no_more_than_the_limit_and_at_most_a_lease_less(instance, claim):
    one, other = RateLimits(instance.redis), RateLimits(instance.redis)
    assert await allowed(one, claim)
    passed = sum([await allowed(other, claim) for _ in range(HITS)])
    assert HITS - LEASE <= 1 + passed <= HITS
    assert sum([await allowed(one, claim) for _ in range(LEASE)]) == HITS - 1 - passed


async def test_requests_at_once_take_one_lease(instance, claim):
    limits = RateLimits(instance.redis)
    await asyncio.gather(*(limits.take([claim]) for _ in range(10)))
    counted = int(float(await instance.redis.get(claim.key)))
    assert 10 <= counted <= 10 + 2 * LEASE


async def test_a_limit_beside_it_stays_exact_and_its_refusal_uses_no_lease(instance, claim):
    limits = RateLimits(instance.redis)
    exact = Claim(claim.owner, "limit_upload", Limit(2, 900))
    assert [await allowed(limits, claim, exact) for _ in range(4)] == [True, True, False, False]
    assert (await limits.take([claim]))[0].remaining == HITS - 3


async def test_a_changed_limit_ends_the_lease(instance, claim):
    limits = RateLimits(instance.redis)
    assert await allowed(limits, claim)
    smaller = Claim(claim.owner, LEASED, Limit(1, 900))
    assert not await allowed(limits, smaller)
