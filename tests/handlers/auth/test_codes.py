"""One-time codes: wrong ones are counted alike for every address, in every route that takes a code."""

import asyncio

import pytest

from db.pool import Database
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import People
from tests.helpers.mail.mailbox import Mailbox

UNKNOWN = "nobody@example.com"
WRONG = "wrong"
COUNTDOWN = [4, 3, 2, 1, 0, 0]

# Each route that takes a code: its purpose, and its fields besides e-mail and code.
ROUTES = {
    "/auth/verify-otp": ("VERIFY", {}),
    "/auth/verify-forgot-otp": ("RESET", {}),
    "/auth/reset-password": ("RESET", {"newPassword": "an entirely new one"}),
}
MAILERS = {"VERIFY": "/auth/resend-otp", "RESET": "/auth/forgot-password"}

EXPIRE = """
    with sign_up as (update sign_ups set code_expires_at = now()), code as (update otps set expires_at = now())
    update otp_attempts set expires_at = now()
"""


async def addresses(api: Api, people: People, db: Database) -> list[str]:
    """Return the addresses of a verified, a suspended and an unverified account, and one without an account."""
    verified, suspended = await people.influencer(), await people.salon()
    await db.execute("update users set status = 'SUSPENDED' where id = $1", suspended.id)
    waiting = "waiting@example.com"
    new = {"name": "Hanako", "email": waiting, "password": "a long enough one", "termsAccepted": True}
    assert (await api.post("/auth/signup/salon", new)).status == 201
    return [verified.email, suspended.email, waiting, UNKNOWN]


async def try_code(api: Api, route: str, address: str, code: str = WRONG) -> Answer:
    return await api.post(route, {"email": address, "otp": code, **ROUTES[route][1]})


async def try_wrong_codes(api: Api, route: str, address: str) -> list[int]:
    answers = [await try_code(api, route, address) for _ in COUNTDOWN]
    assert {(answer.status, answer.code) for answer in answers} == {(400, "INVALID_OTP")}
    return [answer.body["attemptsLeft"] for answer in answers]


@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("before", ["a code was requested", "nothing was requested", "a code has expired"])
async def test_attempts_left_do_not_reveal_accounts(api: Api, people: People, db: Database, route: str, before: str):
    known = await addresses(api, people, db)
    for address in known:
        if before != "nothing was requested":
            assert (await api.post(MAILERS[ROUTES[route][0]], {"email": address})).status == 200
    if before == "a code has expired":
        await db.execute(EXPIRE)
    assert {address: await try_wrong_codes(api, route, address) for address in known} == dict.fromkeys(known, COUNTDOWN)


@pytest.mark.parametrize("purpose", MAILERS)
async def test_attempts_start_again_with_a_code_and_end_with_its_life(api, people: People, db: Database, purpose: str):
    route = next(route for route, (needed, _) in ROUTES.items() if needed == purpose)
    for address in await addresses(api, people, db):
        for _ in range(2):
            assert (await try_code(api, route, address)).body["attemptsLeft"] == 4, address
            assert (await try_code(api, route, address)).body["attemptsLeft"] == 3, address
            await api.post(MAILERS[purpose], {"email": address})
        assert (await try_code(api, route, address)).body["attemptsLeft"] == 4, address
        await db.execute(EXPIRE)
        assert (await try_code(api, route, address)).body["attemptsLeft"] == 4, address


@pytest.mark.parametrize("route", ROUTES)
async def test_wrong_codes_at_once_are_all_counted(api, other_api, people: People, db: Database, route: str):
    for address in await addresses(api, people, db):
        await api.post(MAILERS[ROUTES[route][0]], {"email": address})
        answers = await asyncio.gather(*(try_code(client, route, address) for client in [api, other_api] * 4))
        assert sorted(answer.body["attemptsLeft"] for answer in answers) == [0, 0, 0, 0, 1, 2, 3, 4], address


async def test_of_simultaneous_guesses_five_are_compared(
    api, other_api, people: People, db: Database, mailbox: Mailbox
):
    """The right code among the later guesses is refused like a wrong one."""
    person = await people.influencer()
    await api.post("/auth/forgot-password", {"email": person.email})
    code = await mailbox.code()
    guesses = asyncio.gather(*(try_code(api, "/auth/verify-forgot-otp", person.email) for _ in range(5)))
    assert {answer.status for answer in await guesses} == {400}
    assert (await try_code(other_api, "/auth/verify-forgot-otp", person.email, code)).code == "INVALID_OTP"


async def test_attempts_of_one_purpose_are_not_those_of_the_other(api, people: People, mailbox: Mailbox):
    person = await people.influencer()
    await api.post("/auth/forgot-password", {"email": person.email})
    code = await mailbox.code()
    await try_wrong_codes(api, "/auth/verify-otp", person.email)
    assert (await try_code(api, "/auth/reset-password", person.email, code)).status == 200


async def test_a_deleted_account_leaves_no_counter(api, people: People, db: Database):
    admin, person = await people.admin(), await people.influencer()
    for route in ROUTES:
        await try_code(api, route, person.email)
    await try_code(api, "/auth/verify-otp", UNKNOWN)
    assert (await api.delete(f"/admin/users/{person.id}", admin)).status == 200
    assert [row["email"] for row in await db.fetch("select email from otp_attempts")] == [UNKNOWN]


# -- spellings of codes ----------------------------------------------------------------------------------------------

SPELLINGS = {
    "full-width": lambda code: code.translate({ord(str(n)): chr(0xFF10 + n) for n in range(10)}),
    "Arabic": lambda code: code.translate({ord(str(n)): chr(0x660 + n) for n in range(10)}),
    "a space": lambda code: f"{code[:3]} {code[3:]}",
    "a hyphen": lambda code: f"{code[:3]}-{code[3:]}",
    "a full-width hyphen": lambda code: f"{code[:3]}－{code[3:]}",
    "a Japanese keyboard's hyphen": lambda code: f"{code[:3]}ー{code[3:]}",
    "an ideographic space": lambda code: f"　{code[:3]}　{code[3:]}　",
    "single digits": lambda code: " ".join(code),
    "dashes": lambda code: "–".join(code),
    "an invisible mark": lambda code: f"\u200b{code}\u200e",
}


@pytest.mark.parametrize("spelling", SPELLINGS)
async def test_codes_are_read_as_people_type_them(api, people: People, db: Database, mailbox: Mailbox, spelling: str):
    email = "hanako@example.com"
    new = {"name": "Hanako", "email": email, "password": "a long enough one", "termsAccepted": True}
    assert (await api.post("/auth/signup/salon", new)).status == 201
    typed = SPELLINGS[spelling](await mailbox.code())
    assert (await try_code(api, "/auth/verify-otp", email, typed)).status == 200
    assert (await api.post("/auth/forgot-password", {"email": email})).status == 200
    typed = SPELLINGS[spelling](await mailbox.code())
    for route in ("/auth/verify-forgot-otp", "/auth/reset-password"):
        assert (await try_code(api, route, email, typed)).status == 200, route
    assert await db.fetchval("select max(attempts) from otp_attempts") == 0  # no attempt was counted
