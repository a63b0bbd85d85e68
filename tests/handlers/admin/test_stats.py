"""The dashboard's numbers, and the log of what admins did."""

from datetime import UTC, datetime, timedelta
from urllib.parse import quote

import pytest

from db.pool import Database
from tests.helpers.clients import Api
from tests.helpers.factories import People

ADD_ACCOUNT = """
    insert into social_media_accounts (influencer_id, platform, username, is_active)
    select id, $2, 'other', $3 from influencers where user_id = $1
"""

ADD_LOG = """
    insert into activity_logs (action, description, admin_id, admin_name, admin_email, target_user_name,
        target_user_email, metadata, created_at)
    values ($1, $2, $3, 'Admin 花', 'boss@example.com', $4, $5, '{"a": 1}', $6)
"""


async def test_an_empty_platform(api: Api, people: People):
    data = (await api.get("/admin/dashboard/stats", await people.admin())).data
    assert data["stats"] == {
        "users": {
            "total": 0,
            "influencers": 0,
            "salons": 0,
            "verified": 0,
            "unverified": 0,
            "completedOnboarding": 0,
            "recentSignups": 0,
        },
        "connections": {"total": 0, "pending": 0, "accepted": 0, "recent": 0},
        "socialMedia": {"instagram": 0, "tiktok": 0, "total": 0},
        "messages": {"total": 0},
        "activeToday": 0,
    }
    assert [entry["count"] for entry in data["charts"]["connectionStats"]] == [0, 0, 0]
    assert len(data["charts"]["userGrowth"]) == 30


async def test_counts(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    influencers = [await people.influencer(f"i{number}") for number in range(4)]
    conversation = await people.connect(influencers[0], salon)
    for status, influencer, days in (("PENDING", influencers[1], 29), ("REJECTED", influencers[2], 31)):
        await db.execute(
            "insert into connection_requests (sender_id, receiver_id, status, created_at) values ($1, $2, $3, $4)",
            influencer.id,
            salon.id,
            status,
            datetime.now(UTC) - timedelta(days=days),
        )
    await api.post(f"/chat/conversations/{conversation}/messages", {"content": "hi"}, salon)
    await db.execute("update users set email_verified_at = null, onboarded_at = null where id = $1", influencers[1].id)
    for person, days in ((influencers[1], 29), (influencers[2], 31)):  # “recent” means 30 days
        created = datetime.now(UTC) - timedelta(days=days)
        await db.execute("update users set created_at = $2 where id = $1", person.id, created)
    await db.execute("update users set status = 'SUSPENDED' where id = $1", influencers[2].id)
    await db.execute("update users set status = 'DELETED', email = null where id = $1", influencers[3].id)
    await db.execute("update sessions set rotated_at = now() - interval '2 days'")
    await db.execute("update sessions set rotated_at = now() where user_id = any($1)", [salon.id, admin.id])
    await db.execute("update users set last_seen_at = now() where id = any($1)", [salon.id, influencers[0].id])
    await db.execute(ADD_ACCOUNT, influencers[0].id, "INSTAGRAM", True)
    await db.execute(ADD_ACCOUNT, influencers[1].id, "INSTAGRAM", True)
    await db.execute(ADD_ACCOUNT, influencers[1].id, "TIKTOK", True)
    await db.execute(ADD_ACCOUNT, influencers[2].id, "TIKTOK", False)

    data = (await api.get("/admin/dashboard/stats", admin)).data

    assert data["stats"] == {
        "users": {
            "total": 4,
            "influencers": 3,
            "salons": 1,
            "verified": 3,
            "unverified": 1,
            "completedOnboarding": 3,
            "recentSignups": 3,
        },
        "connections": {"total": 3, "pending": 1, "accepted": 1, "recent": 2},
        "socialMedia": {"instagram": 2, "tiktok": 1, "total": 3},
        "messages": {"total": 1},
        "activeToday": 2,
    }
    assert data["charts"]["connectionStats"] == [
        {"status": "Pending", "count": 1},
        {"status": "Accepted", "count": 1},
        {"status": "Rejected", "count": 1},
    ]
    assert (await api.get("/admin/dashboard", admin)).data == data


async def test_growth_has_every_one_of_thirty_days(api: Api, people: People, db: Database):
    admin, today = await people.admin(), datetime.now(UTC).date()
    for days, add in ((0, people.salon), (0, people.influencer), (29, people.influencer), (30, people.influencer)):
        person = await add()
        midnight = datetime.combine(today - timedelta(days=days), datetime.min.time(), UTC)
        moment = midnight + (timedelta(hours=23, minutes=59, seconds=59) if days else timedelta())
        await db.execute("update users set created_at = $2 where id = $1", person.id, moment)

    growth = (await api.get("/admin/dashboard/stats", admin)).data["charts"]["userGrowth"]

    assert [day["date"] for day in growth] == [str(today - timedelta(days=29 - n)) for n in range(30)]
    assert growth[0] == {"date": str(today - timedelta(days=29)), "influencers": 1, "salons": 0}
    assert growth[29] == {"date": str(today), "influencers": 1, "salons": 1}
    assert all(day["influencers"] == day["salons"] == 0 for day in growth[1:29])


async def fill_logs(db: Database, admin) -> None:
    now = datetime.now(UTC)
    rows = [
        ("USER_CREATED", "Created Sakura", "Sakura", "s@example.com"),
        ("USER_SUSPENDED", "Suspended 花子: 100% spam", "花子", "hanako@example.com"),
        ("USER_SUSPENDED", "Suspended Taro", "Taro", "taro@example.com"),
        ("CONNECTION_DELETED", "Deleted the connection of A and B", None, None),
    ]
    for number, row in enumerate(rows):
        await db.execute(ADD_LOG, *row[:2], admin.id, *row[2:], now - timedelta(hours=len(rows) - number))


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("", [3, 2, 1, 0]),
        ("action=USER_SUSPENDED", [2, 1]),
        ("action=NONE_OF_OURS", []),
        ("action=", [3, 2, 1, 0]),
        ("search=taro", [2]),
        ("search=" + quote("花子"), [1]),
        ("search=boss@example.com", [3, 2, 1, 0]),
        ("search=hanako@", [1]),
        ("search=100%25", [1]),
        ("search=%25", [1]),
        ("search=a_and", []),
        ("search=suspended&action=USER_CREATED", []),
    ],
)
async def test_logs_are_found(api: Api, people: People, db: Database, query: str, found: list[int]):
    admin = await people.admin()
    await fill_logs(db, admin)
    descriptions = [
        "Created Sakura",
        "Suspended 花子: 100% spam",
        "Suspended Taro",
        "Deleted the connection of A and B",
    ]
    answer = await api.get(f"/admin/activity-logs?page=1&{query}", admin)
    assert [row["description"] for row in answer.data] == [descriptions[n] for n in found]
    assert answer.body["pagination"]["total"] == len(found)


async def test_a_log_row_as_the_web_client_reads_it(api: Api, people: People):
    admin, salon = await people.admin(), await people.salon()
    await api.patch(f"/admin/users/{salon.id}/suspend", {"reason": "spam"}, admin)
    [row] = (await api.get("/admin/activity-logs", admin)).data
    assert row.pop("id") and row.pop("createdAt") and row.pop("userAgent") is not None
    assert row == {
        "action": "USER_SUSPENDED",
        "description": f"Suspended {salon.name} ({salon.email}): spam",
        "adminId": admin.id,
        "adminName": admin.name,
        "adminEmail": admin.email,
        "targetUserId": salon.id,
        "targetUserName": salon.name,
        "targetUserEmail": salon.email,
        "ipAddress": "127.0.0.1",
        "metadata": '{"reason": "spam"}',
    }


async def test_logs_are_paged_through(api: Api, people: People, db: Database):
    admin = await people.admin()
    await fill_logs(db, admin)
    await db.execute("update activity_logs set created_at = '2026-01-01T00:00:00.000001Z' where action like 'USER%'")
    whole = [row["id"] for row in (await api.get("/admin/activity-logs", admin)).data]
    seen, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/admin/activity-logs?limit=1{cursor}", admin)
        seen += [row["id"] for row in answer.data]
        cursor = answer.body["pageInfo"]["nextCursor"] and f"&cursor={answer.body['pageInfo']['nextCursor']}"
        await db.execute(ADD_LOG, "JOB_STARTED", "meanwhile", admin.id, None, None, datetime.now(UTC))
    assert seen == whole


@pytest.mark.parametrize(
    "query",
    ["page=0", "limit=0", "cursor=x", "search=%00", "action=" + "x" * 51, "search=" + "x" * 101, "action=a%0Ab"],
)
async def test_bad_queries(api: Api, people: People, query: str):
    answer = await api.get(f"/admin/activity-logs?{query}", await people.admin())
    assert (answer.status, answer.fields) == (400, {query.partition("=")[0]})
