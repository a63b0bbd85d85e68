"""HEAD has no effects on any route, and `acts` of an endpoint is true only if its GET has effects."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode

import pytest

from db.pool import Database
from handlers.http.router import PARAMETER, Route
from handlers.routes import make_table
from tests.helpers.clients import Api
from tests.helpers.factories import CONNECT, People, Person
from tests.helpers.social import SAKURA, begin_oauth, connect, state_of
from tests.vendors.apify import Apify
from tests.vendors.tiktok import TikTok

ROUTES = [route for route in make_table().routes if route.method == "GET"]

LIST_TABLES = "select tablename from pg_tables where schemaname = current_schema() order by 1"
READ_TABLE = "select count(*)::text || md5(coalesce(string_agg(t::text, ',' order by t::text), '')) from {} t"


@dataclass
class Data:
    """Prepare data so that a GET has its effects; each method returns a path and its caller."""

    api: Api
    db: Database
    people: People
    apify: Apify
    tiktok: TikTok

    async def caller(self, route: Route) -> Person | None:
        roles = route.endpoint.access.roles or frozenset()
        if not roles:
            return None
        return await (self.people.influencer() if "INFLUENCER" in roles else self.people.admin())

    async def anything(self, route: Route) -> tuple[str, Person | None]:
        return PARAMETER.sub("anything", route.path), await self.caller(route)

    async def other_user(self, route: Route) -> tuple[str, Person | None]:
        """Add a user who is connected to the caller, without a conversation."""
        salon, caller = await self.people.salon(), await self.caller(route)
        if caller and caller.role != "ADMIN":
            await self.db.execute(CONNECT, salon.id, caller.id)
        return PARAMETER.sub(salon.id, route.path), caller

    async def unread_messages(self, route: Route) -> tuple[str, Person | None]:
        salon, influencer = await self.people.salon(), await self.people.influencer()
        conversation_id = await self.people.connect(salon, influencer)
        await self.api.post(f"/chat/conversations/{conversation_id}/messages", {"content": "Hello"}, salon)
        return PARAMETER.sub(conversation_id, route.path), influencer

    async def account(self, route: Route) -> tuple[str, Person | None]:
        influencer = await self.people.influencer()
        platform = "instagram" if "instagram" in route.path else "tiktok"
        username = f"{SAKURA[:12]}_{platform[:2]}"
        account = await connect(self.api, influencer, username, platform)
        return PARAMETER.sub(account["id"], route.path), influencer

    async def unknown_profile(self, route: Route) -> tuple[str, Person | None]:
        """Return a profile that no test has looked up before."""
        return PARAMETER.sub(f"fan.{len(self.apify.calls)}", route.path), await self.caller(route)

    async def return_from_tiktok(self, route: Route) -> tuple[str, Person | None]:
        auth_url = await begin_oauth(self.api, await self.people.influencer())
        code = self.tiktok.approve(auth_url, SAKURA)
        return f"{route.path}?{urlencode({'code': code, 'state': state_of(auth_url)})}", None

    async def state(self) -> dict[str, Any]:
        """Return the rows of all tables, and the number of calls to vendors."""
        tables = [row["tablename"] for row in await self.db.fetch(LIST_TABLES)]
        rows = {table: await self.db.fetchval(READ_TABLE.format(table)) for table in tables}
        return {**rows, "apify": len(self.apify.calls), "tiktok": len(self.tiktok.calls)}


Scene = Callable[[Data, Route], Awaitable[tuple[str, Person | None]]]

SCENES: dict[str, Scene] = {
    "/api/v1/profile/{user_id}": Data.other_user,
    "/api/v1/connections/status/{user_id}": Data.other_user,
    "/api/v1/chat/conversations/{other_user_id}": Data.other_user,
    "/api/v1/admin/users/{id}": Data.other_user,
    "/api/v1/chat/conversations/{conversation_id}/messages": Data.unread_messages,
    "/api/v1/social-media/instagram/{id}": Data.account,
    "/api/v1/social-media/tiktok/public/{id}": Data.account,
    "/api/v1/social-media/instagram/profile/{username:str}": Data.unknown_profile,
    "/api/v1/social-media/tiktok/profile/{username:str}": Data.unknown_profile,
    "/api/v1/social-media/tiktok/videos/{username:str}": Data.unknown_profile,
    "/api/v1/social-media/tiktok/oauth/callback": Data.return_from_tiktok,
    "/api/v1/social-media/tiktok/callback": Data.return_from_tiktok,
}


@pytest.fixture
def stage(api: Api, db: Database, people: People, apify: Apify, tiktok: TikTok) -> Data:
    return Data(api, db, people, apify, tiktok)


def test_every_scene_belongs_to_a_route():
    assert SCENES.keys() <= {route.path for route in ROUTES}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_head_changes_nothing_and_get_only_where_it_says_so(stage: Data, route: Route):
    path, caller = await SCENES.get(route.path, Data.anything)(stage, route)
    path = path.removeprefix("/api/v1")
    before = await stage.state()
    head = await stage.api.call("HEAD", path, user=caller)
    assert await stage.state() == before
    get = await stage.api.get(path, caller)
    assert head.raw == b""
    if route.endpoint.acts:
        assert get.status in (200, 302) and head.status == 200, (head, get)
        assert await stage.state() != before, "GET does not act, or the scene lacks something"
    else:
        assert head.status == get.status
        assert await stage.state() == before, "GET acts, and its endpoint does not say so"


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
async def test_head_checks_who_asks(stage: Data, route: Route):
    roles = route.endpoint.access.roles
    if roles is None:
        return
    path, _ = await SCENES.get(route.path, Data.anything)(stage, route)
    path = path.removeprefix("/api/v1")
    assert (await stage.api.call("HEAD", path)).status == 401
    for make in (stage.people.influencer, stage.people.salon, stage.people.admin):
        person = await make()
        head = await stage.api.call("HEAD", path, user=person)
        assert (head.status == 403) == (person.role not in roles), (person.role, head)


async def test_head_checks_the_input_of_a_get_that_acts(stage: Data):
    route = next(route for route in ROUTES if route.path.endswith("/messages"))
    path, caller = await stage.unread_messages(route)
    assert (await stage.api.call("HEAD", path.removeprefix("/api/v1") + "?limit=0", user=caller)).status == 400
