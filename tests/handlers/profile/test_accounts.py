"""The caller's own account: settings, password, export and deletion."""

import asyncio
import json
from typing import Any

import pytest

from db.pool import Database
from db.queries.users import delete_user
from server import Instance
from settings import Limit
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People, Person
from tests.helpers.files.forms import PDF, File, kept_files, name_of, picture, send_form

NEW_PASSWORD = "an even longer one 7"
UPLOAD = "/profile/upload-picture"


async def test_settings(api: Api, people: People, db: Database):
    salon, admin = await people.salon(), await people.admin()
    await db.execute("update users set onboarded_at = null where id = $1", admin.id)
    found = (await api.get("/profile/settings/me", salon)).data
    assert (found["id"], found["name"], found["email"], found["role"]) == (salon.id, salon.name, salon.email, "SALON")
    assert found["emailVerified"] is found["termsAccepted"] is found["hasCompletedOnboarding"] is True
    assert (await api.get("/profile/settings/me", admin)).data["hasCompletedOnboarding"] is False
    assert (await api.get("/profile/settings/me")).status == 401


# --- the password ---


async def test_a_new_password_ends_all_other_sessions(api: Api, other_api: Api, people: People, db: Database):
    salon = await people.salon()
    elsewhere = await people.sign_in(salon)
    here_socket, other_socket = await api.socket(salon), await other_api.socket(elsewhere)
    body = {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD}
    assert (await api.post("/profile/change-password", body, salon)).status == 200
    assert await other_socket.close_code() == 4403
    assert (await other_api.get("/profile/me", elsewhere)).status == 401
    assert (await api.get("/profile/me", salon)).status == 200
    assert await here_socket.received_names() == []
    await here_socket.close()
    assert (await api.post("/auth/login", {"email": salon.email, "password": PASSWORD})).status == 401
    assert (await api.post("/auth/login", {"email": salon.email, "password": NEW_PASSWORD})).status == 200
    mail = await db.fetch_one("select recipient, template from email_outbox")
    assert tuple(mail) == (salon.email, "password_changed")


async def test_a_wrong_password_changes_nothing(api: Api, people: People, db: Database):
    salon = await people.salon()
    elsewhere = await people.sign_in(salon)
    answer = await api.post("/profile/change-password", {"currentPassword": "x", "newPassword": NEW_PASSWORD}, salon)
    assert (answer.status, answer.code) == (403, "WRONG_PASSWORD")
    assert (await api.get("/profile/me", elsewhere)).status == 200
    assert await db.fetchval("select count(*) from email_outbox") == 0


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"newPassword": "short"}, "newPassword"),
        ({"newPassword": "x" * 73}, "newPassword"),
        ({"newPassword": "password1"}, "newPassword"),
        ({"newPassword": ""}, "newPassword"),
        ({"newPassword": None}, "newPassword"),
        ({"newPassword": 12345678}, "newPassword"),
        ({"currentPassword": None}, "currentPassword"),
        ({"currentPassword": "x" * 201}, "currentPassword"),
    ],
)
async def test_passwords_that_are_not_accepted(api: Api, people: People, body: dict[str, Any], field: str):
    salon = await people.salon()
    answer = await api.post(
        "/profile/change-password", {"currentPassword": PASSWORD, "newPassword": NEW_PASSWORD, **body}, salon
    )
    assert (answer.status, answer.fields) == (400, {field})


async def test_the_address_is_refused_as_password(api: Api, people: People):
    salon = await people.salon()
    body = {"currentPassword": PASSWORD, "newPassword": salon.email}
    assert (await api.post("/profile/change-password", body, salon)).fields == {"newPassword"}


async def test_of_two_changes_at_once_one_counts(api: Api, other_api: Api, people: People):
    salon = await people.salon()
    bodies = [{"currentPassword": PASSWORD, "newPassword": f"{NEW_PASSWORD}{n}"} for n in range(2)]
    answers = await asyncio.gather(
        *(c.post("/profile/change-password", body, salon) for c, body in zip([api, other_api], bodies, strict=True))
    )
    assert sorted(answer.status for answer in answers) == [200, 403]


async def test_guesses_are_limited(api: Api, people: People, limit):
    limit("limit_auth", Limit(2, 900))
    salon = await people.salon()
    wrong = {"currentPassword": "wrong", "newPassword": NEW_PASSWORD}
    assert (await api.post("/profile/change-password", wrong, salon)).status == 403
    assert (await api.delete("/profile/delete-account", salon, {"password": "wrong"})).status == 403
    assert (await api.delete("/profile/delete-account", salon, {"password": PASSWORD})).status == 429
    assert (await api.get("/profile/me", salon)).status == 200


# --- deletion ---

ADD_REST = """
    with influencer as (
        select id from influencers where user_id = $1
    ), account as (
        insert into social_media_accounts (influencer_id, platform, username, access_token, verification_code)
        select id, 'TIKTOK', 'hanako.tt', '\\x00ff'::bytea, 'ENCER-SECRET' from influencer returning id
    ), post as (
        insert into social_media_posts (account_id, platform_post_id, media_type, caption)
        select id, '77', 'VIDEO', 'a caption' from account
    ), code as (
        insert into otps (user_id, purpose, code_hash, expires_at) values ($1, 'RESET', '\\x01', now() + interval '1 h')
    ), scrape as (
        insert into scrape_runs (platform, username, state, lease_until, requested_by, profile)
        values ('TIKTOK', 'hanako.tt', 'SUCCEEDED', now(), $1, '{"bio": "I show what I wear"}')
    )
    insert into email_outbox (recipient, template) select email, 'reset' from users where id = $1
"""


async def say(api: Api, person: Person, conversation_id: str, **message: str) -> dict[str, Any]:
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", message, person)
    return answer.data


async def send_file(api: Api, person: Person, conversation_id: str) -> str:
    path = f"/chat/conversations/{conversation_id}/attachments"
    return (await send_form(api, path, person, ("file", File(PDF, "a.pdf")))).data["fileUrl"]


async def search_everywhere(db: Database, *needles: str) -> list[str]:
    """Return `table: row` for every row that contains one of these texts."""
    tables = await db.fetch(
        "select table_name from information_schema.tables where table_schema = 'public'"
        " and table_type = 'BASE TABLE' and table_name not like '%yoyo%'"
    )
    found = []
    for (table,) in tables:
        for (row,) in await db.fetch(f"select t::text from {table} t"):
            found += [f"{table}: {row}" for needle in needles if needle in row]
    return found


async def test_personal_data_is_deleted_and_the_other_side_can_still_read(
    api: Api, other_api: Api, people: People, db: Database, instance: Instance
):
    before = kept_files(instance)
    hanako = await people.influencer("Hanako Yamada")
    salon, asked, asking = await people.salon(), await people.salon("Asked"), await people.salon("Asking")
    conversation_id = await people.connect(hanako, salon)
    await db.execute(ADD_REST, hanako.id)
    await db.execute("update sessions set ip_address = '203.0.113.9', user_agent = 'Netscape'")
    await send_form(api, UPLOAD, hanako, ("profilePic", File(picture())))
    sent_file = await send_file(api, hanako, conversation_id)
    await send_file(api, hanako, conversation_id)  # and never sent
    await say(api, hanako, conversation_id, content="My words", fileUrl=sent_file)
    await say(api, salon, conversation_id, content="Their words")
    await api.get(f"/profile/{salon.id}", hanako)
    await api.post("/connections/request", {"receiverId": asked.id, "message": "Please"}, hanako)
    await api.post("/connections/request", {"receiverId": hanako.id}, asking)

    own_socket, socket = await other_api.socket(hanako), await other_api.socket(salon)
    asked_socket = await other_api.socket(asked)
    assert asked_socket.ready["unreadNotifications"] == 1
    await socket.join(conversation_id)
    answer = await api.delete("/profile/delete-account", hanako, {"password": PASSWORD})
    assert answer.status == 200, answer

    assert await own_socket.close_code() == 4403
    assert (await socket.expect("conversation_closed"))["conversationId"] == conversation_id
    assert (await asked_socket.expect("notification_deleted"))["unreadCount"] == 0
    for client in (api, other_api):
        assert (await client.get("/profile/me", hanako)).status == 401
    assert (await api.post("/auth/login", {"email": hanako.email, "password": PASSWORD})).status == 401
    assert (await api.get(f"/profile/{hanako.id}", salon)).status == 404

    assert await search_everywhere(
        db, "Hanako", hanako.email, "hanako", "I show what I wear", "a caption", "ENCER-SECRET", "Please",
    ) == []  # fmt: skip
    assert (
        await db.fetchval("select count(*) from sessions where user_id = $1 and user_agent is not null", hanako.id) == 0
    )
    assert await db.fetchval("select count(*) from connection_requests") == 0
    assert await db.fetchval("select count(*) from notifications where user_id = $1", hanako.id) == 0
    assert kept_files(instance) - before == {name_of(sent_file)}

    messages = (await api.get(f"/chat/conversations/{conversation_id}/messages", salon)).data
    assert [(m["content"], m["sender"]["name"]) for m in messages] == [
        ("My words", "Deleted user"),
        ("Their words", "Salon Sakura"),
    ]
    assert (await api.get("/media/" + name_of(sent_file))).raw == PDF
    listed = (await api.get("/chat/conversations", salon)).data[0]
    assert (listed["otherUser"]["name"], listed["otherUser"]["email"]) == ("Deleted user", "")
    assert listed["isConnected"] is False
    for notification in (await api.get("/notifications", salon)).data:
        assert "Hanako" not in json.dumps(notification)
    assert (await api.post(f"/chat/conversations/{conversation_id}/messages", {"content": "?"}, salon)).status == 403
    assert (await api.get("/chat/contacts", salon)).data == []
    await socket.close()
    await asked_socket.close()


async def test_tokens_are_revoked(api: Api, people: People, db: Database, instance: Instance, monkeypatch):
    hanako = await people.influencer()
    await db.execute(ADD_REST, hanako.id)
    account_id = await db.fetchval("select id from social_media_accounts")
    revoked = []

    async def revoke(account_id: str, access_token: bytes, refresh_token: bytes | None) -> None:
        revoked.append((account_id, access_token))

    monkeypatch.setattr(instance.services.tiktok, "revoke", revoke)
    assert (await api.delete("/profile/delete-account", hanako, {"password": PASSWORD})).status == 200
    assert revoked == [(account_id, b"\x00\xff")]
    assert await db.fetchval("select count(*) from token_revocations") == 0


WAITS = (
    "select exists (select from pg_stat_activity where wait_event_type = 'Lock' and query like '%connection_requests%')"
)


@pytest.mark.parametrize("gone", ["sender", "receiver"])
async def test_no_request_is_sent_or_received_while_the_account_is_deleted(
    api: Api, people: People, db: Database, other_instance: Instance, gone: str
):
    hanako, salon = await people.influencer(), await people.salon()
    async with db.transaction() as tx:
        await delete_user(tx, hanako.id if gone == "sender" else salon.id)
        asking = asyncio.create_task(api.post("/connections/request", {"receiverId": salon.id}, hanako))
        async with asyncio.timeout(5):
            while not await other_instance.db.fetchval(WAITS):
                await asyncio.sleep(0)
    assert (await asking).status == 404
    assert await db.fetchval("select count(*) from connection_requests") == 0


async def test_the_address_is_free_again(api: Api, people: People):
    salon = await people.salon()
    assert (await api.delete("/profile/delete-account", salon, {"password": PASSWORD})).status == 200
    newcomer = {"name": "New", "email": salon.email, "password": NEW_PASSWORD, "termsAccepted": True}
    assert (await api.post("/auth/signup/salon", newcomer)).status == 201


async def test_when_both_are_deleted_nothing_is_left(api: Api, other_api: Api, people: People, db: Database, instance):
    before = kept_files(instance)
    hanako, salon = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, salon)
    await say(api, hanako, conversation_id, content="secret", fileUrl=await send_file(api, hanako, conversation_id))
    answers = await asyncio.gather(
        api.delete("/profile/delete-account", hanako, {"password": PASSWORD}),
        other_api.delete("/profile/delete-account", salon, {"password": PASSWORD}),
    )
    assert [answer.status for answer in answers] == [200, 200]
    for table in ("conversations", "messages", "attachments", "conversation_participants", "notifications"):
        assert await db.fetchval(f"select count(*) from {table}") == 0, table
    assert kept_files(instance) == before


async def test_only_with_the_password_and_only_once(api: Api, other_api: Api, people: People, db: Database):
    salon, admin = await people.salon(), await people.admin()
    for body, status in [({"password": "x"}, 403), ({}, 400), (None, 400), ({"password": 1}, 400)]:
        assert (await api.delete("/profile/delete-account", salon, body)).status == status
    assert (await api.delete("/profile/delete-account", admin, {"password": PASSWORD})).status == 403
    assert (await api.delete("/profile/delete-account", None, {"password": PASSWORD})).status == 401
    answers = await asyncio.gather(
        *(client.delete("/profile/delete-account", salon, {"password": PASSWORD}) for client in (api, other_api))
    )
    assert {answer.status for answer in answers} <= {200, 401}
    assert sum(answer.status == 200 for answer in answers) == 1
    assert await db.fetchval("select count(*) from users where status = 'DELETED'") == 1


async def test_a_file_that_cannot_be_deleted_does_not_fail_the_request(
    api: Api, people: People, instance: Instance, monkeypatch
):
    salon = await people.salon()
    await send_form(api, UPLOAD, salon, ("profilePic", File(picture())))

    async def delete(*_):
        raise OSError("read-only file system")

    monkeypatch.setattr(type(instance.services.media), "delete", delete)
    assert (await api.delete("/profile/delete-account", salon, {"password": PASSWORD})).status == 200


# --- export ---


async def test_the_export_has_all_own_data_and_no_secret(api: Api, people: People, db: Database):
    hanako, salon = await people.influencer("花子"), await people.salon()
    conversation_id = await people.connect(hanako, salon)
    await db.execute(ADD_REST, hanako.id)
    await say(api, hanako, conversation_id, content="私の言葉 🌸")
    await say(api, salon, conversation_id, content="Not yours to take")
    answer = await api.get("/profile/export", hanako)
    assert "attachment" in answer.headers["Content-Disposition"]
    mine = answer.data
    assert (mine["account"]["name"], mine["account"]["email"]) == ("花子", hanako.email)
    assert mine["account"]["influencer"]["bio"] == "I show what I wear"
    assert [account["username"] for account in mine["socialMediaAccounts"]] == ["hanako.tt"]
    assert [post["caption"] for post in mine["socialMediaPosts"]] == ["a caption"]
    assert [(c["withName"], c["status"], c["sentByMe"]) for c in mine["connections"]] == [
        (salon.name, "ACCEPTED", True)
    ]
    assert [c["withName"] for c in mine["conversations"]] == [salon.name]
    assert [m["content"] for m in mine["messages"]] == ["私の言葉 🌸"]
    assert [n["type"] for n in mine["notifications"]] == ["NEW_MESSAGE"]
    assert len(mine["sessions"]) == 1
    text = answer.raw.decode()
    hashes = await db.fetchval("select password_hash from users where id = $1", hanako.id)
    for secret in (hashes, "password", "ENCER-SECRET", "\\x00ff", salon.email, "accessToken", "codeHash", hanako.token):
        assert secret not in text


async def test_an_export_of_nothing(api: Api, people: People):
    admin = await people.admin()
    found = (await api.get("/profile/export", admin)).data
    assert found["account"]["salon"] is None
    assert found["messages"] == found["connections"] == []
    assert (await api.get("/profile/export")).status == 401


async def test_an_export_of_many_pages_has_each_row_once_and_in_order(
    api: Api, people: People, db: Database, monkeypatch
):
    hanako = await people.influencer()
    add = """
        insert into messages (conversation_id, sender_id, seq, rev, content)
        select $1, case when n % 3 = 0 then $3::uuid else $2::uuid end, n, n, n::text from generate_series(1, 1300) n
    """
    for _ in range(3):
        salon = await people.salon()
        await db.execute(add, await people.connect(salon, hanako), hanako.id, salon.id)
    await db.execute(
        "insert into notifications (user_id, type, title, message, updated_at)"
        " select $1, 'SYSTEM', 't', n::text, now() - n * interval '1 s' from generate_series(1, 1200) n",
        hanako.id,
    )
    found = (await api.get("/profile/export", hanako)).data
    keys = [(message["conversationId"], message["seq"]) for message in found["messages"]]
    assert keys == sorted(set(keys))
    assert len(keys) == 3 * 867
    assert [n["message"] for n in found["notifications"]] == [str(n) for n in range(1, 1201)]
