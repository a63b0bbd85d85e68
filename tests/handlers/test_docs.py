"""The API description is whole, valid and true."""

import json

from openapi_spec_validator import validate

from handlers.http.endpoint import PUBLIC


async def test_openapi_describes_every_route(instance, api):
    described = (await api.get("/openapi.json")).body
    validate(described)
    for route in instance.app.table.routes:
        if route.path == "/ws" or route.alias_of:
            continue
        operation = described["paths"][route.path.replace(":str}", "}")][route.method.lower()]
        assert operation["summary"], route
        assert ("security" in operation) == (route.endpoint.access is not PUBLIC), route


async def test_every_reference_leads_somewhere(api):
    for path in ("/openapi.json", "/asyncapi.json"):
        described = (await api.get(path)).body
        text = json.dumps(described)
        for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
            assert name in described["components"]["schemas"], name


async def test_the_page_needs_nothing_from_elsewhere(api):
    page = await api.get("/docs")
    assert page.headers["Content-Type"].startswith("text/html")
    assert b"http://" not in page.raw
    assert b"https://" not in page.raw
    for name in ("swagger-ui.css", "swagger-ui-bundle.js", "start.js"):
        assert (await api.get(f"/docs/assets/{name}")).status == 200
    for name in ("..%2f..%2fsettings.py", "%2e%2e", "nothing.js"):
        assert (await api.get(f"/docs/assets/{name}")).status == 404


async def test_answers_are_described_as_they_are(api):
    """What of it tests/helpers/clients.py does not hold every answer to."""
    described = (await api.get("/openapi.json")).body
    calls = {
        "salons": "/api/v1/discovery/salons get",
        "deletion": "/api/v1/notifications/{id} delete",
        "health": "/health get",
        "sync": "/api/v1/social-media/instagram/sync post",
    }
    schemas = {}
    for name, call in calls.items():
        path, method = call.split()
        [content] = described["paths"][path][method]["responses"]["200"]["content"].values()
        schemas[name] = content["schema"]
    assert schemas["salons"]["required"] == ["success", "data"]
    assert schemas["salons"]["properties"].keys() >= {"pageInfo", "pagination", "data"}
    assert schemas["sync"]["properties"]["cacheAge"] == {"type": "integer"}
    assert schemas["deletion"]["properties"]["data"] == {"type": "null"}
    name = schemas["health"]["$ref"].rpartition("/")[2]
    assert set(described["components"]["schemas"][name]["required"]) == {
        "status",
        "message",
        "version",
        "timestamp",
        "uptime",
    }
