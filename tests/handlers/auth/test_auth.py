"""From sign-up to a new password, for new users, returning users and attackers."""

import asyncio
import time
from datetime import UTC, datetime
from unittest.mock import AsyncMock

import pytest

from settings import Limit
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import PASSWORD, Person
from tests.helpers.tokens import forge

NEW_PASSWORD = "a long enough one"
NEWCOMER = {
    "name": " 花子 🌸 ",
    "email": "Hanako@Example.com",
    "password": NEW_PASSWORD,
    "phoneNo": "",
    "acceptTerms": True,
}
EMAIL = "hanako@example.com"


@pytest.fixture
def newcomer(io_loop, api, mailbox):
    """Sign up without verifying; return the mailed code."""

    async def sign_up() -> str:
        assert (await api.post("/auth/signup/influencer", NEWCOMER)).status == 201
        return await mailbox.code()

    return io_loop.run_sync(sign_up)


async def log_in(api: Api, address: str = EMAIL, password: str = NEW_PASSWORD) -> Answer:
    return await api.post("/auth/login", {"email": address, "password": password})


async def test_sign_up_verify_log_in(api, mailbox):
    answer = await api.post("/auth/signup/influencer", NEWCOMER)
    assert answer.status == 201
    assert answer.body["userId"] == answer.data["userId"]
    assert answer.data["email"] == EMAIL
    refused = await log_in(api)
    assert (refused.status, refused.code, refused.body["email"]) == (403, "EMAIL_NOT_VERIFIED", EMAIL)
    verified = await api.post("/auth/verify-otp", {"email": "HANAKO@example.com", "otp": await mailbox.code()})
    assert (verified.status, verified.body["role"]) == (200, "INFLUENCER")
    answer = await log_in(api)
    assert answer.body["accessToken"] == answer.data["accessToken"]
    assert answer.data["expiresIn"] == 900
    user = answer.body["user"]
    assert (user["name"], user["email"], user["hasCompletedOnboarding"]) == ("花子 🌸", EMAIL, False)
    assert user["influencer"]["emailVerified"] is True
    assert user["salon"] is None
    assert "password" not in answer.raw.decode().lower()
    cookie = answer.headers["Set-Cookie"]
    assert all(part in cookie for part in ("HttpOnly", "SameSite=Strict", "Path=/api/v1/auth")), cookie


async def test_a_verified_address_is_taken_an_unverified_one_is_not(api, newcomer, mailbox, db):
    salon = {**NEWCOMER, "name": "Salon", "email": "hanako@EXAMPLE.com", "password": "another long one"}
    assert (await api.post("/auth/signup/salon", salon)).status == 201
    second = await mailbox.code()
    if second != newcomer:  # two codes are equal once in a million
        assert (await api.post("/auth/verify-otp", {"email": EMAIL, "otp": newcomer})).code == "INVALID_OTP"
    assert (await api.post("/auth/verify-otp", {"email": EMAIL, "otp": second})).body["role"] == "SALON"
    assert (await log_in(api)).code == "INVALID_CREDENTIALS"
    assert (await log_in(api, password="another long one")).body["user"]["salon"]["phoneNo"] is None
    taken = await api.post("/auth/signup/influencer", NEWCOMER)
    assert (taken.status, taken.code, taken.body["error"]) == (409, "EMAIL_TAKEN", "E-mail is already registered")
    assert await db.fetchval("select count(*) from influencers") == 0


async def test_two_sign_up_at_once_with_one_address(api, other_api, db):
    spellings = [NEWCOMER, {**NEWCOMER, "email": "HANAKO@example.COM"}] * 3
    answers = await asyncio.gather(
        *(client.post("/auth/signup/salon", body) for client, body in zip([api, other_api] * 3, spellings, strict=True))
    )
    assert {answer.status for answer in answers} == {201}
    assert await db.fetchval("select count(*) from users") == 1
    assert await db.fetchval("select count(*) from salons") == 1


async def test_wrong_codes_are_counted_over_instances(api, other_api, newcomer):
    wrong = "000000" if newcomer != "000000" else "111111"
    left = []
    for client in [api, other_api, api, other_api, api]:
        answer = await client.post("/auth/verify-otp", {"email": EMAIL, "otp": wrong})
        assert (answer.status, answer.code) == (400, "INVALID_OTP")
        left.append(answer.body["attemptsLeft"])
    assert left == [4, 3, 2, 1, 0]
    assert (await api.post("/auth/verify-otp", {"email": EMAIL, "otp": newcomer})).code == "INVALID_OTP"


async def test_a_code_works_once_even_for_two_at_once(api, other_api, newcomer):
    body = {"email": EMAIL, "otp": newcomer}
    answers = await asyncio.gather(*(client.post("/auth/verify-otp", body) for client in [api, other_api] * 4))
    assert sorted(answer.status for answer in answers) == [200] + [400] * 7


async def test_an_old_code_is_invalid(api, newcomer, db):
    await db.execute("update sign_ups set code_expires_at = now()")
    assert (await api.post("/auth/verify-otp", {"email": EMAIL, "otp": newcomer})).code == "INVALID_OTP"


async def test_codes_and_passwords_are_not_stored_in_clear(newcomer, db):
    assert newcomer.encode() not in await db.fetchval("select code_hash from sign_ups")
    assert await db.fetchval("select payload from email_outbox") is None  # deleted after sending
    hashes = await db.fetchrow("select u.password_hash, s.password_hash from users u join sign_ups s on true")
    assert all(each.startswith("$2b$") for each in hashes)


async def test_resend_does_not_reveal_accounts(api, newcomer, mailbox, db):
    known, unknown = [await api.post("/auth/resend-otp", {"email": email}) for email in (EMAIL, "nobody@example.com")]
    assert known.status == unknown.status == 200
    assert known.body["message"] == unknown.body["message"]
    assert await db.fetchval("select count(*) from email_outbox") == 2
    assert (await api.post("/auth/verify-otp", {"email": EMAIL, "otp": await mailbox.code()})).status == 200
    await api.post("/auth/resend-otp", {"email": EMAIL})
    assert await db.fetchval("select count(*) from email_outbox") == 2


async def test_wrong_credentials_look_alike(api, people):
    person = await people.influencer()
    answers = [
        await log_in(api, *who) for who in ((person.email, "wrong one here"), ("nobody@example.com", "wrong one"))
    ]
    bodies = [{**answer.body, "requestId": None} for answer in answers]
    assert bodies[0] == bodies[1]
    assert {answer.status for answer in answers} == {401}


async def test_an_unknown_address_costs_a_comparison_too(instance, monkeypatch, api):
    original = instance.services.passwords.find
    compare = AsyncMock(wraps=original)
    monkeypatch.setattr(instance.services.passwords, "find", compare)
    await log_in(api, "nobody@example.com", "whatever it is")
    compare.assert_awaited_once_with("whatever it is", [])
    assert await original("nobody", []) is None  # the password of the dummy hash matches no account
    assert await instance.services.passwords.matches("nobody", None) is False


async def test_suspended_and_unaccepted(api, people, db):
    person = await people.influencer()
    await db.execute("update users set status = 'SUSPENDED'")
    assert (await log_in(api, person.email, PASSWORD)).code == "ACCOUNT_SUSPENDED"
    await db.execute("update users set status = 'ACTIVE', terms_accepted_at = null")
    assert (await log_in(api, person.email, PASSWORD)).code == "TERMS_NOT_ACCEPTED"


async def test_refresh_rotates(api, people):
    person = await people.influencer()
    first = (await log_in(api, person.email, PASSWORD)).data
    second = (await api.post("/auth/refresh", {"refreshToken": first["refreshToken"]})).data
    assert second["refreshToken"] != first["refreshToken"]
    third = await api.post("/auth/refresh", headers={"Cookie": f"refreshToken={second['refreshToken']}"})
    assert third.status == 200
    foreign = {"Cookie": f"refreshToken={third.data['refreshToken']}", "Origin": "https://evil.example"}
    assert (await api.post("/auth/refresh", headers=foreign)).status == 401
    for bad in ("", "x", first["accessToken"], "a" * 4000):
        assert (await api.post("/auth/refresh", {"refreshToken": bad})).status == 401


async def test_two_tabs_refresh_at_once(api, other_api, people, db):
    person = await people.influencer()
    first = (await log_in(api, person.email, PASSWORD)).data
    body = {"refreshToken": first["refreshToken"]}
    answers = await asyncio.gather(*(client.post("/auth/refresh", body) for client in [api, other_api] * 3))
    assert {answer.status for answer in answers} == {200}
    assert await db.fetchval("select generation from sessions where generation > 1") == 2  # rotated once


async def test_a_reused_token_ends_the_family_and_its_sockets(api, other_api, people, db):
    person = await people.influencer()
    first = (await log_in(api, person.email, PASSWORD)).data
    second = (await api.post("/auth/refresh", {"refreshToken": first["refreshToken"]})).data
    user = Person(person.id, person.name, person.email, person.role, second["accessToken"], "")
    socket = await other_api.socket(user)
    await db.execute("update sessions set rotated_at = now() - interval '11 seconds'")
    assert (await api.post("/auth/refresh", {"refreshToken": first["refreshToken"]})).status == 401
    assert (await api.post("/auth/refresh", {"refreshToken": second["refreshToken"]})).status == 401
    assert await socket.close_code() == 4403
    assert (await api.post("/auth/logout", user=user)).status == 401


async def test_log_out_acts_everywhere_within_a_second(api, other_api, people):
    person = await people.influencer()
    elsewhere = await people.sign_in(person)
    assert (await other_api.get("/chat/contacts", person)).status == 200  # cached there
    socket, kept = await other_api.socket(person), await other_api.socket(elsewhere)
    began = time.monotonic()
    assert (await api.post("/auth/logout", user=person)).status == 200
    assert (await api.get("/chat/contacts", person)).status == 401
    assert await socket.close_code() == 4403
    while (await other_api.get("/chat/contacts", person)).status == 200:
        assert time.monotonic() - began < 1
    assert time.monotonic() - began < 1
    assert (await kept.ask("ping"))["event"] == "pong"
    assert (await other_api.post("/auth/logout-all", user=elsewhere)).status == 200
    assert await kept.close_code() == 4403


async def test_forgotten_password(api, people, mailbox, db):
    person = await people.influencer()
    for address in (person.email.upper(), "nobody@example.com"):
        answer = await api.post("/auth/forgot-password", {"email": address})
        assert (answer.status, answer.body["email"]) == (200, address.lower())
    code = await mailbox.code()
    checked = await api.post("/auth/verify-forgot-otp", {"email": person.email, "otp": code})
    assert (checked.status, checked.body["email"]) == (200, person.email)
    assert (await api.post("/auth/verify-otp", {"email": person.email, "otp": code})).code == "INVALID_OTP"
    body = {"email": person.email, "otp": code, "newPassword": "an entirely new one"}
    assert (await api.post("/auth/reset-password", {**body, "newPassword": "short"})).fields == {"newPassword"}
    assert (await api.post("/auth/reset-password", body)).status == 200
    assert (await api.post("/auth/reset-password", body)).code == "INVALID_OTP"
    assert (await api.get("/chat/contacts", person)).status == 401
    assert (await log_in(api, person.email, PASSWORD)).status == 401
    assert (await log_in(api, person.email, "an entirely new one")).status == 200
    assert await db.fetchval("select count(*) from email_outbox where template = 'password_changed'") == 1


async def test_sessions_are_bounded_and_a_login_is_never_refused(api, people, db):
    person = await people.influencer()
    tokens = [(await log_in(api, person.email, PASSWORD)).data["accessToken"] for _ in range(22)]
    alive = await db.fetchval("select count(*) from sessions where ended_at is null")
    assert alive == 20
    newest = Person(person.id, person.name, person.email, person.role, tokens[-1], "")
    assert (await api.get("/chat/contacts", newest)).status == 200


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"exp": datetime(2020, 1, 1, tzinfo=UTC)}, "TOKEN_EXPIRED"),
        ({"secret": None, "algorithm": "none"}, "INVALID_TOKEN"),
        ({"secret": "x" * 32}, "INVALID_TOKEN"),
        ({"algorithm": "HS512"}, "INVALID_TOKEN"),
        ({"typ": "refresh"}, "INVALID_TOKEN"),
        ({"sid": "00000000-0000-4000-8000-000000000000"}, "INVALID_TOKEN"),
        ({"sid": "nonsense"}, "INVALID_TOKEN"),
        ({"sid": None}, "INVALID_TOKEN"),
        ({"userId": ["x"]}, "INVALID_TOKEN"),
        ({"exp": None}, "INVALID_TOKEN"),
        ({"role": "ADMIN"}, None),  # the role in the database counts, which allows no admin route
    ],
)
async def test_forged_tokens(instance, api, people, changes, code):
    person = await people.influencer()
    person.token = forge(instance, person, **changes)
    answer = await api.get("/chat/contacts", person)
    assert (answer.status, answer.body.get("code")) == ((401, code) if code else (200, None))


async def test_a_session_of_another_user_does_not_fit_the_token(instance, api, people):
    one, other = await people.influencer(), await people.influencer()
    one.token = forge(instance, one, sid=str(other.session_id))
    assert (await api.get("/chat/contacts", one)).code == "INVALID_TOKEN"


async def test_failed_tries_are_limited_per_address_not_per_office(api, people, limit):
    limit("limit_auth", Limit(5, 900))
    limit("limit_auth_ip", Limit(50, 900))
    one, colleague = await people.influencer(), await people.salon()
    answers = await asyncio.gather(*(log_in(api, one.email, f"wrong guess {n}") for n in range(12)))
    assert sorted(answer.status for answer in answers) == [401] * 5 + [429] * 7
    refused = await log_in(api, one.email, PASSWORD)
    assert refused.status == 429
    assert int(refused.headers["Retry-After"]) == refused.body["retryAfter"] > 0
    for _ in range(8):  # successes do not count
        assert (await log_in(api, colleague.email, PASSWORD)).status == 200


async def test_code_mails_are_limited(api, limit):
    limit("limit_otp_mail", Limit(5, 3600))
    answers = [await api.post("/auth/resend-otp", {"email": "Somebody@example.com"}) for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]


async def test_every_bad_field_is_named_at_once(api, db):
    body = {"name": 5, "email": "no address", "password": ["x"], "phoneNo": {"a": 1}, "termsAccepted": False}
    answer = await api.post("/auth/signup/salon", body)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR")
    assert answer.fields == {"name", "email", "password", "phoneNo", "termsAccepted"}
    assert await db.fetchval("select count(*) from users") == 0


@pytest.mark.parametrize(
    ("password", "accepted"),
    [
        ("password1", False),
        ("Hanako@example.com", False),
        ("short", False),
        ("あ" * 25, False),  # 75 bytes
        ("あ" * 24, True),
        ("x" * 300, False),
        ("nul\x00nul nul", False),
    ],
)
async def test_passwords(api, db, password, accepted):
    answer = await api.post("/auth/signup/salon", {**NEWCOMER, "password": password})
    assert answer.status == (201 if accepted else 400)
    assert accepted or answer.fields == {"password"}


async def test_an_unverified_login_says_so_also_without_another_mail(api, newcomer, db, limit):
    await db.execute("update sign_ups set code_expires_at = now()")
    limit("limit_otp_mail", Limit(1, 3600))
    for _ in range(3):  # only the first one sends a mail
        answer = await log_in(api)
        assert (answer.status, answer.code, answer.body["email"]) == (403, "EMAIL_NOT_VERIFIED", EMAIL)
        await db.execute("update sign_ups set code_expires_at = now()")


async def test_a_login_with_a_password_that_is_replaced_meanwhile(instance, api, people, db, monkeypatch):
    user, compare = await people.influencer(), instance.services.passwords.find

    async def replace_meanwhile(*args):
        matched = await compare(*args)
        await db.execute("update users set password_hash = 'another' where id = $1", user.id)
        return matched

    monkeypatch.setattr(instance.services.passwords, "find", replace_meanwhile)
    answer = await log_in(api, user.email, PASSWORD)
    assert (answer.status, answer.code) == (401, "INVALID_CREDENTIALS")
