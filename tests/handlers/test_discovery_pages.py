"""Pages of discovery: stable while users sign up, complete also if matches are rare, and invalid queries."""

import asyncio
import base64
import json

import pytest

from db.queries.listings import list_listings
from db.queries.search import LATEST
from handlers import discovery
from tests.helpers.clients import Api
from tests.helpers.discovery import add, find, names
from tests.helpers.factories import People, Person


@pytest.fixture
def sakura(people: People, io_loop) -> Person:
    return io_loop.run_sync(lambda: people.salon("Salon Sakura"))


async def walk(api: Api, user: Person, each, **query) -> list[str]:
    """Return all names, page by page; `await each()` runs between the pages."""
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(50):
        answer = await find(api, user, **query, **cursor)
        seen += [hit["user"]["name"] for hit in answer.data]
        await each()
        if not answer.body["pageInfo"]["hasMore"]:
            assert answer.body["pageInfo"]["nextCursor"] is None
            return seen
        cursor = {"cursor": answer.body["pageInfo"]["nextCursor"]}
    raise AssertionError("the list does not end")


@pytest.mark.parametrize("query", [{}, {"sort": "followers"}, {"sort": "engagement"}, {"search": "tie"}])
async def test_pages_stay_stable_while_people_sign_up(api, sakura, people, query):
    # All profiles have the same followers and engagement, so the order is by id.
    there = [(await add(people, f"Tie {n}", handle=f"tie{n}", followers=10, engagement=1.0)).name for n in range(11)]

    async def sign_up():
        await add(people, "Newcomer tie", handle="tienew", followers=10, engagement=1.0)

    seen = await walk(api, sakura, sign_up, limit=3, **query)
    assert sorted(name for name in seen if name != "Newcomer tie") == sorted(there)
    if query.get("sort", "recent") == "recent":
        assert seen == there[::-1]


async def test_numbered_pages(api, people, sakura):
    there = [(await add(people, f"Person {n}")).name for n in range(14)][::-1]
    first = await find(api, sakura, page=1)
    assert [hit["user"]["name"] for hit in first.data] == there[:12]
    assert first.body["pagination"] == {"page": 1, "limit": 12, "total": 14, "totalPages": 2, "hasMore": True}
    second = await find(api, sakura, page=2, search="person")
    assert [hit["user"]["name"] for hit in second.data] == there[12:]
    assert second.body["pagination"]["hasMore"] is False
    assert second.body["pageInfo"] == {"nextCursor": None, "hasMore": False}
    beyond = await find(api, sakura, page=100, limit=100)
    assert (beyond.data, beyond.body["pagination"]["total"]) == ([], 14)
    # A numbered page can be continued by its cursor, and a list without numbers has twenty a page and no total.
    rest = await find(api, sakura, cursor=first.body["pageInfo"]["nextCursor"])
    assert [hit["user"]["name"] for hit in rest.data] == there[12:]
    assert "pagination" not in rest.body
    assert len((await find(api, sakura)).data) == 14


async def test_a_page_is_whole_also_when_few_of_many_match(api, people, sakura, db, monkeypatch):
    """The statement gathers the matches if the walk does not fill the page."""
    short = list_listings("recent", LATEST, "influencers", discovery.INFLUENCER_BODY, walk=3)
    monkeypatch.setitem(discovery.ORDERS, "recent", (short, short, discovery.ORDERS["recent"][2]))
    for n in range(30):
        await add(people, f"Rare {n}" if n % 5 == 0 else f"Common {n}", region="kyoto" if n % 10 == 0 else None)
    rare = [f"Rare {n}" for n in range(25, -1, -5)]
    assert await names(api, sakura, search="rare") == rare
    assert await names(api, sakura, region="kyoto") == ["Rare 20", "Rare 10", "Rare 0"]

    async def nothing():
        await asyncio.sleep(0)

    assert await walk(api, sakura, nothing, search="rare", limit=2) == rare
    assert len(await walk(api, sakura, nothing, limit=4)) == 30
    assert len(await walk(api, sakura, nothing, search="ra", limit=4)) == len(rare)
    paged = [await names(api, sakura, search="rare", limit=2, page=page) for page in (1, 2, 3, 4)]
    assert paged == [rare[:2], rare[2:4], rare[4:], []]


def forge(*key) -> str:
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


ID = "00000000-0000-4000-8000-000000000000"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": "many"}, "limit"),
        ({"limit": [1, 2]}, "limit"),
        ({"page": 0}, "page"),
        ({"page": -1}, "page"),
        ({"page": 101, "limit": 100}, "page"),
        ({"page": 834}, "page"),
        ({"page": 10**30}, "page"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"cursor": "é"}, "cursor"),
        ({"cursor": "A" * 401}, "cursor"),
        ({"cursor": forge("followers", 5, ID)}, "cursor"),
        ({"cursor": forge("recent", 5, ID), "sort": "followers"}, "cursor"),
        ({"cursor": forge("followers", 10**30, ID), "sort": "followers"}, "cursor"),
        ({"cursor": forge("followers", -1, ID), "sort": "followers"}, "cursor"),
        ({"cursor": forge("engagement", "x", ID), "sort": "engagement"}, "cursor"),
        ({"cursor": forge("recent", "0001-01-01T00:00:00+14:00", ID)}, "cursor"),
        ({"cursor": forge("recent", "9999-12-31T23:59:59-14:00", ID)}, "cursor"),
        ({"cursor": forge("recent", "2026-01-01T00:00:00", ID)}, "cursor"),
        ({"cursor": forge("recent", "2026-01-01T00:00:00Z", "x")}, "cursor"),
        ({"cursor": forge("recent", "2026-01-01T00:00:00Z")}, "cursor"),
        ({"cursor": forge()}, "cursor"),
        ({"minFollowers": -1}, "minFollowers"),
        ({"minFollowers": "many"}, "minFollowers"),
        ({"maxFollowers": 2**63}, "maxFollowers"),
        ({"minFollowers": 11, "maxFollowers": 10}, "maxFollowers"),
        ({"sort": "name"}, "sort"),
        ({"sort": "RECENT"}, "sort"),
        ({"categories": "beauty,knitting"}, "categories.1"),
        ({"categories": ["beauty"] * 51}, "categories"),
        ({"region": "atlantis"}, "region"),
        ({"region": ["tokyo", "osaka"]}, "region"),
        ({"search": "x" * 101}, "search"),
        ({"search": "a\nb"}, "search"),
        ({"search": "a\x00b"}, "search"),
        ({"search": ["a", "b"]}, "search"),
    ],
)
async def test_bad_queries(api, sakura, query, field):
    answer = await find(api, sakura, **query)
    assert (answer.status, answer.code) == (400, "VALIDATION_ERROR"), answer
    assert field in answer.fields


async def test_cursors_of_one_list_are_not_for_another(api, people):
    sakura, hanako = await people.salon(), await people.influencer()
    for name in ("One", "Two"):
        await add(people, name)
        await people.salon(name)
    of_influencers = (await find(api, sakura, limit=1)).body["pageInfo"]["nextCursor"]
    of_salons = (await find(api, hanako, "salons", limit=1)).body["pageInfo"]["nextCursor"]
    assert (await find(api, hanako, "salons", cursor=of_influencers)).code == "VALIDATION_ERROR"
    assert (await find(api, sakura, cursor=of_salons)).code == "VALIDATION_ERROR"
    for sort in ("followers", "engagement"):
        assert (await find(api, sakura, cursor=of_influencers, sort=sort)).code == "VALIDATION_ERROR"
