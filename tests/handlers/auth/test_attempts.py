"""Attempts at passwords, codes and tokens: failures count, attempts in flight only reserve a place."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any
from unittest.mock import AsyncMock, Mock

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from services.security import rate_limit
from services.security.priority_threads import PriorityThreads
from services.security.rate_limit import CROWDED, GRANTED, REFUSED, Claim, RateLimits
from settings import Limit
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import PASSWORD, Person
from tests.helpers.tokens import forge

OFFICE = 60  # people who sign in at once from one address


@pytest.fixture(autouse=True)
def short_wait(monkeypatch):
    """Lengthen the waits, because a busy machine may be slow."""
    monkeypatch.setattr(rate_limit, "WAIT_SECONDS", 60)


async def log_in(api: Api, person: Person, password: str = PASSWORD) -> Answer:
    return await api.post("/auth/login", {"email": person.email, "password": password})


class HeldPasswordChecks:
    """Holds every check of a password until it is opened, and counts those that have arrived."""

    def __init__(self, threads: PriorityThreads, monkeypatch) -> None:
        self.checked = 0
        self.opened = asyncio.Event()
        self.run = threads.run
        monkeypatch.setattr(threads, "run", self.hold)

    async def hold(self, *args: Any, urgent: bool) -> Any:
        if urgent:
            self.checked += 1
            await self.opened.wait()
        return await self.run(*args, urgent=urgent)


async def wait_until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def checks(instance, monkeypatch) -> HeldPasswordChecks:
    return HeldPasswordChecks(instance.services.passwords.threads, monkeypatch)


async def test_an_office_signs_in_at_once(api, other_api, people, limit):
    limit("limit_auth_ip", Limit(50, 900))
    office = [await people.influencer() for _ in range(OFFICE)]
    for _ in range(2):  # the first attempt leaves no reservation
        answers = await asyncio.gather(
            *(log_in(client, person) for client, person in zip(cycle([api, other_api]), office, strict=False))
        )
        assert [answer.status for answer in answers] == [200] * OFFICE


async def test_parallel_guesses_are_limited(api, other_api, people, limit):
    limit("limit_auth", Limit(5, 900))
    person = await people.influencer()
    answers = await asyncio.gather(
        *(log_in(client, person, f"guess {n}") for n, client in zip(range(40), cycle([api, other_api]), strict=False))
    )
    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 35
    assert (await log_in(other_api, person)).status == 429


@pytest.mark.parametrize("right", [True, False])
async def test_attempts_beyond_the_allowance_wait_for_those_in_flight(instance, api, people, limit, checks, right):
    limit("limit_auth", Limit(3, 900))
    person = await people.influencer()
    first = [asyncio.create_task(log_in(api, person, PASSWORD if right else "a guess")) for _ in range(3)]
    await wait_until(lambda: checks.checked == 3)
    late = asyncio.create_task(log_in(api, person))
    await wait_until(lambda: instance.services.rate_limits.waiting == 1)
    assert (checks.checked, late.done()) == (3, False)  # neither checked nor refused
    checks.opened.set()
    assert {answer.status for answer in await asyncio.gather(*first)} == {200 if right else 401}
    assert (await late).status == (200 if right else 429)
    assert checks.checked == (4 if right else 3)


async def test_the_wait_ends(instance, api, people, limit, checks, monkeypatch):
    monkeypatch.setattr(rate_limit, "WAIT_SECONDS", 0.1)
    limit("limit_auth", Limit(1, 900))
    person = await people.influencer()
    first = asyncio.create_task(log_in(api, person))
    await wait_until(lambda: checks.checked == 1)
    refused = await log_in(api, person)
    assert (refused.status, refused.code, refused.headers["Retry-After"]) == (429, "RATE_LIMITED", "2")
    assert "at once" in refused.body["error"]
    monkeypatch.setattr(rate_limit, "MAX_WAITING", 0)
    assert (await log_in(api, person)).status == 429
    checks.opened.set()
    assert (await first).status == 200
    assert (await log_in(api, person)).status == 200


async def test_a_crash_is_not_a_failure(instance, api, people, limit, monkeypatch):
    limit("limit_auth", Limit(1, 900))
    person = await people.influencer()

    async def crash(*_: Any, urgent: bool) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(instance.services.passwords.threads, "run", crash)
        assert (await log_in(api, person)).status == 500
    assert (await log_in(api, person)).status == 200


async def test_wrong_current_passwords_are_failures_too(api, people, limit):
    limit("limit_auth", Limit(5, 900))
    person = await people.influencer()
    wrong = {"currentPassword": "a guess", "newPassword": "an entirely new one"}
    answers = await asyncio.gather(*(api.post("/profile/change-password", wrong, person) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [403] * 5 + [429] * 7


# -- refresh tokens --


async def expired(instance, api, person: Person) -> dict[str, Any]:
    secret = instance.settings.jwt_refresh_secret.get_secret_value()
    return {"refreshToken": forge(instance, person, secret=secret, typ="refresh", generation=1, exp=time.time() - 1)}


async def of_an_ended_session(instance, api, person: Person) -> dict[str, Any]:
    signed_in = (await log_in(api, person)).data
    await instance.db.execute("update sessions set ended_at = now(), end_reason = 'LOGGED_OUT'")
    return {"refreshToken": signed_in["refreshToken"]}


async def used_before(instance, api, person: Person) -> dict[str, Any]:
    token = {"refreshToken": (await log_in(api, person)).data["refreshToken"]}
    assert (await api.post("/auth/refresh", token)).status == 200
    await instance.db.execute("update sessions set rotated_at = now() - interval '1 h'")
    return token


async def access_token(instance, api, person: Person) -> dict[str, Any]:
    return {"refreshToken": person.token}


async def of_a_deleted_session(instance, api, person: Person) -> dict[str, Any]:
    return {"refreshToken": instance.services.tokens.refresh("00000000-0000-4000-8000-000000000000", 1)}


def no_token(value: str | None):
    async def body(*_) -> dict[str, Any]:
        return {} if value is None else {"refreshToken": value}

    return body


NOT_COUNTED = {
    "absent": no_token(None), "empty": no_token(""), "undefined": no_token("undefined"), "null": no_token("null"),
    "dots": no_token("a.b.c"), "two dots": no_token(".."), "long": no_token("a" * 4000), "object": no_token("[object]"),
    "expired": expired, "ended": of_an_ended_session, "used": used_before, "deleted": of_a_deleted_session,
    "access token": access_token,
}  # fmt: skip


@pytest.mark.parametrize("make", NOT_COUNTED.values(), ids=NOT_COUNTED)
async def test_tokens_that_are_not_guesses_do_not_count(instance, api, people, limit, make):
    limit("limit_auth_ip", Limit(2, 900))
    person = await people.influencer()
    body = await make(instance, api, person)
    for _ in range(4):
        assert (await api.post("/auth/refresh", body)).status == 401
    for value in filter(None, body.values()):
        assert (await api.post("/auth/refresh", headers={"Cookie": f"refreshToken={value}"})).status == 401
    assert (await log_in(api, person)).status == 200


async def test_another_site_cannot_lock_users_out(instance, api, people, limit):
    limit("limit_auth_ip", Limit(2, 900))
    person = await people.influencer()
    forged = forge(instance, person, secret="x" * 32, typ="refresh")
    for token in (forged, (await log_in(api, person)).data["refreshToken"]):
        foreign = {"Cookie": f"refreshToken={token}", "Origin": "https://evil.example"}
        for _ in range(4):
            assert (await api.post("/auth/refresh", headers=foreign)).status == 401
    untyped = {"Origin": "https://evil.example", "Content-Type": ""}  # a page may send this without a preflight
    wrong = {"email": person.email, "password": "a wrong guess"}
    for path, body in (("/auth/refresh", {"refreshToken": forged}), ("/auth/login", wrong)):
        for _ in range(4):
            assert (await api.post(path, body, headers=untyped)).status == 415
    assert (await log_in(api, person)).status == 200


@pytest.mark.parametrize(
    "changes", [{"secret": "x" * 32}, {"secret": None, "algorithm": "none"}, {"algorithm": "HS512"}], ids=str
)
async def test_forged_tokens_count(instance, api, people, limit, changes):
    limit("limit_auth_ip", Limit(2, 900))
    person = await people.influencer()
    mine = (await log_in(api, person)).data["refreshToken"]
    forged = {"refreshToken": forge(instance, person, typ="refresh", generation=1, **changes)}
    assert [(await api.post("/auth/refresh", forged)).status for _ in range(3)] == [401, 401, 429]
    assert (await log_in(api, person)).status == 429
    assert (await api.post("/auth/refresh", {"refreshToken": mine})).status == 200  # a signed token is not a guess


# -- the reservation --

CLAIMS = [
    Claim("auth:198.51.100.7", "limit_auth_ip", Limit(50, 900)),
    Claim("auth:198.51.100.7", "limit_auth:a@example.com", Limit(2, 900)),
    Claim("off", "off", None),
    Claim("account:a@example.com", "limit_auth_account", Limit(3, 3600)),
]


UNREACHABLE_REDIS = Mock(eval=AsyncMock(side_effect=RedisConnectionError))


@pytest.fixture(params=["redis", "this instance alone"])
def limits(request, instance, monkeypatch) -> RateLimits:
    monkeypatch.setattr(rate_limit, "WAIT_SECONDS", 0)
    return RateLimits(instance.redis if request.param == "redis" else UNREACHABLE_REDIS)


@asynccontextmanager
async def in_flight(limits: RateLimits, *claims: Claim, failed: bool) -> AsyncIterator[None]:
    reservation = await limits.reserve(claims)
    assert reservation.state == GRANTED
    yield
    await limits.settle(reservation, failed=failed)


async def state(limits: RateLimits, *claims: Claim) -> int:
    reservation = await limits.reserve(claims)
    if reservation.state == GRANTED:
        await limits.settle(reservation, failed=False)
    return reservation.state


async def test_a_place_is_taken_until_the_attempt_is_settled(limits):
    async with in_flight(limits, *CLAIMS, failed=False):
        assert await state(limits, *CLAIMS) == GRANTED
        async with in_flight(limits, *CLAIMS, failed=True):
            assert await state(limits, *CLAIMS) == CROWDED
        assert await state(limits, *CLAIMS) == CROWDED
    assert await state(limits, *CLAIMS) == GRANTED
    async with in_flight(limits, *CLAIMS, failed=True):
        pass
    assert await state(limits, *CLAIMS) == REFUSED
    assert await state(limits, CLAIMS[0]) == GRANTED
    verdicts = (await limits.reserve(CLAIMS[:2])).verdicts
    assert [(verdict.allowed, verdict.remaining) for verdict in verdicts] == [(True, 47), (False, 0)]
    assert 0 < verdicts[1].retry_after <= 900


async def test_what_is_refused_by_one_owner_takes_no_place_of_another(limits):
    elsewhere = [Claim("auth:203.0.113.9", "limit_auth_ip", Limit(1, 900)), CLAIMS[3]]
    for _ in range(3):
        async with in_flight(limits, CLAIMS[3], failed=True):
            pass
    for _ in range(3):
        assert await state(limits, *elsewhere) == REFUSED
    assert await state(limits, elsewhere[0]) == GRANTED


async def test_limits_with_bursts(limits):
    claim = Claim("auth:198.51.100.7", "limit_auth_ip", Limit(5, 900, 2))
    async with in_flight(limits, claim, failed=True), in_flight(limits, claim, failed=False):
        assert await state(limits, claim) == CROWDED
    async with in_flight(limits, claim, failed=True):
        assert await state(limits, claim) == CROWDED
    assert await state(limits, claim) == REFUSED


async def test_an_instance_that_dies_holds_its_places_for_a_while_only(instance, monkeypatch):
    monkeypatch.setattr(rate_limit, "WAIT_SECONDS", 0)
    dead, alive = RateLimits(instance.redis), RateLimits(instance.redis)
    claim = Claim("auth:198.51.100.7", "limit_auth_ip", Limit(1, 900))
    await dead.reserve([claim])
    assert await state(alive, claim) == CROWDED
    key = f"{claim.key}:in-flight"
    assert 0 < await instance.redis.ttl(key) <= rate_limit.LEASE_SECONDS
    [(attempt, _)] = await instance.redis.zrange(key, 0, -1, withscores=True)
    await instance.redis.zadd(key, {attempt: time.time() - 1})
    assert await state(alive, claim) == GRANTED


@pytest.mark.parametrize("leaves", [True, False])
async def test_redis_leaves_or_returns_while_an_attempt_is_in_flight(instance, monkeypatch, leaves):
    monkeypatch.setattr(rate_limit, "WAIT_SECONDS", 0)
    monkeypatch.setattr(rate_limit, "REST_SECONDS", 0)
    limits = RateLimits(instance.redis if leaves else UNREACHABLE_REDIS)
    claim = Claim("auth:198.51.100.7", "limit_auth_ip", Limit(1, 900))
    async with in_flight(limits, claim, failed=True):
        limits.redis = UNREACHABLE_REDIS if leaves else instance.redis
    assert await state(limits, claim) == REFUSED  # here the attempts are counted now
    assert (limits.local_attempts.in_flight, limits.local_attempts.reserved) == ({}, set())


async def test_attempts_are_limited_while_redis_is_away(instance, api, people, limit, monkeypatch):
    limits = instance.services.rate_limits
    monkeypatch.setattr(limits, "redis", UNREACHABLE_REDIS)
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limit("limit_auth", Limit(5, 900))
    person, office = await people.influencer(), [await people.salon() for _ in range(10)]
    answers = await asyncio.gather(*(log_in(api, person, f"guess {n}") for n in range(12)))
    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 7
    limit("limit_auth_ip", Limit(8, 900))
    assert {answer.status for answer in await asyncio.gather(*(log_in(api, one) for one in office))} == {200}
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limits.local.counters.clear()
