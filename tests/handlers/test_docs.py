"""The API description is complete and valid, and agrees with the server."""

import html
import json
import re
from urllib.parse import urljoin

import pytest
import websockets
from tornado.httpclient import HTTPRequest

from db.pool import DatabaseUnavailable
from handlers.docs import STATIC
from tests.helpers.clients import SocketClient


async def test_every_reference_has_a_target(api):
    for path in ("/openapi.json", "/asyncapi.json"):
        described = (await api.get(path)).body
        text = json.dumps(described)
        for name in {part.split('"')[0] for part in text.split('"#/components/schemas/')[1:]}:
            assert name in described["components"]["schemas"], name


PAGES = ("/docs", "/docs/realtime")
DESCRIPTIONS = ("/openapi.json", "/asyncapi.json")


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_loads_nothing_from_other_hosts(api, path):
    page = await api.get(path)
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy
    addresses = re.findall(rb'(?:src|href)="([^"#]+)"', page.raw)
    assert len(addresses) > 6
    for address in addresses:
        found = await api.get(urljoin(path, address.decode()))
        assert found.status == 200, address
    for name in ("..%2f..%2fsettings.py", "%2e%2e", "nothing.js", "reference.html"):
        assert (await api.get(f"/docs/assets/{name}")).status == 404


async def test_the_modules_of_a_page_are_served(api):
    names = [path.name for path in STATIC.iterdir() if path.suffix == ".js"]
    assert len(names) > 8
    for name in names:
        module = await api.get(f"/docs/assets/{name}")
        assert (module.status, module.headers["Content-Type"]) == (200, "text/javascript; charset=utf-8")
        for imported in re.findall(rb'from "\./([^"]+)"', module.raw):
            assert imported.decode() in names
        # The sentence about a wrong base URL has an example; the domain is reserved.
        assert not re.search(rb"https?://(?!www\.w3\.org/|api\.example\.com\.)[a-z]", module.raw), name


async def test_an_unchanged_file_is_not_sent_again(api):
    first = await api.get("/docs/assets/dom.js")
    request = HTTPRequest(f"{api.base}/docs/assets/dom.js", headers={"If-None-Match": first.headers["Etag"]})
    assert (await api.http.fetch(request, raise_error=False)).code == 304


@pytest.mark.parametrize("path", ["/docs", "/docs/", "/docs/realtime", "/docs/realtime/"])
async def test_a_page_works_under_the_prefix_of_a_proxy(api, path):
    """The proxy removes the prefix, so the page finds its files only by relative addresses."""
    page = await api.get(path)
    [style] = re.findall(rb'href="([^"]+pages.css)"', page.raw)
    assert (
        urljoin(f"https://example.com/encer{path}", style.decode()) == "https://example.com/encer/docs/assets/pages.css"
    )


async def test_the_start_leads_to_the_page(api):
    start = await api.get("/")
    assert (start.status, start.headers["Location"]) == (302, "docs")


async def test_production_shows_nothing_unless_it_is_asked_to(api, instance, monkeypatch):
    monkeypatch.setattr(instance.settings, "app_env", "production")
    for path in ("/", *PAGES, *DESCRIPTIONS, "/docs/assets/dom.js"):
        refused = await api.get(path)
        assert (refused.status, refused.code) == (404, "NOT_FOUND"), path
    monkeypatch.setattr(instance.settings, "docs_enabled", True)
    for path in (*PAGES, *DESCRIPTIONS):
        assert (await api.get(path)).status == 200, path
    assert (await api.get("/")).status == 404


@pytest.mark.parametrize(
    ("path", "accept", "status"),
    [
        ("/openapi.json", "application/xml", 406),
        ("/asyncapi.json", "application/yaml, text/html;q=0.9", 406),
        ("/openapi.json", "application/json;q=0", 406),
        ("/docs", "application/json", 406),
        ("/openapi.json", "text/html, */*;q=0.1", 200),
        ("/asyncapi.json", "application/vnd.aai.asyncapi+json", 200),
        ("/docs/realtime", "text/*", 200),
        ("/docs/assets/dom.js", "image/png", 200),
    ],
)
async def test_a_format_that_does_not_exist_is_refused_with_a_sentence(api, path, accept, status):
    answer = await api.get(path, headers={"Accept": accept})
    assert answer.status == status
    if status == 406:
        assert answer.code == "NOT_ACCEPTABLE"
        assert "JSON" in answer.body["error"] or "/openapi.json" in answer.body["error"]


async def test_the_pages_offer_the_people_of_the_seed(api, instance, db, people, monkeypatch):
    await people.salon(name="Mai <Aoki>")
    assert await offered(api) == []
    await db.execute("update users set email = 'salon1@demo.example.com'")
    assert [person["name"] for person in await offered(api)] == ["Mai <Aoki>"]
    monkeypatch.setattr(instance.settings, "app_env", "production")
    monkeypatch.setattr(instance.settings, "docs_enabled", True)
    assert await offered(api) == []


async def test_a_page_is_shown_without_the_database(api, monkeypatch):
    async def fail(*_):
        raise DatabaseUnavailable("ConnectionRefusedError")

    monkeypatch.setattr("db.pool.Database.fetch", fail)
    assert await offered(api) == []


async def offered(api):
    page = await api.get("/docs/realtime")
    [people] = re.findall(rb'data-people="([^"]*)"', page.raw)
    return json.loads(html.unescape(people.decode()))


async def test_the_console_may_open_a_socket_and_other_sites_may_not(api, people):
    salon = await people.salon()
    headers = {"Authorization": f"Bearer {salon.token}"}
    socket = await SocketClient.open(api, {**headers, "Origin": "http://media.example.com"})  # PUBLIC_URL
    assert (await socket.expect("ready"))["userId"] == salon.id
    await socket.close()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await SocketClient.open(api, {**headers, "Origin": "http://other.example.com"})
    assert "FRONTEND_URL" in json.loads(refused.value.response.body)["message"]
