"""Country codes are stored and returned in upper case, prefectures in lower case, whatever case requests use."""

from typing import Any

import pytest

from db.pool import Database
from handlers.routes import make_table
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD, People

WRITTEN = [("jp", "JP"), ("JP", "JP"), ("ｊｐ", "JP"), ("Japan", "JP"), ("Tokyo", "tokyo"), ("OSAKA", "osaka")]
ABOUT = {"bio": "Hello", "categories": ["beauty"], "age": 30, "gender": "male"}
SHOP = {"businessName": "Sakura", "description": "Hair", "preferredCategories": ["beauty"]}
NEWCOMER = {"name": "New", "email": "new@example.com", "password": PASSWORD, "role": "SALON"}

# Every route that accepts a region, with the other required fields.
WRITERS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "onboarding of influencers": ("POST", "/onboarding/influencer", ABOUT),
    "onboarding of salons": ("POST", "/onboarding/salon", SHOP),
    "own profile": ("PUT", "/profile/update", {}),
    "a new account": ("POST", "/admin/users", NEWCOMER),
    "an account": ("PUT", "/admin/users/{id}", {}),
}
FILTERED = {"/api/v1/discovery/influencers", "/api/v1/discovery/salons"}


def test_all_routes_with_a_region_are_listed():
    routes = [route for route in make_table().routes if route.alias_of is None]
    taken = {(r.method, r.path) for r in routes if "region" in getattr(r.endpoint.body, "model_fields", {})}
    assert taken == {(method, f"/api/v1{path}") for method, path, _ in WRITERS.values()}
    assert {r.path for r in routes if "region" in getattr(r.endpoint.query, "model_fields", {})} == FILTERED


async def stored(db: Database) -> list[str]:
    """Return the regions of all profiles and listings."""
    rows = await db.fetch(
        "select region from influencers union all select region from salons union all select region from listings"
    )
    return [row["region"] for row in rows if row["region"] is not None]


@pytest.mark.parametrize(("written", "region"), WRITTEN)
@pytest.mark.parametrize("writer", WRITERS)
async def test_a_region_is_stored_in_its_case(
    api: Api, people: People, db: Database, writer: str, written: str, region: str
):
    method, path, body = WRITERS[writer]
    person = await people.salon() if writer == "onboarding of salons" else await people.influencer()
    await db.execute("update influencers set region = null")
    await db.execute("update salons set region = null")
    caller = await people.admin() if path.startswith("/admin") else person
    answer = await api.call(method, path.format(id=person.id), {**body, "region": written}, caller)
    assert answer.status in (200, 201), answer
    assert set(await stored(db)) == {region}


@pytest.mark.parametrize("written", ["jp", "JP", "Ｊp", "japan"])
async def test_a_region_is_returned_and_found(api: Api, people: People, db: Database, written: str):
    hanako, sakura, admin = await people.influencer(), await people.salon(), await people.admin()
    for person in (hanako, sakura):
        assert (await api.put("/profile/update", {"region": "jp"}, person)).status == 200
    assert (await api.get("/profile/me", hanako)).data["influencer"]["region"] == "JP"
    assert (await api.get("/profile/me", sakura)).data["salon"]["region"] == "JP"
    assert (await api.get(f"/profile/{sakura.id}", hanako)).data["salon"]["region"] == "JP"
    assert (await api.get(f"/profile/{hanako.id}", sakura)).data["influencer"]["region"] == "JP"
    assert (await api.get(f"/admin/users/{hanako.id}", admin)).data["influencer"]["region"] == "JP"
    for what in ("influencers", "salons"):
        [found] = (await api.get(f"/discovery/{what}?region={written}", admin)).data
        assert found["region"] == "JP"
    assert (await api.get("/discovery/regions", admin)).data == [{"region": "JP", "count": 2}]
