"""A session ends SESSION_MAX_AGE after its sign-in, however often it is renewed."""

import asyncio
from datetime import timedelta
from typing import Any

import jwt
import pytest

from settings import Settings
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import PASSWORD, Person

DAYS = 90


async def log_in(api: Api, person: Person) -> Answer:
    return await api.post("/auth/login", {"email": person.email, "password": PASSWORD})


async def renew(api: Api, tokens: dict[str, Any]) -> Answer:
    return await api.post("/auth/refresh", {"refreshToken": tokens["refreshToken"]})


def life(token: str) -> int:
    claims = jwt.decode(token, options={"verify_signature": False})
    return claims["exp"] - claims["iat"]


def max_age(answer: Answer) -> int:
    return int(answer.headers["Set-Cookie"].partition("Max-Age=")[2].partition(";")[0])


@pytest.fixture
def age(db):
    """Set the age of the only session."""
    return lambda **ago: db.execute("update sessions set created_at = now() - $1::interval", timedelta(**ago))


def test_the_default():
    assert Settings.model_fields["session_max_age"].default == timedelta(days=DAYS)


async def test_a_session_ends_however_often_it_is_renewed(api, other_api, people, db, age):
    tokens = (await log_in(api, await people.influencer())).data
    await db.execute("delete from sessions where ip_address is null")
    for days in (6, 30, 60, DAYS - 8):
        await age(days=days)
        answer = await renew(api, tokens)
        assert (answer.status, answer.data["expiresIn"], max_age(answer)) == (200, 900, 7 * 86400)
        tokens = answer.data
    await age(days=DAYS, seconds=1)
    for client in (api, other_api):
        assert (await renew(client, tokens)).code == "INVALID_TOKEN"


async def test_no_token_outlives_its_session(api, other_api, people, db, age):
    tokens = (await log_in(api, await people.influencer())).data
    await db.execute("delete from sessions where ip_address is null")
    await age(days=DAYS, seconds=-600)  # ends in ten minutes
    answers = await asyncio.gather(*(renew(client, tokens) for client in [api, other_api] * 2))  # one of them rotates
    for answer in answers:
        assert answer.status == 200
        seconds = answer.data["expiresIn"]
        assert 0 < seconds <= 600
        assert [life(answer.data["accessToken"]), life(answer.data["refreshToken"]), max_age(answer)] == [seconds] * 3
    assert await db.fetchval("select expires_at - created_at from sessions") == timedelta(days=DAYS)


async def test_a_short_maximum_bounds_the_sign_in_too(instance, api, people, db, monkeypatch):
    monkeypatch.setattr(instance.settings, "session_max_age", timedelta(minutes=5))
    answer = await log_in(api, await people.influencer())
    assert answer.data["expiresIn"] == life(answer.data["refreshToken"]) == max_age(answer) == 300
    left = await db.fetchval("select expires_at - created_at from sessions where ip_address is not null")
    assert left == timedelta(minutes=5)
