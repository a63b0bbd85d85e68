"""Several people sign up with one address: each code confirms the sign-up that it was mailed for, and no other."""

import asyncio
from ipaddress import ip_network
from itertools import permutations
from typing import Any, NamedTuple
from unittest.mock import Mock

import bcrypt
import pytest

from db.pool import Database
from server import Instance
from services.security.passwords import Passwords
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import PASSWORD, People
from tests.helpers.mail.mailbox import Mailbox

EMAIL = "hanako@example.com"
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 19_0 like Mac OS X) AppleWebKit/605.1.15 Version/19.0 Mobile Safari/604.1"
WRONG = "not a code"


class SigningUp(NamedTuple):
    """A user who signs up with EMAIL, and the network of the request."""

    password: str
    network: str
    name: str = "Hanako"
    role: str = "INFLUENCER"
    phone: str | None = None


VICTIM = SigningUp("the victim's own one", "203.0.113.1", phone="090-1234-5678")
ATTACKER = SigningUp("known to the attacker", "198.51.100.7")  # of the same name
THIRD = SigningUp("of a third person", "2001:db8:1:2::3", "Salon Sakura", "SALON", "03-0000-0000")

ORDERS = {
    "victim first": (VICTIM, ATTACKER),
    "attacker first": (ATTACKER, VICTIM),
    **{
        f"three, the victim as number {order.index(VICTIM) + 1}, {order[0].role}": order
        for order in permutations((VICTIM, ATTACKER, THIRD))
    },
}


class Waiting(NamedTuple):
    token: str
    code: str
    user_id: str


class Clients:
    """Signs users up, reads their mails and enters codes, each from a separate network."""

    def __init__(self, api: Api, mailbox: Mailbox) -> None:
        self.api = api
        self.mailbox = mailbox

    async def post(self, path: str, body: dict[str, Any], network: str = "192.0.2.1", agent: str = "") -> Answer:
        return await self.api.post(path, body, headers={"X-Forwarded-For": network, "User-Agent": agent})

    async def sign_up(self, who: SigningUp, agent: str = IPHONE) -> Waiting:
        body = {"name": who.name, "email": EMAIL, "password": who.password, "termsAccepted": True}
        body |= {"phoneNo": who.phone} if who.phone else {}
        answer = await self.post(f"/auth/signup/{who.role.lower()}", body, who.network, agent)
        assert answer.status == 201, answer
        return Waiting(answer.data["signUpToken"], await self.mailbox.code(), answer.data["userId"])

    async def enter(self, code: str, token: str | None = None, api: Api | None = None) -> Answer:
        body = {"email": EMAIL, "otp": code} | ({"signUpToken": token} if token else {})
        return await (api or self.api).post("/auth/verify-otp", body)

    async def log_in(self, who: SigningUp) -> Answer:
        return await self.post("/auth/login", {"email": EMAIL, "password": who.password})


@pytest.fixture
def clients(instance: Instance, other_instance: Instance, api: Api, mailbox: Mailbox, monkeypatch) -> Clients:
    for each in (instance, other_instance):
        monkeypatch.setattr(each.app, "proxies", [ip_network("127.0.0.1/32")])
    return Clients(api, mailbox)


@pytest.mark.parametrize("with_token", [False, True], ids=["without tokens", "with tokens"])
@pytest.mark.parametrize("order", ORDERS)
async def test_a_code_confirms_the_sign_up_that_it_was_mailed_for(clients, db: Database, order: str, with_token: bool):
    waiting = {who: await clients.sign_up(who) for who in ORDERS[order]}
    assert len({each.user_id for each in waiting.values()}) == 1
    assert len({each.token for each in waiting.values()}) == len(waiting)
    mine = waiting.pop(VICTIM)

    answer = await clients.enter(mine.code, mine.token if with_token else None)

    assert (answer.status, answer.body["role"]) == (200, "INFLUENCER")
    user = (await clients.log_in(VICTIM)).data["user"]
    assert (user["id"], user["name"], user["influencer"]["phoneNo"]) == (mine.user_id, VICTIM.name, VICTIM.phone)
    assert user["salon"] is None
    for who, other in waiting.items():
        assert (await clients.log_in(who)).code == "INVALID_CREDENTIALS"
        assert (await clients.enter(other.code)).code == "INVALID_OTP"
        assert (await clients.enter(other.code, other.token)).code == "INVALID_OTP"
    assert await db.fetchval("select count(*) from sign_ups") == 0


@pytest.mark.parametrize("order", ORDERS)
async def test_with_a_token_only_the_code_of_that_sign_up_counts(clients, order: str):
    waiting = {who: await clients.sign_up(who) for who in ORDERS[order]}
    mine = waiting.pop(VICTIM)
    for other in waiting.values():
        refused = await clients.enter(other.code, mine.token)
        assert (refused.status, refused.code) == (400, "INVALID_OTP")
    assert (await clients.enter(mine.code, mine.token)).status == 200
    assert (await clients.log_in(VICTIM)).status == 200


@pytest.mark.parametrize("token", ["", None])
async def test_a_blank_token_counts_as_absent(clients, token: str | None):
    code = (await clients.sign_up(VICTIM)).code
    body = {"email": EMAIL, "otp": code, "signUpToken": token}
    assert (await clients.post("/auth/verify-otp", body)).status == 200


@pytest.mark.parametrize("token", ["nonsense", "00000000-0000-4000-8000-000000000000"])
async def test_a_token_of_no_sign_up_fits_no_code(clients, token: str):
    code = (await clients.sign_up(VICTIM)).code
    assert (await clients.enter(code, token)).code == "INVALID_OTP"
    assert (await clients.enter(code)).status == 200


async def test_the_account_shows_the_newest_sign_up_until_one_is_confirmed(clients, people: People):
    admin, first = await people.admin(), await clients.sign_up(VICTIM)
    await clients.sign_up(THIRD)
    shown = (await clients.api.get(f"/admin/users/{first.user_id}", admin)).data
    assert (shown["name"], shown["role"], shown["influencer"]) == (THIRD.name, "SALON", None)
    assert (shown["salon"]["emailVerified"], shown["salon"]["phoneNo"]) == (False, THIRD.phone)
    assert (await clients.enter(first.code)).status == 200
    shown = (await clients.api.get(f"/admin/users/{first.user_id}", admin)).data
    assert (shown["name"], shown["role"], shown["salon"]) == (VICTIM.name, "INFLUENCER", None)
    assert shown["influencer"]["emailVerified"] is True


@pytest.mark.parametrize("network", ["198.51.100.7", "2001:db8:1:2:aaaa::1"])
async def test_a_network_replaces_its_own_sign_up_and_displaces_no_other(clients, network: str):
    mine = await clients.sign_up(VICTIM)
    replaced = [await clients.sign_up(ATTACKER._replace(network=network, password=f"password {n}")) for n in range(4)]
    if ":" in network:
        replaced.append(await clients.sign_up(THIRD))  # from the same /64
    for other in replaced[:-1]:
        assert (await clients.enter(other.code, other.token)).code == "INVALID_OTP"
    assert (await clients.enter(mine.code)).status == 200


async def test_three_sign_ups_of_an_address_are_kept(clients, db: Database):
    waiting = [await clients.sign_up(VICTIM._replace(network=f"203.0.113.{n}")) for n in range(5)]
    kept = {row["id"] for row in await db.fetch("select id from sign_ups")}
    assert kept == {each.token for each in waiting[2:]}
    assert (await clients.enter(waiting[1].code)).code == "INVALID_OTP"
    assert (await clients.enter(waiting[2].code)).status == 200


async def test_the_mail_names_person_role_time_and_device(clients, mailbox: Mailbox, db: Database):
    await clients.sign_up(THIRD)
    signed_up_at = await db.fetchval("select created_at from sign_ups")
    text = await mailbox.text()
    about = f"""
    Name: Salon Sakura
    Role: salon
    Time: {signed_up_at:%Y-%m-%d %H:%M} UTC
    Device: Safari on iPhone
"""
    assert about in text
    assert "If this was another person, do not enter the code" in text
    await clients.post("/auth/resend-otp", {"email": EMAIL}, agent="curl/8.0")
    assert about in await mailbox.text()  # the device that signed up, not the one that asked again


async def test_resend_renews_the_newest_sign_up_or_that_of_the_token(clients, mailbox: Mailbox, db: Database):
    first, second = await clients.sign_up(VICTIM), await clients.sign_up(THIRD)
    await clients.post("/auth/resend-otp", {"email": EMAIL})
    newest = await mailbox.code()
    assert "Name: Salon Sakura" in await mailbox.text()
    assert (await clients.enter(second.code, second.token)).code == "INVALID_OTP"
    await clients.post("/auth/resend-otp", {"email": EMAIL, "signUpToken": first.token})
    renewed = await mailbox.code()
    assert "Name: Hanako" in await mailbox.text()
    assert (await clients.enter(newest, first.token)).code == "INVALID_OTP"
    assert (await clients.enter(renewed, first.token)).status == 200
    mails = await db.fetchval("select count(*) from email_outbox")
    answer = await clients.post("/auth/resend-otp", {"email": EMAIL, "signUpToken": second.token})
    assert (answer.status, await db.fetchval("select count(*) from email_outbox")) == (200, mails)


async def test_a_wrong_code_counts_on_all_living_codes(clients):
    waiting = [await clients.sign_up(who) for who in (VICTIM, ATTACKER, THIRD)]
    assert [(await clients.enter(WRONG)).body["attemptsLeft"] for _ in range(6)] == [4, 3, 2, 1, 0, 0]
    for each in waiting:
        refused = await clients.enter(each.code, each.token)
        assert (refused.code, refused.body["attemptsLeft"]) == ("INVALID_OTP", 0)


async def test_another_sign_up_gives_no_code_more_attempts(clients):
    mine = await clients.sign_up(VICTIM)
    assert [(await clients.enter(WRONG)).body["attemptsLeft"] for _ in range(3)] == [4, 3, 2]
    other = await clients.sign_up(ATTACKER)
    assert (await clients.enter(WRONG, mine.token)).body["attemptsLeft"] == 1
    assert (await clients.enter(WRONG, other.token)).body["attemptsLeft"] == 3
    assert (await clients.enter(mine.code, mine.token)).body["attemptsLeft"] == 0
    assert (await clients.enter(other.code, other.token)).status == 200


async def test_of_two_equal_codes_neither_counts_without_its_token(clients, db: Database):
    """One pair of codes in a million is equal."""
    mine, other = await clients.sign_up(VICTIM), await clients.sign_up(ATTACKER)
    copy = "update sign_ups set code_hash = (select code_hash from sign_ups where id = $1) where id = $2"
    await db.execute(copy, mine.token, other.token)
    assert (await clients.enter(mine.code)).code == "INVALID_OTP"
    assert (await clients.enter(mine.code, mine.token)).status == 200
    assert (await clients.log_in(VICTIM)).status == 200


# -- login -----------------------------------------------------------------------------------------------------------


async def test_login_renews_the_sign_up_whose_password_it_is(clients, mailbox: Mailbox, db: Database):
    for who in (VICTIM, ATTACKER, THIRD):
        await clients.sign_up(who)
    mails = await db.fetchval("select count(*) from email_outbox")
    for who in (VICTIM, ATTACKER, THIRD):
        answer = await clients.log_in(who)
        assert (answer.status, answer.code, answer.body["email"]) == (403, "EMAIL_NOT_VERIFIED", EMAIL)
    assert (await clients.log_in(VICTIM._replace(password="none of them"))).code == "INVALID_CREDENTIALS"
    assert await db.fetchval("select count(*) from email_outbox") == mails  # their codes are valid
    await db.execute("update sign_ups set code_expires_at = now()")
    assert (await clients.log_in(VICTIM)).code == "EMAIL_NOT_VERIFIED"
    assert (await clients.enter(await mailbox.code())).status == 200
    assert (await clients.log_in(VICTIM)).status == 200


async def test_every_login_runs_bcrypt_once(clients, people: People, monkeypatch):
    """The number of runs would reveal which addresses have unconfirmed sign-ups."""
    verified = await people.salon()
    for who in (VICTIM, ATTACKER, THIRD):
        await clients.sign_up(who)
    hashpw = Mock(wraps=bcrypt.hashpw)
    monkeypatch.setattr(bcrypt, "hashpw", hashpw)
    monkeypatch.setattr(bcrypt, "checkpw", lambda *args: pytest.fail("another run"))
    for address in (EMAIL, verified.email, "nobody@example.com"):
        for password in (VICTIM.password, THIRD.password, PASSWORD, "none of them"):
            await clients.post("/auth/login", {"email": address, "password": password})
    assert hashpw.call_count == 3 * 4


async def test_passwords_of_one_address_share_a_salt_and_of_others_not(instance: Instance):
    passwords, otps = instance.services.passwords, instance.services.otps
    mine = [await passwords.hash(text, otps.salt(EMAIL)) for text in ("one password", "another one")]
    other = await passwords.hash("one password", otps.salt("other@example.com"))
    assert mine[0][:29] == mine[1][:29] != other[:29]
    assert bcrypt.checkpw(b"another one", mine[1].encode())
    assert await passwords.find("another one", mine) == mine[1]
    assert await passwords.find("x" * 73, [await passwords.hash("x" * 72)]) is None


async def test_a_sign_up_from_before_a_change_of_the_cost_makes_room(clients, instance: Instance, monkeypatch):
    """One run of bcrypt cannot compare a password with hashes of both costs."""
    old = await clients.sign_up(VICTIM)
    monkeypatch.setattr(instance.services, "passwords", Passwords(5))
    await clients.sign_up(THIRD)
    assert (await clients.log_in(THIRD)).code == "EMAIL_NOT_VERIFIED"
    assert (await clients.enter(old.code)).code == "INVALID_OTP"


# -- races -----------------------------------------------------------------------------------------------------------


async def test_of_right_codes_at_once_one_wins(clients, other_api: Api, db: Database):
    people = (VICTIM, ATTACKER._replace(name="Attacker"), THIRD)
    waiting = [await clients.sign_up(who) for who in people]
    answers = await asyncio.gather(
        *(clients.enter(each.code, api=api) for each in waiting for api in (clients.api, other_api))
    )
    assert sorted(answer.status for answer in answers) == [200] + [400] * 5
    won = await db.fetch_one("select name, role from users")
    winner = next(who for who in people if who.name == won["name"])
    assert winner.role == won["role"]
    assert [(await clients.log_in(who)).status for who in people] == [200 if who is winner else 401 for who in people]
    profiles = "select (select count(*) from influencers), (select count(*) from salons)"
    assert tuple(await db.fetch_one(profiles)) == ((0, 1) if winner.role == "SALON" else (1, 0))


async def test_a_sign_up_while_a_code_is_entered_changes_nothing(clients, other_api: Api, db: Database):
    mine = await clients.sign_up(VICTIM)
    body = {"name": "X", "email": EMAIL, "password": ATTACKER.password, "termsAccepted": True}
    confirmed, *signed_up = await asyncio.gather(
        clients.enter(mine.code),
        *(other_api.post("/auth/signup/salon", body, headers={"X-Forwarded-For": f"198.51.100.{n}"}) for n in range(6)),
    )
    assert {answer.status for answer in signed_up} <= {201, 409}
    if confirmed.status == 200:
        assert (await clients.log_in(VICTIM)).status == 200
        assert await db.fetchval("select count(*) from sign_ups") == 0
    else:  # three later sign-ups have replaced it
        assert await db.fetchval("select count(*) from sign_ups") == 3
    assert (await clients.log_in(ATTACKER)).status != 200


async def test_sign_ups_at_once_all_wait(clients, other_api: Api, db: Database):
    bodies = [
        {"name": who.name, "email": EMAIL, "password": who.password, "termsAccepted": True}
        for who in (VICTIM, ATTACKER, THIRD)
    ]
    answers = await asyncio.gather(
        *(
            api.post("/auth/signup/salon", body, headers={"X-Forwarded-For": f"198.51.100.{n}"})
            for n, (api, body) in enumerate(zip((clients.api, other_api, clients.api), bodies, strict=True))
        )
    )
    assert {answer.status for answer in answers} == {201}
    assert len({answer.body["userId"] for answer in answers}) == 1
    for who in (VICTIM, ATTACKER, THIRD):
        assert (await clients.log_in(who)).code == "EMAIL_NOT_VERIFIED"


# -- admins, deletion, housekeeping, upgrades ------------------------------------------------------------------------


async def test_unsuspend_confirms_the_newest_sign_up(clients, people: People, db: Database):
    admin, first = await people.admin(), await clients.sign_up(VICTIM)
    await clients.sign_up(THIRD)
    answer = await clients.api.patch(f"/admin/users/{first.user_id}/unsuspend", None, admin)
    assert (answer.data["name"], answer.data["salon"]["emailVerified"]) == (THIRD.name, True)
    assert (await clients.enter(first.code, first.token)).code == "INVALID_OTP"
    assert (await clients.log_in(VICTIM)).code == "INVALID_CREDENTIALS"
    assert (await clients.log_in(THIRD)).body["user"]["role"] == "SALON"
    assert await db.fetchval("select count(*) from sign_ups") == 0


async def test_a_suspension_outlives_sign_ups_and_codes(clients, people: People, mailbox: Mailbox):
    admin, first = await people.admin(), await clients.sign_up(VICTIM)
    assert (await clients.api.patch(f"/admin/users/{first.user_id}/suspend", None, admin)).status == 200
    again = await clients.sign_up(THIRD)  # the address has no verified account
    assert again.user_id == first.user_id
    assert (await clients.log_in(THIRD)).code == "ACCOUNT_SUSPENDED"
    assert (await clients.enter(again.code)).status == 200
    assert (await clients.log_in(THIRD)).code == "ACCOUNT_SUSPENDED"
    assert (await clients.api.patch(f"/admin/users/{first.user_id}/unsuspend", None, admin)).status == 200
    assert (await clients.log_in(THIRD)).status == 200


async def test_with_an_unverified_account_its_sign_ups_are_deleted(clients, people: People, db: Database):
    admin, first = await people.admin(), await clients.sign_up(VICTIM)
    await clients.sign_up(THIRD)
    assert (await clients.api.delete(f"/admin/users/{first.user_id}", admin)).status == 200
    assert (await clients.enter(first.code)).code == "INVALID_OTP"
    assert (await clients.log_in(VICTIM)).code == "INVALID_CREDENTIALS"
    assert await db.fetchval("select count(*) from sign_ups") == 0
    assert (await clients.sign_up(VICTIM)).user_id != first.user_id
