"""Limits of sign-ups and code mails per network and per e-mail address."""

import asyncio
from typing import Any

import pytest

from services.security.addresses import read_network
from services.security.priority_threads import TooBusy
from settings import Limit, Settings
from tests.helpers.clients import Answer, Api

EMAIL = "hanako@example.com"
HOME, OFFICE = "198.51.100.7", "[2001:db8:1:2::7]:51234"


@pytest.fixture(autouse=True)
def behind_a_proxy(instance, other_instance, monkeypatch):
    for one in (instance, other_instance):
        monkeypatch.setattr(one.app, "proxies", [read_network("127.0.0.1")])


async def post(api: Api, path: str, body: dict[str, Any], address: str) -> Answer:
    return await api.post(f"/auth/{path}", body, headers={"X-Forwarded-For": address})


async def sign_up(api: Api, email: str = EMAIL, address: str = HOME, *, role: str = "salon", **more: object) -> Answer:
    body = {"name": "Hanako", "email": email, "password": "a long enough one", "termsAccepted": True, **more}
    return await post(api, f"signup/{role}", body, address)


def test_the_limits_as_they_are_set():
    defaults = {name: Settings.model_fields[name].default for name in Settings.model_fields}
    assert defaults["limit_sign_up"] == Limit(20, 3600)
    assert defaults["limit_otp_mail"] == Limit(5, 3600)
    assert defaults["limit_otp_mail_email"] == Limit(20, 3600)


async def test_sign_ups_are_limited_per_network(api, other_api, limit):
    limit("limit_sign_up", Limit(3, 3600))
    for number in range(3):
        faulty = await sign_up(api, f"person{number}@example.com", password="short")
        assert faulty.status == 400  # not a sign-up, so not counted
    clients = [(api, "salon"), (other_api, "influencer")] * 3
    answers = await asyncio.gather(
        *(sign_up(client, f"new{number}@example.com", role=role) for number, (client, role) in enumerate(clients))
    )
    assert sorted(answer.status for answer in answers) == [201] * 3 + [429] * 3
    refused = await sign_up(api, "another@example.com")
    assert (refused.status, refused.code) == (429, "RATE_LIMITED")
    assert refused.body["retryAfter"] > 0
    assert (await sign_up(api, "another@example.com", OFFICE)).status == 201


MAILS = {
    "sign-up": lambda api, address: sign_up(api, EMAIL, address),
    "resend": lambda api, address: post(api, "resend-otp", {"email": EMAIL}, address),
    "forgot": lambda api, address: post(api, "forgot-password", {"email": EMAIL}, address),
    "resend forgot": lambda api, address: post(api, "resend-forgot-otp", {"email": EMAIL}, address),
}


@pytest.mark.parametrize("ask", MAILS.values(), ids=MAILS)
async def test_one_client_cannot_block_the_mails_of_others(api, limit, ask):
    limit("limit_otp_mail", Limit(2, 3600))
    limit("limit_otp_mail_email", Limit(5, 3600))
    assert [(await ask(api, HOME)).status for _ in range(4)][2:] == [429, 429]
    assert (await ask(api, OFFICE)).status != 429  # the owner in another network


@pytest.mark.parametrize("ask", MAILS.values(), ids=MAILS)
async def test_many_networks_together_cannot_flood_an_address(api, limit, ask):
    limit("limit_otp_mail", Limit(2, 3600))
    limit("limit_otp_mail_email", Limit(5, 3600))
    statuses = [(await ask(api, f"198.51.100.{number}")).status for number in range(7)]
    assert (429 in statuses[:5], statuses[5:]) == (False, [429, 429])


async def test_a_login_that_may_mail_no_code_says_the_same(api, limit, db):
    assert (await sign_up(api)).status == 201
    limit("limit_otp_mail", Limit(1, 3600))
    for _ in range(3):
        await db.execute("update sign_ups set code_expires_at = now() - interval '1 s'")
        login = await post(api, "login", {"email": EMAIL, "password": "a long enough one"}, HOME)
        assert (login.status, login.code) == (403, "EMAIL_NOT_VERIFIED")
    assert await db.fetchval("select count(*) from email_outbox") == 2


async def test_a_sign_up_that_the_server_is_too_busy_for_does_not_count(instance, api, limit, monkeypatch):
    limit("limit_sign_up", Limit(1, 3600))
    limit("limit_otp_mail", Limit(1, 3600))
    limit("limit_otp_mail_email", Limit(1, 3600))

    async def refuse(*_: object, urgent: bool) -> None:
        raise TooBusy

    with monkeypatch.context() as patch:
        patch.setattr(instance.services.passwords.threads, "run", refuse)
        for _ in range(3):
            busy = await sign_up(api)
            assert (busy.status, busy.code, busy.headers["Retry-After"]) == (503, "BUSY", "2")
    assert (await sign_up(api)).status == 201
    assert (await sign_up(api)).status == 429


async def test_limits_hold_while_redis_is_away(instance, api, limit, monkeypatch):
    class UnreachableRedis:
        async def eval(self, *_: object) -> None:
            raise ConnectionError

    limits = instance.services.rate_limits
    monkeypatch.setattr(limits, "redis", UnreachableRedis())
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limit("limit_sign_up", Limit(2, 3600))
    statuses = [(await sign_up(api, f"person{number}@example.com")).status for number in range(3)]
    assert statuses == [201, 201, 429]
    limit("limit_otp_mail", Limit(2, 3600))
    assert [(await MAILS["forgot"](api, HOME)).status for _ in range(3)] == [200, 200, 429]
    monkeypatch.setattr(limits, "rest_until", 0.0)
    limits.local.counters.clear()
