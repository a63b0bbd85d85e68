"""Connections: request, answer, withdraw and end, of which a third user sees nothing."""

import asyncio
from uuid import uuid4

import pytest

ADD_REQUEST = """
    insert into connection_requests (sender_id, receiver_id, status, created_at)
    values ($1, $2, $3, now() + make_interval(mins => $4)) returning id
"""


@pytest.fixture
def pair(io_loop, people):
    async def make():
        return await people.influencer("Hanako"), await people.salon("Salon Sakura"), await people.salon("Outsider")

    return io_loop.run_sync(make)


async def test_ask_and_accept(api, pair):
    hanako, sakura, _ = pair
    asked = await api.post("/connections/request", {"receiverId": sakura.id, "message": " Hi 🌸 "}, hanako)
    assert asked.status == 201
    assert asked.data["message"] == "Hi 🌸"
    assert asked.data["status"] == "PENDING"
    assert asked.data["sender"]["email"] == hanako.email
    assert asked.data["receiver"]["email"] == ""  # not before they are connected
    assert (await api.get(f"/connections/status/{sakura.id}", hanako)).data["status"] == "sent"
    assert (await api.get(f"/connections/status/{hanako.id}", sakura)).data["status"] == "received"

    received = (await api.get("/connections/requests/received", sakura)).data
    assert [request["id"] for request in received] == [asked.data["id"]]
    assert received[0]["sender"]["influencer"]["categories"] == ["beauty", "fashion"]

    accepted = await api.patch(f"/connections/requests/{asked.data['id']}/accept", user=sakura)
    assert accepted.data["status"] == "ACCEPTED"
    assert accepted.data["sender"]["email"] == hanako.email
    again = await api.patch(f"/connections/requests/{asked.data['id']}/accept", user=sakura)
    assert again.status == 409
    state = (await api.get(f"/connections/status/{sakura.id}", hanako)).data
    assert state == {"status": "connected", "requestId": asked.data["id"]}
    conversation = (await api.get(f"/chat/conversations/{sakura.id}", hanako)).data
    assert conversation["id"] == accepted.body["conversationId"]
    assert conversation["otherUser"]["email"] == sakura.email


async def test_users_who_may_not_send_a_request(api, pair, people, db):
    hanako, sakura, outsider = pair
    assert (await api.post("/connections/request", {"receiverId": hanako.id}, hanako)).status == 400
    assert (await api.post("/connections/request", {"receiverId": outsider.id}, sakura)).status == 403
    assert (await api.post("/connections/request", {"receiverId": str(uuid4())}, hanako)).status == 404
    admin = await people.admin()
    assert (await api.post("/connections/request", {"receiverId": admin.id}, hanako)).status == 404
    assert (await api.post("/connections/request", {"receiverId": sakura.id}, admin)).status == 403
    await db.execute("update users set status = 'SUSPENDED' where id = $1", sakura.id)
    assert (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).status == 404
    assert await db.fetchval("select count(*) from connection_requests") == 0


async def test_both_ask_at_once_makes_one_request(api, other_api, pair, db):
    hanako, sakura, _ = pair
    answers = await asyncio.gather(
        api.post("/connections/request", {"receiverId": sakura.id}, hanako),
        other_api.post("/connections/request", {"receiverId": hanako.id}, sakura),
        api.post("/connections/request", {"receiverId": sakura.id}, hanako),
    )
    assert sorted(answer.status for answer in answers) == [201, 409, 409]
    assert await db.fetchval("select count(*) from connection_requests") == 1
    assert await db.fetchval("select count(*) from notifications") == 1


async def test_reject_and_ask_again_a_week_later(api, pair, db):
    hanako, sakura, outsider = pair
    request_id = (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).data["id"]
    assert (await api.patch(f"/connections/requests/{request_id}/reject", user=hanako)).status == 403
    assert (await api.patch(f"/connections/requests/{request_id}/reject", user=outsider)).status == 404
    assert (await api.patch(f"/connections/requests/{request_id}/reject", user=sakura)).data["status"] == "REJECTED"
    received = await db.fetchrow("select type, user_id from notifications where type <> 'CONNECTION_REQUEST'")
    assert tuple(received) == ("CONNECTION_REJECTED", hanako.id)
    assert (await api.get(f"/connections/status/{sakura.id}", hanako)).data == {"status": "none", "requestId": None}
    assert (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).status == 409
    await db.execute("update connection_requests set updated_at = now() - interval '8 days'")
    again = await api.post("/connections/request", {"receiverId": hanako.id}, sakura)
    assert (again.status, again.data["id"], again.data["senderId"]) == (200, request_id, sakura.id)


async def test_withdraw(api, pair, db):
    hanako, sakura, outsider = pair
    request_id = (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).data["id"]
    watcher = await api.socket(sakura)
    assert (await api.delete(f"/connections/requests/{request_id}", outsider)).status == 404
    assert (await api.delete(f"/connections/requests/{request_id}", sakura)).status == 403
    assert (await api.delete(f"/connections/requests/{request_id}", hanako)).status == 200
    assert (await watcher.expect("notification_deleted"))["unreadCount"] == 0
    assert await db.fetchval("select count(*) from notifications") == 0
    assert (await api.patch(f"/connections/requests/{request_id}/accept", user=sakura)).status == 404


async def test_end_makes_the_conversation_read_only(api, other_api, pair, people):
    hanako, sakura, outsider = pair
    conversation_id = await people.connect(hanako, sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    await api.post(path, {"content": "before"}, hanako)
    socket = await other_api.socket(sakura)
    await socket.join(conversation_id)
    request_id = (await api.get("/connections/accepted", sakura)).data[0]["id"]
    assert (await api.delete(f"/connections/{request_id}", outsider)).status == 404
    assert (await api.delete(f"/connections/{request_id}", hanako)).status == 200
    assert (await socket.expect("conversation_closed"))["conversationId"] == conversation_id
    assert (await api.post(path, {"content": "after"}, sakura)).status == 403
    assert (await api.get(path, sakura)).data[0]["content"] == "before"
    listed = (await api.get("/chat/conversations", sakura)).data[0]
    assert (listed["isConnected"], listed["otherUser"]["email"]) == (False, "")
    assert (await api.get(f"/chat/conversations/{hanako.id}", sakura)).status == 403
    # They connect again: the same conversation continues.
    request_id = (await api.post("/connections/request", {"receiverId": hanako.id}, sakura)).data["id"]
    again = await api.patch(f"/connections/requests/{request_id}/accept", user=hanako)
    assert again.body["conversationId"] == conversation_id
    assert (await api.post(path, {"content": "again"}, sakura)).data["seq"] == 2


async def test_accept_and_withdraw_race(api, other_api, pair, db):
    """In any order, the result is consistent."""
    hanako, sakura, _ = pair
    request_id = (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).data["id"]
    accepted, withdrawn = await asyncio.gather(
        api.patch(f"/connections/requests/{request_id}/accept", user=sakura),
        other_api.delete(f"/connections/requests/{request_id}", hanako),
    )
    assert (accepted.status, withdrawn.status) in {(200, 409), (404, 200)}
    rows = await db.fetchval("select count(*) from connection_requests where status = 'ACCEPTED'")
    assert await db.fetchval("select count(*) from conversations") == rows


async def test_web_client_spellings(api, pair):
    hanako, sakura, _ = pair
    request_id = (await api.post("/connections/send", {"receiverId": sakura.id}, hanako)).data["id"]
    for kind, user, count in [
        ("incoming", sakura, 1),
        ("outgoing", hanako, 1),
        ("incoming", hanako, 0),
        ("all", hanako, 1),
    ]:
        listed = await api.get(f"/connections?type={kind}&page=1", user)
        assert len(listed.data) == count
        assert listed.body["pagination"]["total"] == count
    assert (await api.get("/connections?type=nonsense", hanako)).fields == {"type"}
    assert (await api.put(f"/connections/{request_id}/accept", user=sakura)).status == 200
    assert len((await api.get("/connections?type=accepted", hanako)).data) == 1


async def test_status_of_many(api, pair):
    hanako, sakura, outsider = pair
    await api.post("/connections/request", {"receiverId": sakura.id}, hanako)
    answer = await api.post(
        "/connections/status/bulk", {"userIds": [sakura.id.upper(), outsider.id, str(uuid4())]}, hanako
    )
    assert [answer.data[id]["status"] for id in (sakura.id, outsider.id)] == ["sent", "none"]
    assert len(answer.data) == 3
    for bad in ([], ["x"], ["x"] * 101, "x", None):
        assert (await api.post("/connections/status/bulk", {"userIds": bad}, hanako)).status == 400


async def test_pages_stay_stable_while_requests_come_in(api, people):
    sakura = await people.salon()
    for n in range(5):
        influencer = await people.influencer(f"Influencer {n}")
        await api.post("/connections/request", {"receiverId": sakura.id}, influencer)
    first = await api.get("/connections/requests/received?limit=2", sakura)
    late = await people.influencer("Late")
    await api.post("/connections/request", {"receiverId": sakura.id}, late)
    names = [request["sender"]["name"] for request in first.data]
    cursor = first.body["pageInfo"]["nextCursor"]
    while cursor:
        page = await api.get(f"/connections/requests/received?limit=2&cursor={cursor}", sakura)
        names += [request["sender"]["name"] for request in page.data]
        cursor = page.body["pageInfo"]["nextCursor"]
    assert names == [f"Influencer {n}" for n in (4, 3, 2, 1, 0)]
    for bad in (
        "limit=0",
        "limit=101",
        "limit=x",
        "page=0",
        "page=501",
        "cursor=nonsense",
        "cursor=W10",
        "page=1&cursor=nonsense",
    ):
        assert (await api.get(f"/connections/requests/received?{bad}", sakura)).status == 400, bad


async def test_both_sides_and_every_status_make_one_list(api, people, db):
    sakura, ids = await people.salon(), []
    for n in range(7):
        pair = [sakura.id, (await people.influencer()).id][:: -1 if n % 2 else 1]
        status = ("PENDING", "ACCEPTED", "REJECTED")[n % 3]
        ids.append(await db.fetchval(ADD_REQUEST, *pair, status, n))
    for query, expected in (
        ("connections?type=all", ids),
        ("connections/accepted?", ids[1::3]),
        ("connections/requests/sent?status=ALL", ids[::2]),
        ("connections/requests/received?status=PENDING", ids[3:4]),
    ):
        pages, cursor = [], ""
        while cursor is not None:
            answer = await api.get(f"/{query}&limit=2{cursor and f'&cursor={cursor}'}", sakura)
            pages.append([request["id"] for request in answer.data])
            cursor = answer.body["pageInfo"]["nextCursor"]
        assert [id for page in pages for id in page] == expected[::-1]
        for number, page in enumerate(pages, 1):
            answer = await api.get(f"/{query}&limit=2&page={number}", sakura)
            assert [request["id"] for request in answer.data] == page
            assert answer.body["pagination"]["total"] == len(expected)


async def test_daily_limit(api, people, limit):
    from settings import Limit

    limit("limit_connection_request", Limit(2, 86400))
    hanako = await people.influencer()
    salons = [await people.salon(f"Salon {n}") for n in range(3)]
    answers = [await api.post("/connections/request", {"receiverId": salon.id}, hanako) for salon in salons]
    assert [answer.status for answer in answers] == [201, 201, 429]
    assert int(answers[2].headers["Retry-After"]) == answers[2].body["retryAfter"] > 80_000
