"""Two participants chat by REST; another user gets 404 and no events."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from db.schemas.shapes import DELETED_MESSAGE
from tests.helpers.factories import Person


@pytest.fixture
def chat(io_loop, people):
    async def make():
        hanako, sakura = await people.influencer("Hanako"), await people.salon("Salon Sakura")
        outsider = await people.influencer("Outsider")
        await people.connect(outsider, await people.salon("Other salon"))
        return hanako, sakura, outsider, await people.connect(hanako, sakura)

    return io_loop.run_sync(make)


async def say(api, conversation_id: str, user: Person, content: str, **more) -> dict[str, Any]:
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", {"content": content, **more}, user)
    assert answer.status in (200, 201), answer
    return answer.data


async def test_a_conversation(api, chat):
    hanako, sakura, _, conversation_id = chat
    texts = ["こんにちは", "‏مرحبا", "multi\nline\ttext 👩‍🎤", "x" * 5000]
    for text in texts:
        await say(api, conversation_id, hanako, text)
    contact = (await api.get("/chat/contacts", sakura)).data[0]
    assert contact["conversation"]["unreadCount"] == 4
    assert contact["user"]["influencer"] == {"profilePic": None}
    peeked = await api.get(f"/chat/conversations/{conversation_id}/messages?peek=true", sakura)
    assert [message["content"] for message in peeked.data] == texts
    assert [message["seq"] for message in peeked.data] == [1, 2, 3, 4]
    assert (await api.get("/chat/contacts", sakura)).data[0]["conversation"]["unreadCount"] == 4
    await api.get(f"/chat/conversations/{conversation_id}/messages", sakura)
    assert (await api.get("/chat/contacts", sakura)).data[0]["conversation"]["unreadCount"] == 0
    listed = (await api.get("/chat/conversations", sakura)).data[0]
    assert (listed["lastSeq"], listed["isConnected"], len(listed["messages"])) == (4, True, 1)
    assert listed["lastMessage"] == "x" * 200


async def test_reading_older_and_newer(api, chat):
    hanako, sakura, _, conversation_id = chat
    for n in range(1, 8):
        await say(api, conversation_id, hanako, str(n))
    path = f"/chat/conversations/{conversation_id}/messages"

    async def texts(query: str) -> tuple[str, dict[str, Any]]:
        answer = await api.get(f"{path}?peek=true&{query}", sakura)
        return "".join(message["content"] for message in answer.data), answer.body

    newest, body = await texts("limit=3")
    assert (newest, body["pageInfo"]["hasMore"]) == ("567", True)
    assert (await texts(f"limit=3&cursor={body['pageInfo']['nextCursor']}"))[0] == "234"
    assert (await texts("limit=3&before=3"))[0] == "12"
    newer, body = await texts("limit=3&after=2")
    assert newer == "345"
    assert (await texts(f"limit=3&cursor={body['pageInfo']['nextCursor']}"))[0] == "67"
    numbered, body = await texts("limit=3&page=3")
    assert (numbered, body["pagination"]["totalPages"]) == ("1", 3)


async def test_the_same_client_message_id_sends_once(api, other_api, chat, db):
    hanako, sakura, _, conversation_id = chat
    path = f"/chat/conversations/{conversation_id}/messages"
    body = {"content": "once", "clientMessageId": "m-1"}
    answers = await asyncio.gather(*(instance.post(path, body, hanako) for instance in [api, other_api] * 4))
    assert sorted(answer.status for answer in answers) == [200] * 7 + [201]
    assert len({answer.data["id"] for answer in answers}) == 1
    repeated = await api.post(path, {"content": "changed", "clientMessageId": "m-1"}, hanako)
    assert (repeated.status, repeated.data["content"]) == (200, "once")
    assert (await api.post(path, body, sakura)).status == 201  # another sender's id is another id
    assert await db.fetchval("select last_rev from conversations where id = $1", conversation_id) == 2


async def test_concurrent_messages_get_gapless_numbers(api, other_api, chat, db):
    hanako, sakura, _, conversation_id = chat
    await asyncio.gather(
        *(say(api, conversation_id, hanako, f"h{n}") for n in range(20)),
        *(say(other_api, conversation_id, sakura, f"s{n}") for n in range(20)),
    )
    rows = await db.fetch("select seq, rev, created_at from messages order by seq")
    assert [row["seq"] for row in rows] == [row["rev"] for row in rows] == list(range(1, 41))
    assert [row["created_at"] for row in rows] == sorted(row["created_at"] for row in rows)


async def test_notifications_of_messages_collapse(api, chat, db):
    hanako, sakura, _, conversation_id = chat
    for n in range(3):
        await say(api, conversation_id, hanako, f"message {n}")
    rows = await db.fetch(
        "select message, metadata->>'count' as count from notifications where user_id = $1", sakura.id
    )
    assert [tuple(row) for row in rows] == [("message 2", "3")]
    await api.get(f"/chat/conversations/{conversation_id}/messages", sakura)
    await say(api, conversation_id, hanako, "a new row after reading")
    assert await db.fetchval("select count(*) from notifications where user_id = $1", sakura.id) == 2


async def test_edit_and_delete(api, chat, db):
    hanako, sakura, outsider, conversation_id = chat
    first, last = [await say(api, conversation_id, hanako, text) for text in ("first", "secret")]
    edited = await api.patch(f"/chat/messages/{last['id']}", {"content": "better"}, hanako)
    assert (edited.data["content"], edited.data["isEdited"], edited.data["rev"], edited.data["seq"]) == (
        "better",
        True,
        3,
        2,
    )
    assert (await api.get("/chat/conversations", sakura)).data[0]["lastMessage"] == "better"
    for user, status in ((sakura, 403), (outsider, 404)):
        assert (await api.patch(f"/chat/messages/{last['id']}", {"content": "mine"}, user)).status == status
        assert (await api.delete(f"/chat/messages/{last['id']}", user)).status == status
        assert (await api.patch(f"/chat/messages/{first['id']}/read", user=user)).status == (
            200 if user is sakura else 404
        )
    assert (await api.delete(f"/chat/messages/{last['id']}", hanako)).status == 200
    assert (await api.delete(f"/chat/messages/{last['id']}", hanako)).status == 200
    shown = (await api.get(f"/chat/conversations/{conversation_id}/messages", sakura)).data[1]
    assert (shown["content"], shown["isDeleted"], shown["rev"]) == (DELETED_MESSAGE, True, 4)
    assert (await api.patch(f"/chat/messages/{last['id']}", {"content": "back"}, hanako)).status == 409
    assert (await api.get("/chat/conversations", sakura)).data[0]["lastMessage"] == DELETED_MESSAGE
    kept = await db.fetch(
        "select content as text from messages union all select last_message from conversations"
        " union all select message from notifications"
    )
    assert not any("secret" in (row["text"] or "") or "better" in (row["text"] or "") for row in kept)


async def test_edit_and_delete_race(api, other_api, chat, db):
    """A deleted text stays deleted, and no rev is skipped."""
    hanako, _, _, conversation_id = chat
    for _ in range(5):
        message = await say(api, conversation_id, hanako, "text")
        edited, deleted = await asyncio.gather(
            api.patch(f"/chat/messages/{message['id']}", {"content": "edited"}, hanako),
            other_api.delete(f"/chat/messages/{message['id']}", hanako),
        )
        assert edited.status in (200, 409)
        assert deleted.status == 200
    revs = await db.fetch("select rev from messages order by rev")
    assert await db.fetchval("select last_rev from conversations where id = $1", conversation_id) == revs[-1]["rev"]
    assert await db.fetchval("select count(*) from messages where content = $1", DELETED_MESSAGE) == 5


async def test_a_stranger_gets_404(api, chat, db):
    hanako, _, outsider, conversation_id = chat
    message = await say(api, conversation_id, hanako, "between us")
    path = f"/chat/conversations/{conversation_id}/messages"
    assert (await api.get(path, outsider)).status == 404
    assert (await api.post(path, {"content": "hello?"}, outsider)).status == 404
    assert (await api.patch(f"/chat/messages/{message['id']}/read", user=outsider)).status == 404
    assert (await api.get(f"/chat/conversations/{hanako.id}", outsider)).status == 403
    assert (await api.get(f"/chat/conversations/{uuid4()}", hanako)).status == 404
    assert (await api.get(f"/chat/conversations/{uuid4()}/messages", hanako)).status == 404
    assert await db.fetchval("select count(*) from messages") == 1


async def test_contacts_search_before_paging(api, people):
    hanako = await people.influencer("Hanako")
    for n in range(4):
        await people.connect(hanako, await people.salon(f"Salon {n}"))
    await people.connect(hanako, await people.salon("美容室 100% さくら"))
    found = await api.get("/chat/contacts?limit=1&search=さくら", hanako)
    assert [contact["user"]["name"] for contact in found.data] == ["美容室 100% さくら"]
    assert len((await api.get("/chat/contacts?search=%25", hanako)).data) == 1  # a literal %
    assert (await api.get("/chat/contacts?role=INFLUENCER", hanako)).data == []
    assert len((await api.get("/chat/contacts?search=K.K.", hanako)).data) == 5
    assert (await api.get("/chat/contacts?role=ADMIN", hanako)).fields == {"role"}


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {""}),
        ({"content": "no picture", "messageType": "IMAGE"}, {""}),
        ({"content": "   "}, {""}),
        ({"content": "x" * 5001}, {"content"}),
        ({"content": "a\x00b"}, {"content"}),
        ({"content": 5, "messageType": "VIDEO", "clientMessageId": ""}, {"content", "messageType", "clientMessageId"}),
        ({"content": "x", "clientMessageId": "c" * 65}, {"clientMessageId"}),
        ({"content": "x", "fileUrl": "https://example.com/stolen.png"}, {"fileUrl"}),
        ([], {""}),
    ],
)
async def test_bad_messages(api, chat, db, body, fields):
    hanako, _, _, conversation_id = chat
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", body, hanako)
    assert (answer.status, answer.code, answer.fields) == (400, "VALIDATION_ERROR", fields)
    assert await db.fetchval("select count(*) from messages") == 0
