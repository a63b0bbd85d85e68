"""Suspension takes effect within a second on every instance, is logged in its transaction, and can be undone."""

import asyncio
import time
from typing import Any

import pytest

from db.pool import Database
from db.queries.conversations import NewMessage, send_message
from tests.helpers.admins import FROM, logs, only_log
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

SUSPENDED = 4403
ACTS_WITHIN_SECONDS = 1.0

STANDING = "select status, email_verified_at, updated_at from users where id = $1"


async def test_a_suspended_user_is_signed_out_everywhere_within_a_second(
    api: Api, other_api: Api, people: People, db: Database
):
    admin, salon, friend = await people.admin(), await people.salon(), await people.influencer()
    conversation = await people.connect(salon, friend)
    elsewhere = await people.sign_in(salon)
    here, there = await api.socket(salon), await other_api.socket(elsewhere)
    await there.join(conversation)
    for client, user in ((api, salon), (other_api, elsewhere), (other_api, salon)):
        assert (await client.get("/notifications", user)).status == 200  # cached on both instances

    answer = await api.patch(f"/admin/users/{salon.id}/suspend", {"reason": "spam"}, admin, headers=FROM)
    began = time.monotonic()

    assert answer.data["status"] == "SUSPENDED" and answer.data["salon"]["emailVerified"] is False
    assert (await api.get("/notifications", salon)).status == 401
    assert await here.close_code() == SUSPENDED
    assert await there.close_code() == SUSPENDED
    assert (await other_api.get("/notifications", elsewhere)).status == 401
    assert time.monotonic() - began < ACTS_WITHIN_SECONDS
    assert (await other_api.get("/notifications", friend)).status == 200
    row = await only_log(db, admin, "USER_SUSPENDED", salon)
    assert row["metadata"] == '{"reason": "spam"}' and row["description"].endswith(": spam")


async def test_neither_login_nor_refresh_lets_a_suspended_user_in(api: Api, people: People):
    admin, salon = await people.admin(), await people.salon()
    credentials = {"email": salon.email, "password": PASSWORD}
    tokens = (await api.post("/auth/login", credentials)).data
    await api.patch(f"/admin/users/{salon.id}/suspend", None, admin)
    login = await api.post("/auth/login", credentials)
    assert (login.status, login.code) == (403, "ACCOUNT_SUSPENDED")
    assert (await api.post("/auth/refresh", {"refreshToken": tokens["refreshToken"]})).status == 401


async def test_data_of_a_suspended_user_stays(api: Api, people: People, db: Database):
    admin, salon, friend = await people.admin(), await people.salon(), await people.influencer()
    conversation = await people.connect(salon, friend)
    await send_message(db, conversation, salon.id, NewMessage.model_validate({"content": "see you"}))
    await api.patch(f"/admin/users/{salon.id}/suspend", None, admin)
    assert [m["content"] for m in (await api.get(f"/chat/conversations/{conversation}/messages", friend)).data] == [
        "see you"
    ]
    assert len((await api.get("/connections/accepted", friend)).data) == 1
    await api.patch(f"/admin/users/{salon.id}/unsuspend", None, admin)
    again = await people.sign_in(salon)
    assert len((await api.get("/chat/conversations", again)).data) == 1


async def test_unsuspend_allows_new_sessions_but_restores_no_old_one(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    await api.patch(f"/admin/users/{salon.id}/suspend", None, admin)
    overtook = await people.sign_in(salon)  # a login that was checked just before the suspension
    assert (await api.get("/notifications", overtook)).status == 401

    answer = await api.patch(f"/admin/users/{salon.id}/unsuspend", None, admin)

    assert answer.data["status"] == "ACTIVE" and answer.data["salon"]["emailVerified"] is True
    assert (await api.get("/notifications", salon)).status == 401
    assert (await api.get("/notifications", overtook)).status == 401
    assert (await api.get("/notifications", await people.sign_in(salon))).status == 200
    assert [row["action"] for row in await logs(db)] == ["USER_SUSPENDED", "USER_ACTIVATED"]


async def test_activate_verifies_an_unverified_account(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    await db.execute("update users set email_verified_at = null where id = $1", salon.id)
    answer = await api.patch(f"/admin/users/{salon.id}/activate", None, admin, headers=FROM)
    assert answer.data["salon"]["emailVerified"] is True
    assert (await api.post("/auth/login", {"email": salon.email, "password": PASSWORD})).status == 200
    await only_log(db, admin, "USER_ACTIVATED", salon)


async def test_a_suspended_and_unverified_account_becomes_both(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    await db.execute("update users set email_verified_at = null where id = $1", salon.id)
    await api.patch(f"/admin/users/{salon.id}/suspend", None, admin)
    await api.patch(f"/admin/users/{salon.id}/unsuspend", None, admin)
    assert (await api.post("/auth/login", {"email": salon.email, "password": PASSWORD})).status == 200


@pytest.mark.parametrize("path", ["suspend", "unsuspend"])
async def test_two_admins_at_once_act_and_log_once(api: Api, other_api: Api, people: People, db: Database, path: str):
    one, other, salon = await people.admin("One"), await people.admin("Other"), await people.salon()
    if path == "unsuspend":
        await db.execute("update users set status = 'SUSPENDED' where id = $1", salon.id)
    answers = await asyncio.gather(
        *(
            client.patch(f"/admin/users/{salon.id}/{path}", None, admin)
            for client, admin in ((api, one), (other_api, other)) * 3
        )
    )
    assert sorted(answer.status for answer in answers) == [200, 409, 409, 409, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"CONFLICT"}
    assert len(await logs(db)) == 1


@pytest.mark.parametrize("path", ["suspend", "unsuspend"])
async def test_an_act_whose_log_fails_is_not_done(api: Api, people: People, db: Database, path: str):
    admin, salon = await people.admin(), await people.salon()
    if path == "unsuspend":
        await db.execute("update users set status = 'SUSPENDED' where id = $1", salon.id)
    before = await db.fetchrow(STANDING, salon.id)
    socket = await api.socket(salon) if path == "suspend" else None
    await db.execute("alter table activity_logs add constraint activity_logs_broken_check check (false) not valid")
    try:
        assert (await api.patch(f"/admin/users/{salon.id}/{path}", None, admin)).status == 500
    finally:
        await db.execute("alter table activity_logs drop constraint activity_logs_broken_check")
    assert await db.fetchrow(STANDING, salon.id) == before
    assert await logs(db) == []
    if socket:
        assert await socket.received_names() == []
        assert (await api.get("/notifications", salon)).status == 200


@pytest.mark.parametrize("body", [{"reason": 5}, {"reason": "x" * 1001}, {"reason": "a\0"}, {"reason": ["x"]}])
async def test_bad_reasons(api: Api, people: People, db: Database, body: dict[str, Any]):
    admin, salon = await people.admin(), await people.salon()
    answer = await api.patch(f"/admin/users/{salon.id}/suspend", body, admin)
    assert (answer.status, answer.fields) == (400, {"reason"})
    assert await logs(db) == []
    assert (await api.get("/notifications", salon)).status == 200


@pytest.mark.parametrize("body", [None, {}, {"reason": ""}, {"reason": None}, {"other": 1}])
async def test_a_reason_is_optional(api: Api, people: People, db: Database, body: dict[str, Any] | None):
    admin, salon = await people.admin(), await people.salon()
    assert (await api.patch(f"/admin/users/{salon.id}/suspend", body, admin)).status == 200
    [row] = await logs(db)
    assert row["metadata"] is None
