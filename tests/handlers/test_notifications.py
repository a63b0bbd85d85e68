"""Notifications are listed, read and deleted by their owner only, and each change reaches that user's sockets only."""

import asyncio

import pytest

from db.pool import Database
from db.queries.conversations import NewMessage, send_message
from tests.helpers.clients import Api
from tests.helpers.factories import People, Person

METADATA = '{"reason": "UNVERIFIED", "platform": "INSTAGRAM", "accountId": "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f"}'
ADD = f"""
    insert into notifications (user_id, type, title, message, metadata, created_at, updated_at)
    select $1, 'SYSTEM', 'News', '花子 🌸 ' || n, '{METADATA}', now() - make_interval(mins => 100 - n),
        now() - make_interval(mins => 100 - n)
    from generate_series(1, $2::int) n
    order by n returning id
"""

NOBODY = "00000000-0000-4000-8000-000000000000"  # an id that no user has; the same for every worker of a run


async def add(db: Database, user: Person, count: int = 1) -> list[str]:
    """Add notifications; return their ids, oldest first."""
    return [row["id"] for row in await db.fetch(ADD, user.id, count)]


async def unread(api: Api, user: Person) -> int:
    return (await api.get("/notifications/unread", user)).data["count"]


async def test_the_list_has_own_notifications_newest_first(api: Api, people: People, db: Database):
    salon, outsider = await people.salon(), await people.influencer()
    mine, _ = await add(db, salon, 3), await add(db, outsider)

    answer = await api.get("/notifications", salon)

    assert [row["id"] for row in answer.data] == mine[::-1]
    assert answer.body["pageInfo"] == {"nextCursor": None, "hasMore": False}
    assert answer.data[0]["message"] == "花子 🌸 3"
    assert answer.data[0]["metadata"] == METADATA
    assert answer.data[0]["userId"] == salon.id


async def test_fifty_unless_asked_otherwise(api: Api, people: People, db: Database):
    salon = await people.salon()
    await add(db, salon, 51)
    answer = await api.get("/notifications", salon)
    assert len(answer.data) == 50
    assert answer.body["pageInfo"]["hasMore"]


async def test_pages_stay_stable_while_notifications_come_and_are_read(api: Api, people: People, db: Database):
    salon = await people.salon()
    old = (await add(db, salon, 7))[::-1]
    seen, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/notifications?limit=3{cursor and '&cursor=' + cursor}", salon)
        seen += [row["id"] for row in answer.data]
        cursor = answer.body["pageInfo"]["nextCursor"]
        await db.execute("update notifications set created_at = now(), updated_at = now() where id = $1", seen[0])
        await add(db, salon)
        await db.execute(
            "update notifications set updated_at = now() where user_id = $1 and not id = any($2)", salon.id, old
        )
        await api.patch(f"/notifications/{old[-1]}/read", None, salon)
    assert seen == old


async def test_many_at_one_moment_are_all_paged_through(api: Api, people: People, db: Database):
    salon = await people.salon()
    ids = await add(db, salon, 5)
    await db.execute("update notifications set updated_at = '2026-01-01T00:00:00.123456Z'")
    seen, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/notifications?limit=2{cursor and '&cursor=' + cursor}", salon)
        seen += [row["id"] for row in answer.data]
        cursor = answer.body["pageInfo"]["nextCursor"]
    assert sorted(seen) == sorted(ids)


async def test_reading_one_is_published_to_every_socket_of_the_user(
    api: Api, other_api: Api, people: People, db: Database
):
    salon, outsider = await people.salon(), await people.influencer()
    first, _ = await add(db, salon, 2)
    here, there = await api.socket(salon), await other_api.socket(await people.sign_in(salon))
    strange = await api.socket(outsider)

    answer = await api.patch(f"/notifications/{first}/read", None, salon)

    assert answer.data["isRead"] and answer.data["id"] == first
    for socket in (here, there):
        assert await socket.expect("notification_read") == {"notificationId": first, "unreadCount": 1}
    assert await strange.received_names() == []
    assert await unread(api, salon) == 1


async def test_reading_again_changes_and_publishes_nothing(api: Api, people: People, db: Database):
    salon = await people.salon()
    [one] = await add(db, salon)
    assert (await api.patch(f"/notifications/{one}/read", None, salon)).status == 200
    socket = await api.socket(salon)
    assert (await api.patch(f"/notifications/{one}/read", None, salon)).data["isRead"]
    assert (await api.patch("/notifications/read-all", None, salon)).status == 200
    assert await socket.received_names() == []


async def test_reading_all_keeps_the_order_of_the_list(api: Api, people: People, db: Database):
    salon, outsider = await people.salon(), await people.influencer()
    ids, _ = await add(db, salon, 4), await add(db, outsider, 2)
    socket = await api.socket(salon)

    answer = await api.patch("/notifications/read-all", None, salon)

    assert answer.data == {"count": 0}
    assert await socket.expect("notification_read") == {"notificationId": None, "unreadCount": 0, "all": True}
    listed = (await api.get("/notifications", salon)).data
    assert [row["id"] for row in listed] == ids[::-1]
    assert all(row["isRead"] for row in listed)
    assert await unread(api, outsider) == 2


async def test_deleting_one_is_published_to_every_socket_of_the_user(
    api: Api, other_api: Api, people: People, db: Database
):
    salon = await people.salon()
    first, second = await add(db, salon, 2)
    here, there = await api.socket(salon), await other_api.socket(salon)

    assert (await api.delete(f"/notifications/{first}", salon)).status == 200

    for socket in (here, there):
        assert await socket.expect("notification_deleted") == {"notificationId": first, "unreadCount": 1}
    assert [row["id"] for row in (await api.get("/notifications", salon)).data] == [second]
    assert (await api.delete(f"/notifications/{first}", salon)).status == 404


async def test_notifications_of_others_are_not_found(api: Api, people: People, db: Database):
    salon, outsider = await people.salon(), await people.influencer()
    [one] = await add(db, salon)
    socket = await api.socket(salon)
    for answer in (
        await api.patch(f"/notifications/{one}/read", None, outsider),
        await api.delete(f"/notifications/{one}", outsider),
        await api.patch("/notifications/read-all", None, outsider),
    ):
        assert answer.status in (200, 404)
        assert answer.status == 404 or answer.data == {"count": 0}
    assert await socket.received_names() == []
    assert await unread(api, salon) == 1
    assert (await api.get("/notifications", outsider)).data == []


async def test_the_last_published_count_is_right_after_concurrent_reads(api: Api, people: People, db: Database):
    salon = await people.salon()
    ids = await add(db, salon, 12)
    socket = await api.socket(salon)
    await asyncio.gather(*(api.patch(f"/notifications/{one}/read", None, salon) for one in ids[:10]))
    received = [await socket.expect("notification_read") for _ in range(10)]
    assert {event["notificationId"] for event in received} == set(ids[:10])
    assert received[-1]["unreadCount"] == 2


async def test_concurrent_deletions_publish_once(api: Api, people: People, db: Database):
    salon = await people.salon()
    [one] = await add(db, salon)
    socket = await api.socket(salon)
    answers = await asyncio.gather(*(api.delete(f"/notifications/{one}", salon) for _ in range(4)))
    assert sorted(answer.status for answer in answers) == [200, 404, 404, 404]
    assert await socket.received_names() == ["notification_deleted"]


async def test_messages_after_the_read_row_begin_a_new_one(api: Api, people: People, db: Database):
    salon, influencer = await people.salon(), await people.influencer()
    conversation = await people.connect(salon, influencer)
    for text in ("one", "two"):
        await send_message(db, conversation, influencer.id, NewMessage.model_validate({"content": text}))
    [row] = (await api.get("/notifications", salon)).data
    assert (row["type"], row["message"], row["isRead"]) == ("NEW_MESSAGE", "two", False)
    assert '"count": 2' in row["metadata"]

    await api.patch(f"/notifications/{row['id']}/read", None, salon)
    await send_message(db, conversation, influencer.id, NewMessage.model_validate({"content": "three"}))

    fresh, old = (await api.get("/notifications", salon)).data
    assert (fresh["message"], fresh["isRead"], old["isRead"]) == ("three", False, True)
    assert await unread(api, salon) == 1


@pytest.mark.parametrize("role", ["influencer", "salon", "admin"])
async def test_every_role_has_notifications(api: Api, people: People, role: str):
    user = await getattr(people, role)()
    assert (await api.get("/notifications", user)).data == []
    assert (await api.get("/notifications/unread-count", user)).data == {"count": 0}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/notifications"),
        ("GET", "/notifications/unread"),
        ("GET", "/notifications/unread-count"),
        ("PATCH", "/notifications/read-all"),
        ("PATCH", "/notifications/mark-all-read"),
        ("PATCH", f"/notifications/{NOBODY}/read"),
        ("DELETE", f"/notifications/{NOBODY}"),
    ],
)
async def test_anonymous_requests_must_sign_in(api: Api, method: str, path: str):
    assert (await api.call(method, path)).status == 401


async def test_the_web_clients_spellings(api: Api, people: People, db: Database):
    salon = await people.salon()
    await add(db, salon, 2)
    assert (await api.get("/notifications/unread-count", salon)).data == {"count": 2}
    assert (await api.patch("/notifications/mark-all-read", None, salon)).data == {"count": 0}


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("limit=0", "limit"),
        ("limit=101", "limit"),
        ("limit=ten", "limit"),
        ("limit=1&limit=2", "limit"),
        ("cursor=nonsense", "cursor"),
        ("cursor=WzEsMl0", "cursor"),
        ("cursor=%00", "cursor"),
        ("cursor=" + "a" * 500, "cursor"),
    ],
)
async def test_bad_queries(api: Api, people: People, query: str, field: str):
    answer = await api.get(f"/notifications?{query}", await people.salon())
    assert answer.status == 400
    assert answer.fields == {field}


@pytest.mark.parametrize("bad", ["1", "x'; drop table users; --", "%00", "null", "read-all", "a" * 300])
async def test_an_invalid_id_is_not_found(api: Api, people: People, bad: str):
    salon = await people.salon()
    assert (await api.delete(f"/notifications/{bad.replace(' ', '%20')}", salon)).status in (404, 405)
    assert (await api.patch(f"/notifications/{bad.replace(' ', '%20')}/read", None, salon)).status == 404


async def test_reading_a_conversation_keeps_its_notification_in_place(api: Api, people: People, db: Database):
    salon, influencer = await people.salon(), await people.influencer()
    conversation = await people.connect(salon, influencer)
    await send_message(db, conversation, influencer.id, NewMessage.model_validate({"content": "hello"}))
    await db.execute(
        "insert into notifications (user_id, type, title, message) values ($1, 'SYSTEM', 'a', 'b')", salon.id
    )
    await api.get(f"/chat/conversations/{conversation}/messages", salon)
    listed = (await api.get("/notifications", salon)).data
    assert [(row["type"], row["isRead"]) for row in listed] == [("SYSTEM", False), ("NEW_MESSAGE", True)]
