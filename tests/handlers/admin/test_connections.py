"""Admins and the connections of others."""

import asyncio
from urllib.parse import quote

import pytest

from db.pool import Database
from db.queries.conversations import NewMessage, send_message
from tests.helpers.admins import FROM, NOBODY, logs, only_log
from tests.helpers.clients import Api
from tests.helpers.factories import People


async def ask(api: Api, sender, receiver) -> str:
    return (await api.post("/connections/request", {"receiverId": receiver.id}, sender)).data["id"]


async def request_id(db: Database, one, other) -> str:
    return await db.fetchval(
        "select id from connection_requests where sender_id = $1 and receiver_id = $2", one.id, other.id
    )


async def test_list_shows_both_sides_with_their_addresses(api: Api, people: People):
    admin, salon, influencer = await people.admin(), await people.salon("Sakura"), await people.influencer("Hanako")
    asked = await ask(api, influencer, salon)
    [row] = (await api.get("/admin/connections", admin)).data
    assert (row["id"], row["status"], row["message"]) == (asked, "PENDING", None)
    assert (row["sender"]["name"], row["sender"]["email"]) == ("Hanako", influencer.email)
    assert row["sender"]["influencer"] == {"profilePic": None} and row["sender"]["salon"] is None
    assert row["receiver"]["email"] == salon.email
    assert row["receiver"]["salon"] == {"profilePic": None, "businessName": "Sakura K.K."}


async def test_filters_and_pages(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon("Sakura")
    influencers = [await people.influencer(name) for name in ("花子", "Taro", "Jiro")]
    await people.connect(influencers[0], salon)
    for influencer in influencers[1:]:
        await ask(api, influencer, salon)
    await db.execute("update connection_requests set status = 'REJECTED' where sender_id = $1", influencers[2].id)

    async def senders(query: str) -> list[str]:
        return [row["sender"]["name"] for row in (await api.get(f"/admin/connections?{query}", admin)).data]

    assert await senders("") == ["Jiro", "Taro", "花子"]
    for status, name in (("ACCEPTED", "花子"), ("PENDING", "Taro"), ("REJECTED", "Jiro")):
        assert await senders(f"status={status}") == [name]
    assert await senders(f"search={quote('花')}") == ["花子"]
    assert await senders("search=sakura&status=PENDING") == ["Taro"]
    assert await senders("search=K.K.") == ["Jiro", "Taro", "花子"]
    assert await senders("search=" + influencers[1].email) == ["Taro"]
    assert await senders("search=%25") == []
    answer = await api.get("/admin/connections?page=2&limit=2&search=sakura", admin)
    assert answer.body["pagination"] == {"page": 2, "limit": 2, "total": 3, "totalPages": 2, "hasMore": False}
    first = await api.get("/admin/connections?limit=2", admin)
    await ask(api, await people.influencer("Late"), salon)
    rest = await api.get(f"/admin/connections?limit=2&cursor={first.body['pageInfo']['nextCursor']}", admin)
    assert [row["sender"]["name"] for row in first.data + rest.data] == ["Jiro", "Taro", "花子"]


async def test_deleting_a_connection_closes_the_conversation_for_both(
    api: Api, other_api: Api, people: People, db: Database
):
    admin, salon, influencer = await people.admin(), await people.salon("Sakura"), await people.influencer("Hanako")
    conversation = await people.connect(influencer, salon)
    await send_message(db, conversation, salon.id, NewMessage.model_validate({"content": "hello"}))
    connection = await request_id(db, influencer, salon)
    here, there = await api.socket(salon), await other_api.socket(influencer)
    for socket in (here, there):
        await socket.join(conversation)

    answer = await api.delete(f"/admin/connections/{connection}", admin, headers=FROM)

    assert answer.status == 200
    for socket in (here, there):
        assert (await socket.expect("conversation_closed"))["conversationId"] == conversation
    sent = await api.post(f"/chat/conversations/{conversation}/messages", {"content": "still there?"}, influencer)
    assert sent.status == 403
    assert len((await api.get(f"/chat/conversations/{conversation}/messages", influencer)).data) == 1
    assert (await api.get(f"/connections/status/{salon.id}", influencer)).data["status"] == "none"
    row = await only_log(db, admin, "CONNECTION_DELETED")
    assert row["description"] == "Deleted the connection of Hanako and Sakura"
    assert connection in row["metadata"] and '"ACCEPTED"' in row["metadata"]
    assert (await api.delete(f"/admin/connections/{connection}", admin)).status == 404


async def test_deleting_an_open_request_deletes_its_notification(api: Api, people: People, db: Database):
    admin, salon, influencer = await people.admin(), await people.salon(), await people.influencer()
    asked = await ask(api, influencer, salon)
    [notice] = (await api.get("/notifications", salon)).data
    socket = await api.socket(salon)

    assert (await api.delete(f"/admin/connections/{asked}", admin)).status == 200

    assert await socket.expect("notification_deleted") == {"notificationId": notice["id"], "unreadCount": 0}
    assert (await api.get("/notifications", salon)).data == []
    [row] = await logs(db)
    assert row["description"].startswith("Deleted the connection request of ")
    assert (await api.post("/connections/request", {"receiverId": salon.id}, influencer)).status == 201


async def test_deleted_twice_at_once_it_is_logged_once(api: Api, other_api: Api, people: People, db: Database):
    admin, salon, influencer = await people.admin(), await people.salon(), await people.influencer()
    await people.connect(salon, influencer)
    connection = await request_id(db, salon, influencer)
    answers = await asyncio.gather(
        *(client.delete(f"/admin/connections/{connection}", admin) for client in (api, other_api) * 2)
    )
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]
    assert len(await logs(db)) == 1


async def test_a_deletion_whose_log_fails_is_not_done(api: Api, people: People, db: Database):
    admin, salon, influencer = await people.admin(), await people.salon(), await people.influencer()
    conversation = await people.connect(salon, influencer)
    connection = await request_id(db, salon, influencer)
    socket = await api.socket(salon)
    await socket.join(conversation)
    await db.execute("alter table activity_logs add constraint activity_logs_broken_check check (false) not valid")
    try:
        assert (await api.delete(f"/admin/connections/{connection}", admin)).status == 500
    finally:
        await db.execute("alter table activity_logs drop constraint activity_logs_broken_check")
    assert await socket.received_names() == []
    sent = await api.post(f"/chat/conversations/{conversation}/messages", {"content": "still here"}, salon)
    assert sent.status == 201


@pytest.mark.parametrize(
    "query", ["status=OPEN", "page=0", "limit=101", "cursor=x", "search=%00", "search=" + "x" * 101]
)
async def test_bad_queries(api: Api, people: People, query: str):
    answer = await api.get(f"/admin/connections?{query}", await people.admin())
    assert (answer.status, answer.fields) == (400, {query.partition("=")[0]})


@pytest.mark.parametrize("bad", [NOBODY, "1", "x"])
async def test_a_missing_connection_cannot_be_deleted(api: Api, people: People, db: Database, bad: str):
    assert (await api.delete(f"/admin/connections/{bad}", await people.admin())).status == 404
    assert await logs(db) == []
