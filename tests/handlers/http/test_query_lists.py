"""A list in a query is a comma list, a repeated `name` or a repeated `name[]`, in all list parameters of all routes."""

from typing import Any
from urllib.parse import quote

import pytest

from db.schemas.fields import group_by_name
from handlers.http.router import Route
from handlers.routes import make_table
from tests.helpers.clients import Api
from tests.helpers.discovery import add
from tests.helpers.factories import People

Schema = dict[str, Any]


def items_of(schema: Schema) -> Schema | None:
    """Return the schema of a list's items; None if this is not a list."""
    lists = [part for part in (schema, *schema.get("anyOf", [])) if part.get("type") == "array"]
    return lists[0]["items"] if lists else None


def list_parameters() -> list[tuple[Route, str, list[str]]]:
    """Return each route with its list parameter and two values that the parameter accepts."""
    found = []
    for route in make_table().routes:
        whole = route.endpoint.query.model_json_schema() if route.endpoint.query else {}
        for name, schema in whole.get("properties", {}).items():
            if (items := items_of(schema)) is not None:
                named = whole.get("$defs", {}).get(items.get("$ref", "").rpartition("/")[2], items)
                found.append((route, name, named["enum"][:2]))
    return found


PARAMETERS = list_parameters()
LIKE_COMMAS = {
    "repeated": "{n}={a}&{n}={b}",
    "repeated with brackets": "{n}[]={a}&{n}[]={b}",
    "brackets that are escaped": "{n}%5B%5D={a}&{n}%5B%5D={b}",
    "both": "{n}={a}&{n}[]={b}",
    "commas in brackets": "{n}[]={a},{b}",
}


def test_there_are_lists():
    assert {route.path for route, _, _ in PARAMETERS} >= {"/api/v1/discovery/influencers", "/api/v1/discovery/salons"}


@pytest.mark.parametrize("spelling", LIKE_COMMAS)
@pytest.mark.parametrize(("route", "name", "values"), PARAMETERS, ids=[f"{r.path} {n}" for r, n, _ in PARAMETERS])
async def test_every_spelling_is_read(
    api: Api, people: People, route: Route, name: str, values: list[str], spelling: str
):
    caller = await people.admin()
    path = f"{route.path.removeprefix('/api/v1')}?"
    for number, words in enumerate(([values[0]], [values[1]], ["pets"])):
        await add(people, f"Influencer {number}", categories=words)
    expected = (await api.get(path + f"{name}={values[0]},{values[1]}", caller)).data
    query = LIKE_COMMAS[spelling].format(n=name, a=quote(values[0]), b=quote(values[1]))
    assert (await api.get(path + query, caller)).data == expected
    refused = await api.get(path + LIKE_COMMAS[spelling].format(n=name, a=quote(values[0]), b="no-such-word"), caller)
    assert (refused.status, refused.body["details"][0]["field"]) == (400, f"{name}.1")


async def test_brackets_filter(api: Api, people: People):
    salon = await people.salon()
    for word in ("beauty", "food", "pets"):
        await add(people, word, categories=[word])
    found = (await api.get("/discovery/influencers?categories[]=beauty&categories[]=food", salon)).data
    assert {hit["user"]["name"] for hit in found} == {"beauty", "food"}


def test_values_are_grouped_by_name():
    pairs = [("a", "1"), ("b[]", "2"), ("a[]", "3"), ("c[x]", "4")]
    assert group_by_name(pairs) == {"a": ["1", "3"], "b": "2", "c[x]": "4"}
