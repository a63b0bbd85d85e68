"""Onboarding: by JSON and by form, completely or not at all, and only by the right role."""

import asyncio
import json
from typing import Any

import pytest

from db.pool import Database
from server import Instance
from services.errors import VendorUnreachable
from services.files.media import LocalMedia
from settings import Limit
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import People, Person
from tests.helpers.files.forms import BAD_FILES, File, kept_files, name_of, picture, send_form

HANAKO = {"bio": "美容 💄\nと旅", "categories": ["Beauty", "tech"], "region": "Yokohama", "age": 27, "gender": "Female"}
SAKURA = {"businessName": "サロン桜", "description": "Hair\nand nails", "preferredCategories": ["beauty", "FASHION"]}


def as_fields(body: dict[str, Any]) -> list[tuple[str, str | File]]:
    return [(key, json.dumps(value) if isinstance(value, list) else str(value)) for key, value in body.items()]


@pytest.fixture
def newcomer(people: People, db: Database, io_loop) -> Person:
    return io_loop.run_sync(lambda: fresh(people, db, "INFLUENCER"))


@pytest.fixture
def new_salon(people: People, db: Database, io_loop) -> Person:
    return io_loop.run_sync(lambda: fresh(people, db, "SALON"))


async def fresh(people: People, db: Database, role: str) -> Person:
    """Add a user who has only signed up."""
    person = await people.add(role, "Newcomer")
    await db.execute("update users set onboarded_at = null where id = $1", person.id)
    table = "influencers" if role == "INFLUENCER" else "salons"
    await db.execute(f"insert into {table} (user_id, phone_no) values ($1, '03-1234-5678')", person.id)
    return person


async def onboarded(db: Database, person: Person) -> bool:
    return await db.fetchval("select onboarded_at is not null from users where id = $1", person.id)


def check_influencer(answer: Answer, person: Person) -> dict[str, Any]:
    assert answer.status == 200, answer
    assert answer.body["message"]
    assert answer.body["influencer"] == answer.data["influencer"]
    found = answer.body["influencer"]
    assert found["userId"] == person.id
    assert (found["bio"], found["categories"], found["region"]) == (HANAKO["bio"], ["beauty", "technology"], "kanagawa")
    assert (found["age"], found["gender"], found["phoneNo"]) == (27, "FEMALE", "03-1234-5678")
    return found


async def test_json(api: Api, newcomer: Person, db: Database):
    found = check_influencer(await api.post("/onboarding/influencer", HANAKO, newcomer), newcomer)
    assert found["profilePic"] is None
    assert await onboarded(db, newcomer)


async def test_a_form_without_a_picture(api: Api, newcomer: Person, db: Database):
    answer = await send_form(api, "/onboarding/influencer", newcomer, *as_fields(HANAKO), ("phoneNo", ""))
    check_influencer(answer, newcomer)
    assert await onboarded(db, newcomer)


@pytest.mark.parametrize(
    "categories",
    [
        [("categories", '["beauty","tech"]')],
        [("categories", "beauty, tech")],
        [("categories", "beauty"), ("categories", "technology"), ("categories", "tech")],
        [("categories[]", "beauty"), ("categories[]", "tech")],
        [("categories[]", "beauty"), ("categories", "tech")],
    ],
)
async def test_a_form_writes_a_list_in_several_ways(api: Api, newcomer: Person, categories):
    fields = [field for field in as_fields(HANAKO) if field[0] != "categories"]
    check_influencer(await send_form(api, "/onboarding/influencer", newcomer, *fields, *categories), newcomer)


async def test_a_form_with_a_picture(api: Api, newcomer: Person, instance: Instance):
    before = kept_files(instance)
    fields = [*as_fields(HANAKO), ("profilePic", File(picture("JPEG")))]
    found = check_influencer(await send_form(api, "/onboarding/influencer", newcomer, *fields), newcomer)
    assert found["profilePic"].startswith("http://media.example.com/media/influencer-profiles/")
    assert kept_files(instance) - before == {name_of(found["profilePic"])}


async def test_an_empty_file_field_counts_as_no_picture(api: Api, newcomer: Person):
    """Browsers send one for every file input that the user did not use."""
    fields = [*as_fields(HANAKO), ("profilePic", File(b"", "", "application/octet-stream"))]
    assert check_influencer(await send_form(api, "/onboarding/influencer", newcomer, *fields), newcomer)


async def test_again_replaces_the_picture_and_keeps_the_day(api: Api, newcomer: Person, db: Database, instance):
    before = kept_files(instance)
    pictures = []
    days = []
    for colour in ("red", "blue"):
        fields = [*as_fields(HANAKO), ("profilePic", File(picture(colour=colour)))]
        answer = await send_form(api, "/onboarding/influencer", newcomer, *fields)
        pictures.append(answer.data["influencer"]["profilePic"])
        days.append(await db.fetchval("select onboarded_at from users where id = $1", newcomer.id))
    assert pictures[0] != pictures[1]
    assert days[0] == days[1]
    assert kept_files(instance) - before == {name_of(pictures[1])}


async def test_salon(api: Api, new_salon: Person, db: Database):
    more = {
        "region": "東京都",
        "website": "https://sakura.example.jp/hair?x=1",
        "establishedYear": 1999,
        "teamSize": 12,
        "operatingHours": "Mon–Fri 10:00–19:00",
        "instagramHandle": "@sakura",
        "tiktokHandle": "sakura.tt",
        "facebookPage": "facebook.com/sakura",
    }
    answer = await api.post("/onboarding/salon", {**SAKURA, **more}, new_salon)
    assert answer.status == 200, answer
    assert answer.body["salon"] == answer.data["salon"]
    found = answer.body["salon"]
    assert found | more | {"region": "tokyo"} == found | {"region": "tokyo"}
    assert found["businessName"] == "サロン桜"
    assert found["preferredCategories"] == ["beauty", "fashion"]
    assert await onboarded(db, new_salon)


async def test_salon_by_form_with_blanks_and_picture(api: Api, new_salon: Person):
    blank = [(name, " ") for name in ("region", "website", "establishedYear", "teamSize", "operatingHours")]
    file = ("profilePic", File(picture("WEBP"), "サロン.webp", "image/webp"))
    answer = await send_form(api, "/onboarding/salon", new_salon, *as_fields(SAKURA), *blank, file)
    assert answer.status == 200, answer
    found = answer.body["salon"]
    assert found["establishedYear"] is found["website"] is found["region"] is None
    assert "/media/salon-profiles/" in found["profilePic"]


async def test_blanks_in_json_are_absent_too(api: Api, new_salon: Person):
    answer = await api.post("/onboarding/salon", {**SAKURA, "teamSize": "", "region": "", "website": None}, new_salon)
    assert answer.status == 200, answer


async def test_wrong_role(api: Api, people: People, newcomer: Person, new_salon: Person, db: Database):
    admin = await people.admin()
    assert (await api.post("/onboarding/salon", SAKURA, newcomer)).status == 403
    assert (await api.post("/onboarding/influencer", HANAKO, new_salon)).status == 403
    assert (await api.post("/onboarding/influencer", HANAKO, admin)).status == 403
    assert (await api.post("/onboarding/influencer", HANAKO)).status == 401
    assert not await onboarded(db, newcomer)
    assert not await onboarded(db, new_salon)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"bio": ""}, "bio"), ({"bio": "x" * 2001}, "bio"), ({"bio": 7}, "bio"), ({"bio": "a\0b"}, "bio"),
        ({"bio": None}, "bio"), ({"categories": []}, "categories"), ({"categories": "[]"}, "categories"),
        ({"categories": ["beauty"] * 13}, "categories"), ({"categories": ["poetry"]}, "categories.0"),
        ({"categories": "[1"}, "categories"), ({"categories": {"a": 1}}, "categories"),
        ({"categories": [["beauty"]]}, "categories.0"), ({"categories": None}, "categories"),
        ({"region": "Atlantis"}, "region"), ({"region": ""}, "region"), ({"region": ["tokyo"]}, "region"),
        ({"age": 12}, "age"), ({"age": 121}, "age"), ({"age": "27"}, "age"), ({"age": 27.5}, "age"),
        ({"age": 10**40}, "age"), ({"age": True}, "age"), ({"gender": "robot"}, "gender"), ({"gender": ""}, "gender"),
        ({"gender": 1}, "gender"), ({"phoneNo": "1" * 31}, "phoneNo"), ({"phoneNo": "1\n2"}, "phoneNo"),
    ],
)  # fmt: skip
async def test_bad_values_of_an_influencer(
    api: Api, newcomer: Person, db: Database, change: dict[str, Any], field: str
):
    answer = await api.post("/onboarding/influencer", {**HANAKO, **change}, newcomer)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), answer
    assert answer.fields == {field}
    assert not await onboarded(db, newcomer)
    assert await db.fetchval("select bio from influencers where user_id = $1", newcomer.id) is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"businessName": "x" * 121}, "businessName"), ({"businessName": "a\nb"}, "businessName"),
        ({"description": "x" * 5001}, "description"), ({"preferredCategories": []}, "preferredCategories"),
        ({"website": "javascript:alert(1)"}, "website"), ({"website": "ftp://x.jp"}, "website"),
        ({"website": "https://a:b@x.jp"}, "website"), ({"website": "x" * 600}, "website"),
        ({"website": "http://"}, "website"), ({"establishedYear": 1899}, "establishedYear"),
        ({"establishedYear": 3000}, "establishedYear"), ({"teamSize": 0}, "teamSize"),
        ({"teamSize": 2**31}, "teamSize"), ({"facebookPage": "javascript:alert(1)"}, "facebookPage"),
        ({"facebookPage": "http://[::1"}, "facebookPage"), ({"operatingHours": "x" * 501}, "operatingHours"),
        ({"instagramHandle": "x" * 101}, "instagramHandle"), ({"region": "zz"}, "region"),
    ],
)  # fmt: skip
async def test_bad_values_of_a_salon(api: Api, new_salon: Person, db: Database, change: dict[str, Any], field: str):
    answer = await api.post("/onboarding/salon", {**SAKURA, **change}, new_salon)
    assert answer.status == 400, answer
    assert answer.fields == {field}
    assert not await onboarded(db, new_salon)


async def test_every_bad_field_is_listed(api: Api, newcomer: Person):
    answer = await api.post("/onboarding/influencer", {}, newcomer)
    assert answer.fields == {"bio", "categories", "region", "age", "gender"}


@pytest.mark.parametrize("kind", BAD_FILES)
async def test_a_bad_picture_leaves_nothing(api: Api, newcomer: Person, db: Database, instance: Instance, kind: str):
    before = kept_files(instance)
    fields = [*as_fields(HANAKO), ("profilePic", File(BAD_FILES[kind]))]
    answer = await send_form(api, "/onboarding/influencer", newcomer, *fields)
    assert answer.status in (400, 415), answer
    assert not await onboarded(db, newcomer)
    assert await db.fetchval("select bio from influencers where user_id = $1", newcomer.id) is None
    assert kept_files(instance) == before


@pytest.mark.parametrize(
    "fields",
    [
        [("avatar", File(picture()))],
        [("profilePic", File(picture())), ("profilePic", File(picture()))],
        [("profilePic", "me.png")],
    ],
    ids=["wrong field", "twice", "text"],
)
async def test_a_misplaced_picture_leaves_nothing(api: Api, newcomer: Person, db: Database, instance, fields):
    before = kept_files(instance)
    answer = await send_form(api, "/onboarding/influencer", newcomer, *as_fields(HANAKO), *fields)
    assert answer.status == 400, answer
    assert not await onboarded(db, newcomer)
    assert kept_files(instance) == before


async def test_an_incomplete_form(api: Api, newcomer: Person, db: Database):
    fields = [*as_fields(HANAKO), ("profilePic", File(picture()))]
    assert (await send_form(api, "/onboarding/influencer", newcomer, *fields, cut=-10)).status == 400
    assert not await onboarded(db, newcomer)


async def test_a_picture_over_five_mebibytes(api: Api, newcomer: Person, instance: Instance):
    before = kept_files(instance)
    for size in (5 * 2**20 + 1, 6 * 2**20):
        file = ("profilePic", File(picture() + bytes(size - len(picture()))))
        answer = await send_form(api, "/onboarding/influencer", newcomer, *as_fields(HANAKO), file)
        assert answer.status == 413, answer
    assert kept_files(instance) == before


async def test_json_has_its_own_smaller_bound(api: Api, newcomer: Person):
    assert (await api.post("/onboarding/influencer", {**HANAKO, "x": "y" * 300_000}, newcomer)).status == 413


async def test_a_store_that_fails_leaves_nothing(api: Api, newcomer: Person, db: Database, monkeypatch):
    async def save(*_):
        raise VendorUnreachable("Cloudinary", "secret detail")

    monkeypatch.setattr(LocalMedia, "save", save)
    fields = [*as_fields(HANAKO), ("profilePic", File(picture()))]
    answer = await send_form(api, "/onboarding/influencer", newcomer, *fields)
    assert (answer.status, answer.code) == (502, "UPSTREAM_FAILED")
    assert b"secret" not in answer.raw
    assert not await onboarded(db, newcomer)


async def test_a_transaction_that_fails_leaves_no_file(api: Api, newcomer: Person, db: Database, instance: Instance):
    """The profile is deleted before the picture is stored."""
    before = kept_files(instance)
    await db.execute("delete from influencers where user_id = $1", newcomer.id)
    fields = [*as_fields(HANAKO), ("profilePic", File(picture()))]
    assert (await send_form(api, "/onboarding/influencer", newcomer, *fields)).status == 404
    assert not await onboarded(db, newcomer)
    assert kept_files(instance) == before


async def test_a_lock_timeout_leaves_no_file(api: Api, newcomer: Person, db: Database, instance: Instance):
    """PostgreSQL ends the wait: 503, and the stored file is deleted."""
    before = kept_files(instance)
    async with db.transaction() as tx:
        await tx.execute("select from influencers where user_id = $1 for update", newcomer.id)
        fields = [*as_fields(HANAKO), ("profilePic", File(picture()))]
        assert (await send_form(api, "/onboarding/influencer", newcomer, *fields)).status == 503
    assert not await onboarded(db, newcomer)
    assert kept_files(instance) == before


async def test_two_at_once_leave_one_file(api: Api, other_api: Api, newcomer: Person, db: Database, instance):
    before = kept_files(instance)
    answers = await asyncio.gather(
        *(
            send_form(client, "/onboarding/influencer", newcomer, *as_fields(HANAKO), ("profilePic", File(picture())))
            for client in (api, other_api, api, other_api)
        )
    )
    assert [answer.status for answer in answers] == [200] * 4
    url = await db.fetchval("select profile_pic from influencers where user_id = $1", newcomer.id)
    assert kept_files(instance) - before == {name_of(url)}


async def test_only_pictures_count_as_uploads(api: Api, newcomer: Person, limit):
    limit("limit_upload", Limit(1, 3600))
    file = ("profilePic", File(picture()))
    for _ in range(2):
        assert (await api.post("/onboarding/influencer", HANAKO, newcomer)).status == 200
    assert (await send_form(api, "/onboarding/influencer", newcomer, *as_fields(HANAKO), file)).status == 200
    answer = await send_form(api, "/onboarding/influencer", newcomer, *as_fields(HANAKO), file)
    assert (answer.status, answer.code) == (429, "RATE_LIMITED")
