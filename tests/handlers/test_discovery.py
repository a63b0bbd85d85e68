"""Discovery with a few users: which search finds which user, and who may search."""

import asyncio
import json

import pytest

from tests.helpers.discovery import ADD_ACCOUNT, add, find, names
from tests.helpers.factories import People, Person


@pytest.fixture
def sakura(people: People, io_loop) -> Person:
    """Add a salon that searches."""
    return io_loop.run_sync(lambda: people.salon("Salon Sakura"))


# -- search ----------------------------------------------------------------------------------------------------------

BIOS = {
    "Percy": "100% cotton, 50_50 blends and a back\\slash",
    "Plain": "100 cotton, 50x50 blends and a forward/slash",
    "佐藤 美咲": "美容師歴十年。髪の悩みを解決します",
    "Emoji": "カット💇‍♀️と✨輝き✨ only",
    "Émile": "Straße, ΑΘΗΝΑ and ＦＵＬＬ ＷＩＤＴＨ ﾈｲﾙ",
}


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("%", {"Percy"}),
        ("0%", {"Percy"}),
        ("0% c", {"Percy"}),
        ("_", {"Percy"}),
        ("50_50", {"Percy"}),
        ("\\", {"Percy"}),
        ("k\\s", {"Percy"}),
        ("%%", set()),
        ("美", {"佐藤 美咲"}),
        ("美容", {"佐藤 美咲"}),
        ("容師歴", {"佐藤 美咲"}),
        ("容美", set()),
        ("佐藤 美", {"佐藤 美咲"}),
        ("✨", {"Emoji"}),
        ("💇‍♀️", {"Emoji"}),
        ("💇", {"Emoji"}),
        ("✨輝き✨ O", {"Emoji"}),
        ("émile", {"Émile"}),
        ("ÉMILE", {"Émile"}),
        ("αθηνα", {"Émile"}),
        ("full width", {"Émile"}),
        ("ＣＯＴＴＯＮ", {"Percy", "Plain"}),
        ("ネイル", {"Émile"}),
        ("e", {"Percy", "Plain", "Emoji", "Émile"}),
        ("PL", {"Plain"}),
        ("percy 100", set()),  # a text is searched literally, within one field
        ("'; drop table users; --", set()),
        ("x" * 100, set()),
    ],
)
async def test_search(api, people, sakura, search, found):
    for name, bio in BIOS.items():
        await add(people, name, bio)
    assert set(await names(api, sakura, search=search)) == found
    numbered = await find(api, sakura, search=search, page=1)
    assert numbered.body["pagination"]["total"] == len(found)


@pytest.mark.parametrize(
    "text", ["\U0010ffff", "𠮷野家", "ﷺ" * 100, "מספרה", "a\u0301\u0301", "%_\\%_\\", "null", "👨‍👩‍👧‍👦"]
)
async def test_any_text_may_be_sought(api, people, sakura, text):
    await add(people, "Odd", f"before {text} after")
    assert await names(api, sakura, search=text) == ["Odd"]


async def test_search_finds_handles_names_and_changes_of_them(api, people, sakura, db):
    hanako = await add(people, "Hanako", handle="hana.days", followers=10)
    assert await names(api, sakura, search="NA.DA") == ["Hanako"]
    assert await names(api, sakura, search="@hana.days") == ["Hanako"]
    await db.execute("update social_media_accounts set username = 'other'")
    assert await names(api, sakura, search="hana.days") == []
    assert await names(api, sakura, search="oth") == ["Hanako"]
    await db.execute("update social_media_accounts set is_active = false")
    assert await names(api, sakura, search="oth") == []
    await db.execute("update users set name = 'Himiko' where id = $1", hanako.id)
    assert await names(api, sakura, search="hana") == []
    assert await names(api, sakura, search="himi") == ["Himiko"]


async def test_search_in_salons(api, people, db):
    hanako, sakura = await people.influencer(), await people.salon("Owner")
    await db.execute(
        """update salons set description = 'Quiet', instagram_handle = '@omotesando_1', tiktok_handle = 'cut.it',
        facebook_page = 'facebook.com/sakura.page', preferred_categories = '{food}', region = 'kyoto'"""
    )
    for search in ("own", "owner k.k.", "uie", "omotesando_1", "@cut.it", "SAKURA.PAGE"):
        assert await names(api, hanako, "salons", search=search) == ["Owner"], search
    assert await names(api, hanako, "salons", region="kyoto", categories="food,pets") == ["Owner"]
    assert await names(api, hanako, "salons", region="osaka") == []
    salon = (await find(api, hanako, "salons")).data[0]
    assert (salon["businessName"], salon["user"]["id"], salon["tiktokHandle"]) == ("Owner K.K.", sakura.id, "cut.it")


async def test_concurrent_changes_of_one_profile_both_apply(people, db):
    hanako = await add(people, "Hanako")
    for n in range(20):
        await asyncio.gather(
            db.execute("update users set name = $2 where id = $1", hanako.id, f"name {n}"),
            db.execute("update influencers set bio = $2 where user_id = $1", hanako.id, f"bio {n}"),
        )
        assert await db.fetchval("select document from listings") == f"name {n}\nbio {n}"


# -- filters and sorts -----------------------------------------------------------------------------------------------


@pytest.fixture
def many_profiles(io_loop, people):
    async def fill():
        await add(people, "Ai", "", "tokyo", ["beauty", "food"], "ai", 500, 9.5)
        await add(people, "Bo", "", "kanagawa", ["fitness"], "bo", 50_000, 1.25)
        await add(people, "Cy", "", "tokyo", ["technology"], "cy", 3_000_000_000, 0.4)
        await add(people, "Di", "", "JP", ["pets", "food"])

    io_loop.run_sync(fill)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, "Di Cy Bo Ai"),
        ({"sort": "recent"}, "Di Cy Bo Ai"),
        ({"sort": "followers"}, "Cy Bo Ai Di"),
        ({"sort": "engagement"}, "Ai Bo Cy Di"),
        ({"region": "tokyo"}, "Cy Ai"),
        ({"region": "TOKYO"}, "Cy Ai"),
        ({"region": "Yokohama"}, "Bo"),
        ({"region": "東京都"}, "Cy Ai"),
        ({"region": "JP"}, "Di"),
        ({"region": "okinawa"}, ""),
        ({"categories": "food"}, "Di Ai"),
        ({"categories": "food,fitness"}, "Di Bo Ai"),
        ({"categories": ["food", "Tech"]}, "Di Cy Ai"),
        ({"categories": ","}, "Di Cy Bo Ai"),
        ({"minFollowers": 500}, "Cy Bo Ai"),
        ({"minFollowers": 501}, "Cy Bo"),
        ({"maxFollowers": 500}, "Di Ai"),
        ({"maxFollowers": 0}, "Di"),
        ({"minFollowers": 500, "maxFollowers": 50_000}, "Bo Ai"),
        ({"minFollowers": 2**63 - 1}, ""),
        ({"minFollowers": 1, "sort": "engagement", "region": "tokyo"}, "Ai Cy"),
        ({"maxFollowers": 60_000, "sort": "followers", "search": "@"}, "Bo Ai"),
        ({"search": "   "}, "Di Cy Bo Ai"),
        ({"search": "a", "categories": "beauty", "region": "tokyo", "minFollowers": 1, "sort": "followers"}, "Ai"),
    ],
)
async def test_filters_and_sorts(api, sakura, many_profiles, query, found):
    assert await names(api, sakura, **query) == found.split()
    numbered = await find(api, sakura, **query, page=1)
    assert [hit["user"]["name"] for hit in numbered.data] == found.split()
    assert numbered.body["pagination"]["total"] == len(found.split())


async def test_followers_are_those_of_the_highest_active_account(api, people, sakura, db):
    hanako = await add(people, "Hanako", handle="small", followers=100, engagement=7.0)
    big = await db.fetchval(ADD_ACCOUNT, hanako.id, "TIKTOK", "big", 9_000, 2.0)
    assert await names(api, sakura, minFollowers=9_000) == ["Hanako"]
    listed = (await find(api, sakura)).data[0]["socialMediaAccounts"]
    assert [(account["platform"], account["followersCount"]) for account in listed] == [
        ("TIKTOK", 9_000),
        ("INSTAGRAM", 100),
    ]
    assert await db.fetchval("select engagement_rate from listings where user_id = $1", hanako.id) == 2.0
    await db.execute("update social_media_accounts set followers_count = 50, engagement_rate = 3 where id = $1", big)
    assert await db.fetchval("select engagement_rate from listings where user_id = $1", hanako.id) == 7.0
    await db.execute("update social_media_accounts set is_active = false where username = 'small'")
    assert await names(api, sakura, minFollowers=51) == []
    assert [account["username"] for account in (await find(api, sakura)).data[0]["socialMediaAccounts"]] == ["big"]
    await db.execute("delete from social_media_accounts")
    assert await names(api, sakura, maxFollowers=0) == ["Hanako"]


# -- who is listed, and who may search -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        "update users set status = 'SUSPENDED' where id = $1",
        "update users set status = 'DELETED', email = null where id = $1",
        "update users set email_verified_at = null where id = $1",
        "update users set onboarded_at = null where id = $1",
        "delete from influencers where user_id = $1",
        "delete from users where id = $1",
    ],
)
async def test_only_onboarded_verified_active_accounts_are_listed(api, people, sakura, db, change):
    hanako = await add(people, "Hanako", handle="hana", followers=5)
    await add(people, "Other")
    assert await names(api, sakura) == ["Other", "Hanako"]
    await db.execute(change, hanako.id)
    for query in ({}, {"search": "hanako"}, {"search": "hana", "sort": "followers"}, {"region": "tokyo"}):
        assert "Hanako" not in await names(api, sakura, **query)
    assert (await find(api, sakura, page=1)).body["pagination"]["total"] == 1
    assert (await api.get("/discovery/regions", sakura)).data == [{"region": "tokyo", "count": 1}]


async def test_a_reactivated_account_is_listed_again(api, people, sakura, db):
    hanako = await add(people, "Hanako")
    await db.execute("update users set status = 'SUSPENDED' where id = $1", hanako.id)
    await db.execute("update influencers set bio = 'changed meanwhile' where user_id = $1", hanako.id)
    await db.execute("update users set status = 'ACTIVE' where id = $1", hanako.id)
    assert await names(api, sakura, search="meanwhile") == ["Hanako"]


async def test_each_role_finds_the_other_role(api, people):
    hanako, sakura, admin = await people.influencer("Hanako"), await people.salon("Sakura"), await people.admin()
    assert (await find(api, hanako, "influencers")).status == 403
    assert (await find(api, sakura, "salons")).status == 403
    assert await names(api, admin, "influencers") == ["Hanako"]
    assert await names(api, admin, "salons") == ["Sakura"]
    for path in ("influencers", "salons", "regions", "categories"):
        assert (await api.get(f"/discovery/{path}")).status == 401


async def test_addresses_and_connections(api, people, db):
    sakura, admin = await people.salon(), await people.admin()
    sent, received, connected, rejected, outsider = [await people.influencer(f"Person {n}") for n in range(5)]
    asked = {
        sent.id: (await api.post("/connections/request", {"receiverId": sent.id}, sakura)).data["id"],
        received.id: (await api.post("/connections/request", {"receiverId": sakura.id}, received)).data["id"],
        rejected.id: (await api.post("/connections/request", {"receiverId": rejected.id}, sakura)).data["id"],
    }
    await api.patch(f"/connections/requests/{asked[rejected.id]}/reject", user=rejected)
    await people.connect(sakura, connected)
    hits = {hit["user"]["id"]: hit for hit in (await find(api, sakura)).data}
    assert hits[sent.id]["connection"] == {"status": "sent", "requestId": asked[sent.id]}
    assert hits[received.id]["connection"] == {"status": "received", "requestId": asked[received.id]}
    assert hits[connected.id]["connection"]["status"] == "connected"
    for person in (rejected, outsider):
        assert hits[person.id]["connection"] == {"status": "none", "requestId": None}
    assert {hit["user"]["email"] for hit in hits.values()} == {"", connected.email}
    assert hits[connected.id]["user"]["email"] == connected.email
    (salon,) = (await find(api, received, "salons")).data
    assert salon["connection"] == {"status": "sent", "requestId": asked[received.id]}
    seen = {hit["user"]["email"] for hit in (await find(api, admin)).data}
    assert seen == {person.email for person in (sent, received, connected, rejected, outsider)}
    assert "password" not in json.dumps((await find(api, admin)).body)


async def test_facets(api, many_profiles, people, sakura):
    admin, hanako = await people.admin(), await people.influencer("Late")
    assert (await api.get("/discovery/regions", sakura)).data == [
        {"region": "tokyo", "count": 3},
        {"region": "JP", "count": 1},
        {"region": "kanagawa", "count": 1},
    ]
    categories = (await api.get("/discovery/categories", sakura)).data
    assert categories[:3] == [
        {"category": "beauty", "count": 2},
        {"category": "food", "count": 2},
        {"category": "fashion", "count": 1},
    ]
    assert (await api.get("/discovery/categories", hanako)).data == [{"category": "beauty", "count": 1}]
    assert (await api.get("/discovery/regions", admin)).data[0] == {"region": "tokyo", "count": 4}
