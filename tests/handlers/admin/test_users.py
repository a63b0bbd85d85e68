"""Admins and people: the list with its filters, sorts and pages, creating and changing accounts."""

import asyncio
from typing import Any
from urllib.parse import quote

import pytest

from db.pool import Database
from tests.helpers.admins import FROM, NOBODY, logs, only_log
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

NEW = {"name": "花子 🌸", "email": "New@Example.com", "password": "a long enough one", "role": "INFLUENCER"}


def names(answer) -> list[str]:
    return [user["name"] for user in answer.data]


# -- the list --------------------------------------------------------------------------------------------------------


async def test_list_leaves_admins_and_deleted_accounts_out(api: Api, people: People, db: Database):
    admin, gone = await people.admin(), await people.salon("Gone")
    await people.influencer("Hanako"), await people.salon("Sakura")
    await db.execute("update users set status = 'DELETED', email = null, password_hash = null where id = $1", gone.id)

    answer = await api.get("/admin/users", admin)

    assert names(answer) == ["Sakura", "Hanako"]
    salon, influencer = answer.data
    assert salon["influencer"] is None and salon["salon"]["businessName"] == "Sakura K.K."
    assert influencer["salon"] is None and influencer["influencer"]["region"] == "tokyo"
    assert "pagination" not in answer.body
    assert names(await api.get("/admin/users?role=ADMIN", admin)) == []


async def test_email_verified_is_true_only_for_verified_and_active(api: Api, people: People, db: Database):
    admin = await people.admin()
    await people.influencer("fine")
    suspended, unverified = await people.salon("suspended"), await people.influencer("unverified")
    await db.execute("update users set status = 'SUSPENDED' where id = $1", suspended.id)
    await db.execute("update users set email_verified_at = null where id = $1", unverified.id)

    users = {user["name"]: user for user in (await api.get("/admin/users", admin)).data}
    verified = {name: (user["influencer"] or user["salon"])["emailVerified"] for name, user in users.items()}
    assert verified == {"fine": True, "suspended": False, "unverified": False}
    assert users["suspended"]["status"] == "SUSPENDED" and users["unverified"]["status"] == "ACTIVE"

    for query, found in {
        "verified=true": {"fine"},
        "verified=false": {"suspended", "unverified"},
        "status=SUSPENDED": {"suspended"},
        "status=ACTIVE": {"fine", "unverified"},
        "status=ACTIVE&verified=false": {"unverified"},
        "role=SALON": {"suspended"},
        "role=INFLUENCER&verified=true": {"fine"},
    }.items():
        answer = await api.get(f"/admin/users?page=1&{query}", admin)
        assert set(names(answer)) == found, query
        assert answer.body["pagination"]["total"] == len(found)


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("sak", ["Sakura"]),
        ("SAK", ["Sakura"]),
        ("K.K.", ["Sakura", "さくら 100%"]),
        ("花", ["花子"]),
        ("example.com", ["Sakura", "さくら 100%", "花子"]),
        ("%", ["さくら 100%"]),
        ("_", []),
        ("\\", []),
        ("'", []),
        ("  ", ["Sakura", "さくら 100%", "花子"]),
    ],
)
async def test_search(api: Api, people: People, search: str, found: list[str]):
    admin = await people.admin("Sakura the admin")
    await people.salon("Sakura"), await people.salon("さくら 100%"), await people.influencer("花子")
    assert sorted(names(await api.get(f"/admin/users?search={quote(search)}", admin))) == found


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("sort", ["createdAt", "name", "email"])
async def test_every_sort_is_paged_through_without_gap_or_repetition(
    api: Api, people: People, db: Database, sort: str, order: str
):
    admin = await people.admin()
    given = ["b", "B", "a", "あ", "a", "Z", "z"]
    ids = {}
    for number, name in enumerate(given):
        person = await people.add("SALON", name, f"{(number * 3) % 7}@example.com")
        ids[person.id] = {"createdAt": number // 2, "name": name.lower(), "email": person.email}
        await db.execute(
            "update users set created_at = '2026-01-01'::timestamptz + make_interval(hours => $2) where id = $1",
            person.id,
            number // 2,
        )
    seen, cursor = [], ""
    while cursor is not None:
        answer = await api.get(f"/admin/users?limit=2&sortBy={sort}&sortOrder={order}{cursor}", admin)
        seen += [user["id"] for user in answer.data]
        cursor = answer.body["pageInfo"]["nextCursor"] and f"&cursor={answer.body['pageInfo']['nextCursor']}"
        if len(seen) < 4:
            await people.add("SALON", "a user who signs up meanwhile")
    expected = sorted(ids, key=lambda one: (ids[one][sort], one), reverse=order == "desc")
    assert [one for one in seen if one in ids] == expected
    assert len(set(seen)) == len(seen)


async def test_a_cursor_is_valid_only_for_its_list(api: Api, people: People):
    admin = await people.admin()
    for _ in range(3):
        await people.salon()
    cursor = (await api.get("/admin/users?limit=1&sortBy=name", admin)).body["pageInfo"]["nextCursor"]
    assert (await api.get(f"/admin/users?limit=1&sortBy=name&cursor={cursor}", admin)).status == 200
    for other in ("sortBy=email", "sortBy=createdAt", "sortBy=name&sortOrder=asc", ""):
        answer = await api.get(f"/admin/users?limit=1&{other}&cursor={cursor}", admin)
        assert (answer.status, answer.fields) == (400, {"cursor"}), other


async def test_numbered_pages(api: Api, people: People):
    admin = await people.admin()
    for number in range(5):
        await people.salon(f"s{number}")
    answer = await api.get("/admin/users?page=2&limit=2&sortBy=name&sortOrder=asc", admin)
    assert names(answer) == ["s2", "s3"]
    assert answer.body["pagination"] == {"page": 2, "limit": 2, "total": 5, "totalPages": 3, "hasMore": True}
    last = await api.get("/admin/users?page=3&limit=2&sortBy=name&sortOrder=asc", admin)
    assert names(last) == ["s4"] and last.body["pagination"]["hasMore"] is False


# ["name desc", NUL, an id]: no list returns this cursor, but a client can send it.
NUL_CURSOR = "WyJuYW1lIGRlc2MiLCJcdTAwMDAiLCIwMDAwMDAwMC0wMDAwLTQwMDAtODAwMC0wMDAwMDAwMDAwMDAiXQ"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=0", "page"), ("page=101&limit=100", "page"), ("limit=10000", "limit"), ("limit=0", "limit"),
        ("sortBy=password_hash", "sortBy"), ("sortBy=name;drop", "sortBy"), ("sortOrder=up", "sortOrder"),
        ("role=GOD", "role"), ("status=DELETED", "status"), ("verified=maybe", "verified"), ("cursor=x", "cursor"),
        (f"sortBy=name&cursor={NUL_CURSOR}", "cursor"), ("page=1&cursor=x", "cursor"), ("search=%00", "search"),
        ("search=" + "x" * 101, "search"), ("search=a&search=b", "search"),
    ],
)  # fmt: skip
async def test_bad_queries(api: Api, people: People, query: str, field: str):
    answer = await api.get(f"/admin/users?{query}", await people.admin())
    assert (answer.status, answer.fields) == (400, {field})


# -- creating --------------------------------------------------------------------------------------------------------


async def test_a_created_influencer_can_sign_in_at_once(api: Api, people: People, db: Database):
    admin = await people.admin()
    body = {**NEW, "phoneNumber": "+81 90", "bio": "Line\nbreak", "region": "Tokyo", "businessName": "none of mine"}

    answer = await api.post("/admin/users", body, admin, headers=FROM)

    assert answer.status == 201
    user = answer.data
    assert (user["name"], user["email"], user["role"]) == ("花子 🌸", "new@example.com", "INFLUENCER")
    assert user["termsAccepted"] and user["salon"] is None
    profile = user["influencer"]
    assert (profile["emailVerified"], profile["phoneNo"], profile["bio"]) == (True, "+81 90", "Line\nbreak")
    login = await api.post("/auth/login", {"email": NEW["email"], "password": NEW["password"]})
    assert login.status == 200 and login.data["user"]["hasCompletedOnboarding"] is False
    row = await only_log(db, admin, "USER_CREATED")
    assert row["target_user_id"] == user["id"] and row["target_user_email"] == "new@example.com"
    assert NEW["password"] not in str(dict(row))


async def test_a_created_salon_has_a_salons_profile(api: Api, people: People):
    body = {
        **NEW,
        "role": "SALON",
        "businessName": "さくら",
        "description": "Hair",
        "region": "",
        "bio": "none of mine",
    }
    user = (await api.post("/admin/users", body, await people.admin())).data
    assert user["influencer"] is None
    assert (user["salon"]["businessName"], user["salon"]["description"], user["salon"]["region"]) == (
        "さくら",
        "Hair",
        None,
    )


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": ""}, "name"), ({"name": None}, "name"), ({"name": "x" * 101}, "name"), ({"name": "a\nb"}, "name"),
        ({"name": ["x"]}, "name"), ({"email": "nobody"}, "email"), ({"email": 1}, "email"), ({"role": "ADMIN"}, "role"),
        ({"role": None}, "role"), ({"password": "short"}, "password"), ({"password": "x" * 73}, "password"),
        ({"password": "password123"}, "password"), ({"password": "new@example.com"}, "password"),
        ({"phoneNumber": 5}, "phoneNumber"), ({"bio": "x" * 2001}, "bio"), ({"region": "Atlantis"}, "region"),
        ({"description": "a\0b"}, "description"), ({"businessName": "x" * 121}, "businessName"),
    ],
)  # fmt: skip
async def test_bad_new_users_leave_no_trace(api: Api, people: People, db: Database, change: dict[str, Any], field: str):
    answer = await api.post("/admin/users", {**NEW, **change}, await people.admin())
    assert (answer.status, answer.fields) == (400, {field})
    assert await logs(db) == []
    assert await db.fetchval("select count(*) from users where role <> 'ADMIN'") == 0


async def test_every_bad_field_is_named(api: Api, people: People):
    answer = await api.post("/admin/users", {}, await people.admin())
    assert answer.fields == {"name", "email", "password", "role"}


async def test_an_address_is_given_once(api: Api, people: People, db: Database):
    admin = await people.admin()
    answers = await asyncio.gather(*(api.post("/admin/users", NEW, admin) for _ in range(3)))
    assert sorted(answer.status for answer in answers) == [201, 409, 409]
    assert {answer.code for answer in answers if answer.status == 409} == {"EMAIL_TAKEN"}
    assert len(await logs(db)) == 1
    assert (await api.post("/admin/users", {**NEW, "email": admin.email.upper()}, admin)).code == "EMAIL_TAKEN"


# -- changing --------------------------------------------------------------------------------------------------------


async def test_put_changes_what_is_sent_and_keeps_the_rest(api: Api, people: People, db: Database):
    admin, influencer = await people.admin(), await people.influencer()

    answer = await api.put(
        f"/admin/users/{influencer.id}", {"phoneNumber": "0120", "businessName": "x"}, admin, headers=FROM
    )

    user = answer.data
    assert (user["name"], user["email"]) == (influencer.name, influencer.email)
    profile = user["influencer"]
    assert (profile["phoneNo"], profile["bio"], profile["region"]) == ("0120", "I show what I wear", "tokyo")
    assert (profile["age"], profile["categories"]) == (27, ["beauty", "fashion"])
    row = await only_log(db, admin, "USER_UPDATED", influencer)
    assert row["metadata"] == '{"fields": ["businessName", "phoneNo"]}'


@pytest.mark.parametrize("nothing", ["", "  ", None])
async def test_put_clears(api: Api, people: People, nothing: str | None):
    admin, salon = await people.admin(), await people.salon()
    fields = {"region": nothing, "description": nothing, "businessName": nothing, "phoneNumber": nothing}
    profile = (await api.put(f"/admin/users/{salon.id}", fields, admin)).data["salon"]
    assert [profile[name] for name in ("region", "description", "businessName", "phoneNo")] == [None] * 4
    assert profile["preferredCategories"] == ["beauty"]


async def test_put_changes_name_and_email(api: Api, people: People):
    admin, salon = await people.admin(), await people.salon()
    user = (await api.put(f"/admin/users/{salon.id}", {"name": " 新 ", "email": "NEW@example.com"}, admin)).data
    assert (user["name"], user["email"]) == ("新", "new@example.com")
    assert (await api.post("/auth/login", {"email": "new@example.com", "password": PASSWORD})).status == 200


async def test_put_takes_neither_role_nor_password(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    before = await db.fetchrow("select * from users where id = $1", salon.id)
    body = {"role": "ADMIN", "password": "another long one", "passwordHash": "x", "password_hash": "x", "id": NOBODY,
            "status": "SUSPENDED", "emailVerifiedAt": None, "user_id": NOBODY, "profile_pic": "x"}  # fmt: skip
    assert (await api.put(f"/admin/users/{salon.id}", body, admin)).status == 200
    assert await db.fetchrow("select * from users where id = $1", salon.id) == before
    assert await logs(db) == []


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"email": ""}, "email"),
        ({"email": None}, "email"),
        ({"email": "x"}, "email"),
        ({"region": "Atlantis"}, "region"),
        ({"region": 5}, "region"),
        ({"bio": ["x"]}, "bio"),
        ({"bio": "x" * 2001}, "bio"),
        ({"phoneNumber": "x" * 31}, "phoneNumber"),
    ],
)
async def test_bad_changes_leave_no_trace(api: Api, people: People, db: Database, body: dict[str, Any], field: str):
    admin, influencer = await people.admin(), await people.influencer()
    answer = await api.put(f"/admin/users/{influencer.id}", {"bio": "new", **body}, admin)
    assert (answer.status, answer.fields) == (400, {field})
    assert (await api.get(f"/admin/users/{influencer.id}", admin)).data["influencer"]["bio"] == "I show what I wear"
    assert await logs(db) == []


async def test_a_taken_address_changes_nothing(api: Api, people: People, db: Database):
    admin, salon, other = await people.admin(), await people.salon(), await people.influencer()
    answer = await api.put(f"/admin/users/{salon.id}", {"name": "New", "email": other.email}, admin)
    assert (answer.status, answer.code) == (409, "EMAIL_TAKEN")
    assert (await api.get(f"/admin/users/{salon.id}", admin)).data["name"] == salon.name
    assert await logs(db) == []


async def test_concurrent_changes_of_different_fields_both_apply(api: Api, people: People, db: Database):
    admin, salon = await people.admin(), await people.salon()
    await asyncio.gather(
        api.put(f"/admin/users/{salon.id}", {"phoneNumber": "1"}, admin),
        api.put(f"/admin/users/{salon.id}", {"description": "2"}, admin),
        api.put(f"/admin/users/{salon.id}", {"name": "3"}, admin),
    )
    user = (await api.get(f"/admin/users/{salon.id}", admin)).data
    assert (user["salon"]["phoneNo"], user["salon"]["description"], user["name"]) == ("1", "2", "3")
    assert len(await logs(db)) == 3


# -- access ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["admin", "oneself", "deleted", "nobody"])
async def test_admins_and_deleted_accounts_do_not_exist_here(api: Api, people: People, db: Database, target: str):
    admin, other, gone = await people.admin(), await people.admin("Other"), await people.salon("Gone")
    await db.execute("update users set status = 'DELETED', email = null, password_hash = null where id = $1", gone.id)
    user_id = {"admin": other.id, "oneself": admin.id, "deleted": gone.id, "nobody": NOBODY}[target]
    before = await db.fetch("select * from users order by id")
    for method, path, body in (
        ("GET", "", None),
        ("PUT", "", {"name": "Changed"}),
        ("PUT", "", {}),
        ("PATCH", "/suspend", None),
        ("PATCH", "/unsuspend", None),
        ("PATCH", "/activate", None),
    ):
        answer = await api.call(method, f"/admin/users/{user_id}{path}", body, admin)
        assert (answer.status, answer.code) == (404, "NOT_FOUND"), (method, path)
    assert await db.fetch("select * from users order by id") == before
    assert await logs(db) == []
    assert (await api.get("/admin/profile", other)).status == 200
