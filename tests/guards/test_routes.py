"""Every route × every caller: callers without the right are refused before anything else, and no route is missing."""

import re
from typing import Any
from uuid import uuid4

import pytest
from tornado.web import RequestHandler

from handlers.__main__ import lines
from handlers.http.endpoint import PUBLIC, Endpoint
from handlers.http.router import PARAMETER, Route, Table
from handlers.routes import make_table
from tests.guards.product import ROOT

TABLE = make_table()
ROUTES = [route for route in TABLE.routes if route.path != "/ws"]
CALLERS = ("nobody", "influencer", "salon", "admin", "suspended", "deleted")

# A permitted caller can still get an error, because the resource does not exist or the body is invalid.
REFUSALS = {"nobody": 401, "suspended": 401, "deleted": 401}


def fill(path: str) -> str:
    """Return a path whose resource does not exist, so that a request has no effect."""
    return PARAMETER.sub(lambda match: "instagram" if match[2] else str(uuid4()), path)


async def person(people, db, kind: str):
    if kind == "nobody":
        return None
    someone = await {"salon": people.salon, "admin": people.admin}.get(kind, people.influencer)()
    if kind == "suspended":
        await db.execute("update users set status = 'SUSPENDED' where id = $1", someone.id)
    if kind == "deleted":
        await db.execute("update users set status = 'DELETED', email = null where id = $1", someone.id)
    return someone


@pytest.mark.parametrize("kind", CALLERS)
async def test_matrix(api, people, db, kind: str):
    caller = await person(people, db, kind)
    checked = 0
    for route in ROUTES:
        access = route.endpoint.access
        if access is PUBLIC or (access.roles and caller and caller.role in access.roles and kind not in REFUSALS):
            continue
        answer = await api.call(route.method, fill(route.path).removeprefix("/api/v1"), {}, caller)
        assert answer.status == REFUSALS.get(kind, 403), (route.method, route.path, answer)
        checked += 1
    assert checked > 10


async def test_a_permitted_role_is_not_refused(api, people):
    """A role that the endpoint names is not refused because of its role."""
    for kind in ("influencer", "salon", "admin"):
        for route in ROUTES:
            # One caller per route, because some routes end the caller's session.
            caller = await getattr(people, kind)()
            if not route.endpoint.access.roles or caller.role not in route.endpoint.access.roles:
                continue
            answer = await api.call(route.method, fill(route.path).removeprefix("/api/v1"), {}, caller)
            assert answer.status not in (401, 405, 500), (route.method, route.path, kind, answer)
            assert answer.status != 403 or answer.body["error"] != "You are not allowed to do this", (route, kind)


def test_a_method_that_names_no_access_does_not_start():
    class HandlerWithoutAccess(RequestHandler):
        async def get(self):
            pass

    with pytest.raises(TypeError, match="does not declare its access"):
        Table([("/careless", HandlerWithoutAccess)], RequestHandler)


def test_make_routes_prints_where_each_handler_is():
    printed = list(zip(sorted(TABLE.routes, key=lambda route: route.path), lines(TABLE.routes), strict=True))
    for route, line in printed:
        place = re.search(r" (\w+)\.(\w+) +(\S+\.py):(\d+)", line)
        assert place, line
        source = (ROOT / place[3]).read_text().split("\n")
        following = "\n".join(source[int(place[4]) - 1 :])
        method = re.search(r"^    async def (\w+)\(", following, re.MULTILINE)
        assert method and method[1] == place[2], line
        assert f"class {place[1]}" in "\n".join(source), line
        assert line.startswith(f"{route.method} ") and f" {route.path} " in line
    alias = next(line for _, line in printed if line.startswith("POST   /api/v1/connections/send "))
    assert "AskToConnect.post" in alias and alias.endswith("  = POST /api/v1/connections/request")


def test_fixed_segments_go_before_parameters_and_ids_are_ids():
    def handler(name: str) -> type[RequestHandler]:
        return type(name, (RequestHandler,), {})

    table = Table([], handler("NotFound"))
    for path in ("/a/{id}", "/a/b", "/a/{id}/c", "/x/{name:str}"):
        table.add(Route("GET", path, handler(path), Endpoint(PUBLIC)))

    def find(path: str) -> str | None:
        routes, _ = table.root.find(path.strip("/").split("/"), [])
        return routes["GET"].path if routes else None

    some_id = str(uuid4())
    assert find("/a/b") == "/a/b"
    assert find(f"/a/{some_id}") == find(f"/a/{some_id.upper()}") == "/a/{id}"
    assert find(f"/a/{some_id}/c") == "/a/{id}/c"
    assert find("/x/anything.at-all") == "/x/{name:str}"
    for path in ("/a/no-uuid", f"/a/{some_id}x", "/a", "/", "/a/b/c", "/x/", f"/a/{some_id}/c/d", f"/a/{{{some_id}}}"):
        assert find(path) is None, path


def test_every_body_and_query_has_bounds():
    """Every text and every list that clients send has a maximum length."""
    unbounded = []
    for route in ROUTES:
        for model in (route.endpoint.body, route.endpoint.query):
            if model:
                unbounded += [f"{route.path}: {name}" for name in find_unbounded(model.model_json_schema())]
    assert unbounded == []


def find_unbounded(schema: dict[str, Any], name: str = "") -> list[str]:
    found = []
    if schema.get("type") == "string" and not {"maxLength", "enum", "const", "pattern"} & schema.keys():
        found.append(name)
    if schema.get("type") == "array" and "maxItems" not in schema:
        found.append(f"{name}[]")
    for child, part in (schema.get("properties", {}) | schema.get("$defs", {})).items():
        found += find_unbounded(part, child)
    for part in schema.get("anyOf", []) + [schema[key] for key in ("items",) if key in schema]:
        found += find_unbounded(part, name)
    return found
