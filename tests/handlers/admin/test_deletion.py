"""An admin deletes an account: personal data is deleted, the other side and the log keep their data."""

import asyncio
import time
from urllib.parse import quote

import pytest

from db.pool import Database
from db.queries.conversations import NewMessage, send_message
from tests.helpers.admins import FROM, NOBODY, logs, only_log
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People
from tests.helpers.files.forms import File, kept_files, picture, send_form

DELETED = 4403
ACTS_WITHIN_SECONDS = 1.0


async def test_a_deleted_user_is_signed_out_and_the_other_side_keeps_the_conversation(
    api: Api, other_api: Api, people: People, db: Database
):
    admin, salon, friend = await people.admin(), await people.salon(), await people.influencer()
    conversation = await people.connect(salon, friend)
    await send_message(db, conversation, salon.id, NewMessage.model_validate({"content": "see you"}))
    elsewhere = await people.sign_in(salon)
    there, listening = await other_api.socket(elsewhere), await other_api.socket(friend)
    await listening.join(conversation)
    assert (await other_api.get("/notifications", elsewhere)).status == 200

    answer = await api.delete(f"/admin/users/{salon.id}", admin, headers=FROM)
    began = time.monotonic()

    assert answer.status == 200
    assert (await listening.expect("conversation_closed"))["conversationId"] == conversation
    assert await there.close_code() == DELETED
    assert (await other_api.get("/notifications", elsewhere)).status == 401
    assert time.monotonic() - began < ACTS_WITHIN_SECONDS
    assert (await api.post("/auth/login", {"email": salon.email, "password": PASSWORD})).status == 401
    [message] = (await api.get(f"/chat/conversations/{conversation}/messages", friend)).data
    assert (message["content"], message["sender"]["name"]) == ("see you", "Deleted user")
    assert (await api.get(f"/admin/users/{salon.id}", admin)).status == 404
    listed = [user["id"] for user in (await api.get("/admin/users", admin)).data]
    assert listed == [friend.id]


async def test_the_log_still_names_the_deleted_user(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon("花子")
    await api.delete(f"/admin/users/{salon.id}", admin, headers=FROM)
    row = await only_log(db, admin, "USER_DELETED", salon)
    assert row["target_user_email"] == salon.email
    assert row["description"] == f"Deleted 花子 ({salon.email})"
    [shown] = (await api.get(f"/admin/activity-logs?search={quote('花子')}", admin)).data
    assert shown["targetUserName"] == "花子"


async def test_the_address_is_free_again(api: Api, people: People):
    admin, salon = await people.admin(), await people.salon()
    await api.delete(f"/admin/users/{salon.id}", admin)
    new = {"name": "New", "email": salon.email, "password": "a long enough one", "role": "SALON"}
    assert (await api.post("/admin/users", new, admin)).status == 201


async def test_files_go_too(api: Api, people: People):
    admin, salon = await people.admin(), await people.salon()
    before = kept_files(api.instance)
    await send_form(api, "/profile/upload-picture", salon, ("profilePic", File(picture())))
    assert len(kept_files(api.instance)) == len(before) + 1
    await api.delete(f"/admin/users/{salon.id}", admin)
    assert kept_files(api.instance) == before


@pytest.mark.parametrize("state", ["SUSPENDED", "unverified"])
async def test_suspended_and_unverified_accounts_can_be_deleted(api: Api, people: People, db: Database, state: str):
    admin, salon = await people.admin(), await people.salon()
    change = "status = 'SUSPENDED'" if state == "SUSPENDED" else "email_verified_at = null"
    await db.execute(f"update users set {change} where id = $1", salon.id)
    assert (await api.delete(f"/admin/users/{salon.id}", admin)).status == 200
    assert await db.fetchval("select status from users where id = $1", salon.id) == "DELETED"


async def test_many_admins_at_once_delete_and_log_once(api: Api, other_api: Api, people: People, db: Database):
    one, other, salon = await people.admin("One"), await people.admin("Other"), await people.salon()
    await people.connect(salon, await people.influencer())
    answers = await asyncio.gather(
        *(client.delete(f"/admin/users/{salon.id}", admin) for client, admin in ((api, one), (other_api, other)) * 3)
    )
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404, 404, 404]
    assert len(await logs(db)) == 1


async def test_concurrent_actions_on_one_account_are_consistent(api: Api, other_api: Api, people: People, db: Database):
    """In any order, every request is answered, each action with a 200 has its row, and the account is deleted."""
    admin, salon = await people.admin(), await people.salon()
    path = f"/admin/users/{salon.id}"
    answers = await asyncio.gather(
        api.patch(f"{path}/suspend", None, admin),
        other_api.put(path, {"name": "Changed"}, admin),
        other_api.delete(path, admin),
        api.patch(f"{path}/unsuspend", None, admin),
        api.delete("/profile/delete-account", salon, {"password": PASSWORD}),
    )
    assert {answer.status for answer in answers} <= {200, 401, 403, 404, 409}
    assert await db.fetchval("select name from users where id = $1", salon.id) == "Deleted user"
    assert len(await logs(db)) == sum(answer.status == 200 for answer in answers[:4])


async def test_a_deletion_whose_log_fails_is_not_done(api: Api, people: People, db: Database):
    admin, salon, friend = await people.admin(), await people.salon(), await people.influencer()
    conversation = await people.connect(salon, friend)
    await send_form(api, "/profile/upload-picture", salon, ("profilePic", File(picture())))
    files = kept_files(api.instance)
    socket = await api.socket(salon)
    await socket.join(conversation)
    await db.execute("alter table activity_logs add constraint activity_logs_broken_check check (false) not valid")
    try:
        assert (await api.delete(f"/admin/users/{salon.id}", admin)).status == 500
    finally:
        await db.execute("alter table activity_logs drop constraint activity_logs_broken_check")
    assert await socket.received_names() == []
    assert kept_files(api.instance) == files
    assert (await api.get("/profile/me", salon)).data["name"] == salon.name
    assert (await api.post(f"/chat/conversations/{conversation}/messages", {"content": "here"}, salon)).status == 201


@pytest.mark.parametrize("target", ["admin", "oneself", "nobody"])
async def test_admins_cannot_be_deleted(api: Api, people: People, db: Database, target: str):
    admin, other = await people.admin(), await people.admin("Other")
    user_id = {"admin": other.id, "oneself": admin.id, "nobody": NOBODY}[target]
    assert (await api.delete(f"/admin/users/{user_id}", admin)).status == 404
    assert await db.fetchval("select count(*) from users where status = 'ACTIVE' and role = 'ADMIN'") == 2
    assert await logs(db) == []
