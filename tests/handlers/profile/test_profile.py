"""Profiles: a user reads and changes the own profile and picture, and views other profiles."""

import asyncio
from typing import Any

import pytest

from db.pool import Database
from server import Instance
from settings import Limit
from tests.helpers.clients import Api
from tests.helpers.factories import People, Person
from tests.helpers.files.forms import BAD_FILES, File, kept_files, name_of, picture, send_form

ADD_ACCOUNTS = """
    insert into social_media_accounts (influencer_id, platform, username, followers_count, is_active, access_token,
        verification_code)
    select i.id, p.platform, 'hanako', 4200, p.platform = 'TIKTOK', '\\x00', 'SECRET-CODE'
    from influencers i, unnest(array['INSTAGRAM', 'TIKTOK']) p(platform) where i.user_id = $1
"""


async def test_me_of_an_influencer(api: Api, people: People, db: Database):
    hanako, salon, other = await people.influencer("花子 🌸"), await people.salon(), await people.salon()
    await people.connect(hanako, salon)
    await db.execute("insert into connection_requests (sender_id, receiver_id) values ($1, $2)", other.id, hanako.id)
    await db.execute(ADD_ACCOUNTS, hanako.id)
    me = (await api.get("/profile/me", hanako)).data
    assert (me["id"], me["name"], me["email"], me["role"]) == (hanako.id, "花子 🌸", hanako.email, "INFLUENCER")
    assert me["salon"] is None
    assert me["influencer"]["categories"] == ["beauty", "fashion"]
    assert [(a["platform"], a["followersCount"]) for a in me["influencer"]["socialMediaAccounts"]] == [("TIKTOK", 4200)]
    assert me["stats"] == {"sentRequests": 1, "receivedRequests": 1, "connections": 1}


async def test_me_of_a_salon_and_of_an_admin(api: Api, people: People):
    salon, admin = await people.salon(), await people.admin()
    me = (await api.get("/profile/me", salon)).data
    assert me["influencer"] is None
    assert me["salon"]["businessName"] == "Salon Sakura K.K."
    assert me["stats"] == {"sentRequests": 0, "receivedRequests": 0, "connections": 0}
    me = (await api.get("/profile/me", admin)).data
    assert me["influencer"] is me["salon"] is None
    assert (await api.get("/profile/me")).status == 401


# --- changes ---


async def test_a_change_changes_what_it_names(api: Api, people: People):
    hanako = await people.influencer()
    before = (await api.get("/profile/me", hanako)).data
    answer = await api.put("/profile/update", {"bio": "Neu", "region": "札幌市", "gender": "other"}, hanako)
    after = answer.data
    assert (after["influencer"]["bio"], after["influencer"]["region"]) == ("Neu", "hokkaido")
    assert after["influencer"]["gender"] == "NON_BINARY"
    assert after["influencer"]["age"] == before["influencer"]["age"]
    assert after["name"] == before["name"]
    assert after == (await api.get("/profile/me", hanako)).data


async def test_blanks_mean_unchanged_in_every_field(api: Api, people: People):
    hanako, salon = await people.influencer(), await people.salon()
    blank = {
        "name": "", "bio": " ", "categories": [], "region": "", "age": "", "gender": "", "phoneNo": [],
        "businessName": "", "description": "", "preferredCategories": "", "website": "", "establishedYear": "",
        "teamSize": "", "operatingHours": [], "instagramHandle": "", "tiktokHandle": "", "facebookPage": "",
        "profilePic": "", "socialMediaAccounts": [], "unknown": "",
    }  # fmt: skip
    for person in (hanako, salon):
        before = (await api.get("/profile/me", person)).data
        for body in (blank, {}, {**blank, "categories": [""], "preferredCategories": "[]"}):
            answer = await api.put("/profile/update", body, person)
            assert answer.data == before
        answer = await send_form(
            api,
            "/profile/update",
            person,
            ("bio", ""),
            ("categories", " [ ] "),
            ("name", " "),
            ("profilePic", " "),
            method="PUT",
        )
        assert answer.data == before
    assert (await api.put("/profile/update", None, hanako)).status == 200


async def test_null_clears_but_not_the_name(api: Api, people: People):
    hanako, salon = await people.influencer(), await people.salon()
    nothing = {"bio": None, "categories": None, "region": None, "age": None, "gender": None, "phoneNo": None}
    found = (await api.put("/profile/update", nothing, hanako)).data["influencer"]
    assert (found["bio"], found["categories"], found["age"], found["gender"]) == (None, [], None, None)
    found = (await api.put("/profile/update", {"businessName": None, "website": None}, salon)).data["salon"]
    assert (found["businessName"], found["description"]) == (None, "Hair and nails")
    answer = await api.put("/profile/update", {"name": None, "bio": "never"}, hanako)
    assert (answer.status, answer.fields) == (400, {"name"})
    assert (await api.get("/profile/me", hanako)).data["influencer"]["bio"] is None


async def test_a_salon_changes_all_of_its_fields(api: Api, people: People):
    salon = await people.salon()
    changes = {
        "businessName": "新しい名前", "description": "Line one\nline two 💇", "preferredCategories": ["food", "pets"],
        "region": "JP", "website": "http://neu.example.jp", "establishedYear": 1900, "teamSize": 1, "phoneNo": "+81 3",
        "operatingHours": "always", "instagramHandle": "a", "tiktokHandle": "b", "facebookPage": "https://fb.com/c",
    }  # fmt: skip
    answer = await api.patch("/profile/update", {**changes, "name": "Neu", "bio": "not mine"}, salon)
    assert answer.data["name"] == "Neu"
    assert answer.data["salon"] | changes == answer.data["salon"]


async def test_a_form_with_numbers_lists_and_a_picture(api: Api, people: People, instance: Instance):
    hanako = await people.influencer()
    before = kept_files(instance)
    answer = await send_form(
        api,
        "/profile/update",
        hanako,
        ("age", "31"),
        ("categories", '["Tech"]'),
        ("name", "花子"),
        ("bio", ""),
        ("profilePic", File(picture())),
        method="PUT",
    )
    found = answer.data["influencer"]
    assert (found["age"], found["categories"], found["bio"]) == (31, ["technology"], "I show what I wear")
    assert answer.data["name"] == "花子"
    assert kept_files(instance) - before == {name_of(found["profilePic"])}
    # Sending the values that were read changes nothing; null removes a value.
    answer = await api.put("/profile/update", {"profilePic": found["profilePic"], "bio": "x"}, hanako)
    assert answer.data["influencer"]["profilePic"] == found["profilePic"]
    answer = await api.put("/profile/update", {"profilePic": "https://evil.example.com/x.png"}, hanako)
    assert answer.data["influencer"]["profilePic"] == found["profilePic"]
    answer = await api.put("/profile/update", {"profilePic": None}, hanako)
    assert answer.data["influencer"]["profilePic"] is None
    assert kept_files(instance) == before


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "x" * 101}, "name"), ({"name": 5}, "name"), ({"name": "a\nb"}, "name"), ({"age": 5}, "age"),
        ({"name": "\u200b\ufeff\u202e"}, "name"), ({"name": "\u3164 \u2800"}, "name"), ({"bio": "a\0b"}, "bio"),
        ({"age": "x"}, "age"), ({"categories": ["x"]}, "categories.0"), ({"categories": "beauty,x"}, "categories.1"),
        ({"categories": ["beauty"] * 13}, "categories"), ({"categories": "["}, "categories"),
        ({"bio": {}}, "bio"), ({"bio": "x" * 2001}, "bio"),
        ({"region": "xx"}, "region"), ({"gender": []}, None), ({"gender": ["Male"]}, "gender"),
    ],
)  # fmt: skip
async def test_bad_changes(api: Api, people: People, change: dict[str, Any], field: str | None):
    hanako = await people.influencer()
    before = (await api.get("/profile/me", hanako)).data
    answer = await api.put("/profile/update", {"region": "osaka", **change}, hanako)
    if field is None:  # an empty list means unchanged
        assert answer.status == 200
        return
    assert answer.status == 400, answer
    assert field in answer.fields
    assert (await api.get("/profile/me", hanako)).data == before


async def test_an_admin_has_a_name_and_no_profile(api: Api, people: People, instance: Instance):
    admin = await people.admin()
    before = kept_files(instance)
    assert (await api.put("/profile/update", {"name": "Root", "bio": "x"}, admin)).data["name"] == "Root"
    answer = await send_form(api, "/profile/update", admin, ("profilePic", File(picture())), method="PUT")
    assert answer.status == 403
    assert kept_files(instance) == before


async def test_changes_of_different_fields_at_once_all_count(api: Api, other_api: Api, people: People):
    salon = await people.salon()
    changes = [{"website": "http://a.jp"}, {"teamSize": 7}, {"operatingHours": "never"}, {"description": "neu"}]
    clients = [api, other_api, api, other_api]
    await asyncio.gather(*(c.put("/profile/update", change, salon) for c, change in zip(clients, changes, strict=True)))
    found = (await api.get("/profile/me", salon)).data["salon"]
    for change in changes:
        assert found | change == found


# --- the picture ---


async def upload(api: Api, person: Person, *files: File, path: str = "/profile/upload-picture"):
    return await send_form(api, path, person, *[("profilePic", file) for file in files])


@pytest.mark.parametrize("path", ["/profile/upload-picture", "/profile/upload-profile-picture"])
async def test_a_new_picture_replaces_the_old_one(api: Api, people: People, instance: Instance, path: str):
    salon = await people.salon()
    before = kept_files(instance)
    first = (await upload(api, salon, File(picture()), path=path)).data["profilePic"]
    second = (await upload(api, salon, File(picture("JPEG")), path=path)).data["profilePic"]
    assert first != second
    assert second.startswith("http://media.example.com/media/salon-profiles/")
    assert second.endswith(".jpg")  # by content, not by name
    assert kept_files(instance) - before == {name_of(second)}
    assert (await api.get("/profile/me", salon)).data["salon"]["profilePic"] == second


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_bad_pictures_keep_the_old_one(api: Api, people: People, instance: Instance, kind: str):
    salon = await people.salon()
    url = (await upload(api, salon, File(picture()))).data["profilePic"]
    before = kept_files(instance)
    answer = await upload(api, salon, File(BAD_FILES[kind]))
    assert answer.status in (400, 415), answer
    assert kept_files(instance) == before
    assert (await api.get("/profile/me", salon)).data["salon"]["profilePic"] == url


async def test_invalid_pictures(api: Api, people: People, instance: Instance):
    salon, admin = await people.salon(), await people.admin()
    before = kept_files(instance)
    assert (await upload(api, salon)).fields == {"profilePic"}
    assert (await send_form(api, "/profile/upload-picture", salon, ("picture", File(picture())))).status == 400
    assert (await send_form(api, "/profile/upload-picture", salon, ("profilePic", "x"))).status == 400
    assert (await upload(api, salon, File(picture()), File(picture()))).status == 400
    assert (await api.post("/profile/upload-picture", {"profilePic": "x"}, salon)).status == 415
    assert (await api.post("/profile/upload-picture", None, salon)).status == 415
    assert (await upload(api, salon, File(b"%PDF-1.7\n%%EOF"))).status == 415
    assert (await upload(api, admin, File(picture()))).status == 403
    assert kept_files(instance) == before


async def test_five_mebibytes_are_accepted_and_one_byte_more_is_not(api: Api, people: People):
    salon = await people.salon()
    padded = picture() + bytes(5 * 2**20 - len(picture()))
    assert (await upload(api, salon, File(padded))).status == 200
    assert (await upload(api, salon, File(padded + b"\0"))).status == 413


async def test_two_uploads_at_once_leave_one_file(api: Api, other_api: Api, people: People, instance: Instance):
    salon = await people.salon()
    before = kept_files(instance)
    answers = await asyncio.gather(
        *(upload(client, salon, File(picture())) for client in (api, other_api, api, other_api))
    )
    assert [answer.status for answer in answers] == [200] * 4
    url = (await api.get("/profile/me", salon)).data["salon"]["profilePic"]
    assert url in [answer.data["profilePic"] for answer in answers]
    assert kept_files(instance) - before == {name_of(url)}


async def test_uploads_are_limited(api: Api, people: People, limit):
    limit("limit_upload", Limit(1, 3600))
    salon = await people.salon()
    assert (await upload(api, salon, File(picture()))).status == 200
    answer = await upload(api, salon, File(picture()))
    assert answer.status == 429
    assert int(answer.headers["Retry-After"]) > 0


# --- views by other users ---


async def test_others_see_a_profile_without_addresses(api: Api, people: People, db: Database):
    hanako, salon = await people.influencer(), await people.salon()
    await db.execute(ADD_ACCOUNTS, hanako.id)
    await db.execute("update influencers set phone_no = '080-SECRET' where user_id = $1", hanako.id)
    answer = await api.get(f"/profile/{hanako.id}", salon)
    seen = answer.data
    assert (seen["name"], seen["email"], seen["salon"], seen["connectionStatus"]) == ("Hanako", "", None, None)
    assert seen["influencer"]["bio"] == "I show what I wear"
    assert [account["username"] for account in seen["influencer"]["socialMediaAccounts"]] == ["hanako"]
    assert b"SECRET" not in answer.raw
    assert hanako.email.encode() not in answer.raw
    assert (await api.get(f"/profile/{hanako.id.upper()}", salon)).status == 200


async def test_a_salon_shows_where_when_and_how_many(api: Api, people: People, db: Database):
    hanako, salon = await people.influencer(), await people.salon()
    await db.execute(
        "update salons set established_year = 1987, team_size = 4, operating_hours = '10–19' where user_id = $1",
        salon.id,
    )
    seen = (await api.get(f"/profile/{salon.id}", hanako)).data["salon"]
    assert (seen["region"], seen["establishedYear"], seen["teamSize"]) == ("tokyo", 1987, 4)
    assert seen["operatingHours"] == "10–19"


async def test_the_address_is_for_oneself_the_connected_and_admins(api: Api, people: People, db: Database):
    hanako, partner, admin = await people.influencer(), await people.salon(), await people.admin()
    asking, rejected = await people.salon(), await people.salon()
    await people.connect(partner, hanako)
    add = "insert into connection_requests (sender_id, receiver_id, status) values ($1, $2, $3) returning id"
    asked_id = await db.fetchval(add, asking.id, hanako.id, "PENDING")
    await db.fetchval(add, hanako.id, rejected.id, "REJECTED")
    seen = {
        who.id: (await api.get(f"/profile/{hanako.id}", who)).data for who in (hanako, partner, admin, asking, rejected)
    }
    assert [seen[who.id]["email"] for who in (hanako, partner, admin)] == [hanako.email] * 3
    assert [seen[who.id]["email"] for who in (asking, rejected)] == ["", ""]
    status = {who.id: seen[who.id]["connectionStatus"] for who in (hanako, partner, admin, asking, rejected)}
    assert status[hanako.id] is status[admin.id] is None
    assert (status[partner.id]["status"], status[partner.id]["isSender"]) == ("ACCEPTED", True)
    assert status[asking.id] == {"id": asked_id, "status": "PENDING", "isSender": True}
    assert (status[rejected.id]["status"], status[rejected.id]["isSender"]) == ("REJECTED", False)


async def test_accounts_that_do_not_exist_are_not_found(api: Api, people: People, db: Database):
    salon, admin = await people.salon(), await people.admin()
    gone, suspended, unverified = [await people.influencer() for _ in range(3)]
    await db.execute("update users set status = 'DELETED', email = null where id = $1", gone.id)
    await db.execute("update users set status = 'SUSPENDED' where id = $1", suspended.id)
    await db.execute("update users set email_verified_at = null where id = $1", unverified.id)
    for user_id in (gone.id, suspended.id, unverified.id, admin.id, "00000000-0000-4000-8000-000000000000", "x"):
        assert (await api.get(f"/profile/{user_id}", salon)).status == 404, user_id
    assert await db.fetchval("select count(*) from notifications") == 0
    assert (await api.get(f"/profile/{admin.id}", admin)).status == 200


async def views(db: Database, person: Person) -> list[str]:
    rows = await db.fetch("select message from notifications where user_id = $1 and type = 'PROFILE_VIEW'", person.id)
    return [row["message"] for row in rows]


async def test_a_view_is_notified_once_a_day(api: Api, other_api: Api, people: People, db: Database):
    hanako, salon = await people.influencer(), await people.salon()
    socket, outsider = await other_api.socket(hanako), await api.socket(await people.influencer())
    await asyncio.gather(*(client.get(f"/profile/{hanako.id}", salon) for client in [api, other_api] * 4))
    received = await socket.expect("notification_received")
    assert received["notification"]["type"] == "PROFILE_VIEW"
    assert received["notification"]["userId"] == hanako.id
    assert received["unreadCount"] == 1
    assert await views(db, hanako) == ["Salon Sakura viewed your profile"]
    # Also if the first notification was deleted; the next day there is a new one.
    await db.execute("delete from notifications")
    await api.get(f"/profile/{hanako.id}", salon)
    assert await views(db, hanako) == []
    await db.execute("update profile_views set viewed_on = viewed_on - 1")
    await api.get(f"/profile/{hanako.id}", salon)
    assert len(await views(db, hanako)) == 1
    await api.get(f"/profile/{hanako.id}", await people.salon())
    assert len(await views(db, hanako)) == 2
    for _ in range(2):
        await socket.expect("notification_received")
    assert await socket.received_names() == ["notification_received"] * 3
    assert await outsider.received_names() == []
    await socket.close()
    await outsider.close()


async def test_only_views_by_the_other_role_are_notified(api: Api, people: People, db: Database):
    hanako, other = await people.influencer(), await people.influencer()
    salon, second, admin = await people.salon(), await people.salon(), await people.admin()
    for viewer, viewed in [(hanako, hanako), (other, hanako), (admin, hanako), (second, salon), (salon, salon)]:
        assert (await api.get(f"/profile/{viewed.id}", viewer)).status == 200
    assert await db.fetchval("select count(*) from notifications") == 0
    await api.get(f"/profile/{salon.id}", hanako)
    assert len(await views(db, salon)) == 1
