"""An admin's own profile and password."""

import asyncio
from typing import Any

import pytest

from db.pool import Database
from settings import Limit
from tests.helpers.admins import FROM, logs, only_log
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

NEW_PASSWORD = "an entirely new one"
CHANGE = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}


async def test_an_admin_reads_the_own_profile(api: Api, people: People):
    admin, _ = await people.admin("花"), await people.admin("Other")
    data = (await api.get("/admin/profile", admin)).data
    assert (data["id"], data["name"], data["email"], data["role"]) == (admin.id, "花", admin.email, "ADMIN")


async def test_name_and_email_can_be_changed(api: Api, people: People, db: Database):
    admin = await people.admin()
    body = {"name": " 新しい ", "email": "BOSS@example.com", "role": "SALON", "status": "SUSPENDED", "id": "x"}
    data = (await api.put("/admin/profile", body, admin, headers=FROM)).data
    assert (data["name"], data["email"], data["role"], data["status"]) == (
        "新しい",
        "boss@example.com",
        "ADMIN",
        "ACTIVE",
    )
    [row] = await logs(db)
    assert (row["action"], row["admin_id"], row["target_user_id"]) == ("PROFILE_UPDATED", admin.id, admin.id)
    assert (await api.post("/auth/login", {"email": "boss@example.com", "password": PASSWORD})).status == 200


@pytest.mark.parametrize("body", [None, {}, {"name": ""}, {"email": "", "name": ""}])
async def test_blanks_change_nothing(api: Api, people: People, db: Database, body: dict[str, Any] | None):
    admin = await people.admin()
    data = (await api.put("/admin/profile", body, admin)).data
    assert (data["name"], data["email"]) == (admin.name, admin.email)
    assert await logs(db) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": None}, "name"),
        ({"name": "  "}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"name": 5}, "name"),
        ({"email": "x"}, "email"),
        ({"email": None}, "email"),
        ({"email": "a\0@example.com"}, "email"),
    ],
)
async def test_bad_profiles(api: Api, people: People, db: Database, body: dict[str, Any], field: str):
    answer = await api.put("/admin/profile", {"name": "New", **body}, await people.admin())
    assert (answer.status, answer.fields) == (400, {field})
    assert await logs(db) == []


async def test_the_address_of_another_user_is_refused(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    assert (await api.put("/admin/profile", {"name": "x", "email": salon.email}, admin)).code == "EMAIL_TAKEN"
    assert (await api.get("/admin/profile", admin)).data["name"] == admin.name
    assert await logs(db) == []


async def test_a_new_password_ends_all_other_sessions(api: Api, other_api: Api, people: People, db: Database):
    admin, other = await people.admin(), await people.admin("Other")
    elsewhere = await people.sign_in(admin)
    here, there, strange = await api.socket(admin), await other_api.socket(elsewhere), await api.socket(other)

    answer = await api.put("/admin/password", CHANGE, admin, headers=FROM)

    assert answer.status == 200
    assert await there.close_code() == 4403
    assert (await api.get("/admin/profile", elsewhere)).status == 401
    assert (await other_api.get("/admin/profile", elsewhere)).status == 401
    assert (await api.get("/admin/profile", admin)).status == 200
    assert await here.received_names() == await strange.received_names() == []
    assert (await api.post("/auth/login", {"email": admin.email, "password": PASSWORD})).status == 401
    assert (await api.post("/auth/login", {"email": admin.email, "password": NEW_PASSWORD})).status == 200
    row = await only_log(db, admin, "PASSWORD_RESET", admin)
    assert NEW_PASSWORD not in str(dict(row)) and PASSWORD not in str(dict(row))
    mail = await db.fetch_one("select recipient, template from email_outbox")
    assert tuple(mail) == (admin.email, "password_changed")


async def test_a_wrong_password_ends_no_session(api: Api, people: People, db: Database):
    admin = await people.admin()
    answer = await api.put("/admin/password", {**CHANGE, "currentPassword": "not this one"}, admin)
    assert (answer.status, answer.code) == (403, "WRONG_PASSWORD")
    assert await logs(db) == []
    assert (await api.get("/admin/profile", admin)).status == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"newPassword": "short"}, "newPassword"),
        ({"newPassword": "x" * 73}, "newPassword"),
        ({"newPassword": "あ" * 25}, "newPassword"),
        ({"newPassword": "password123"}, "newPassword"),
        ({"newPassword": None}, "newPassword"),
        ({"newPassword": 12345678}, "newPassword"),
        ({"currentPassword": None}, "currentPassword"),
        ({"currentPassword": ""}, "currentPassword"),
        ({"currentPassword": "x" * 201}, "currentPassword"),
    ],
)
async def test_bad_passwords(api: Api, people: People, db: Database, body: dict[str, Any], field: str):
    admin = await people.admin()
    answer = await api.put("/admin/password", {**CHANGE, **body}, admin)
    assert (answer.status, answer.fields) == (400, {field})
    assert (await api.post("/auth/login", {"email": admin.email, "password": PASSWORD})).status == 200
    assert await logs(db) == []


async def test_the_own_address_is_refused_as_password(api: Api, people: People):
    admin = await people.admin()
    answer = await api.put("/admin/password", {**CHANGE, "newPassword": admin.email.upper()}, admin)
    assert answer.fields == {"newPassword"}


async def test_of_two_changes_at_once_one_wins(api: Api, people: People, db: Database):
    admin = await people.admin()
    passwords = [f"{NEW_PASSWORD} {number}" for number in range(4)]
    answers = await asyncio.gather(
        *(api.put("/admin/password", {**CHANGE, "newPassword": password}, admin) for password in passwords)
    )
    assert sorted(answer.status for answer in answers) == [200, 403, 403, 403]
    assert len(await logs(db)) == 1
    winner = passwords[[answer.status for answer in answers].index(200)]
    assert (await api.post("/auth/login", {"email": admin.email, "password": winner})).status == 200


async def test_guesses_are_counted_even_when_made_at_once(api: Api, people: People, limit):
    admin, other = await people.admin(), await people.admin("Other")
    limit("limit_auth", Limit(5, 900))
    wrong = {**CHANGE, "currentPassword": "a guess"}
    answers = await asyncio.gather(*(api.put("/admin/password", wrong, admin) for _ in range(12)))
    assert sorted(answer.status for answer in answers) == [403] * 5 + [429] * 7
    assert (await api.put("/admin/password", CHANGE, admin)).status == 429
    assert (await api.put("/admin/password", CHANGE, other)).status == 200


async def test_right_passwords_are_not_counted(api: Api, people: People, limit):
    admin = await people.admin()
    limit("limit_auth", Limit(1, 900))
    for current, new in ((PASSWORD, NEW_PASSWORD), (NEW_PASSWORD, PASSWORD), (PASSWORD, NEW_PASSWORD)):
        answer = await api.put("/admin/password", {"currentPassword": current, "newPassword": new}, admin)
        assert answer.status == 200, answer
