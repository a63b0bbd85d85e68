"""Responses of every handler: the headers of errors, and the behaviour of Tornado's hooks."""

import asyncio
from uuid import uuid4

from asyncpg import Record

from db.pool import Database
from db.queries.sessions import LIST_ENDED, LOAD_CALLER
from handlers.http.router import PARAMETER
from handlers.routes import make_table
from server import Instance
from settings import Limit
from tests.helpers.clients import Api
from tests.helpers.factories import People

EXPORT = "GET /api/v1/profile/export HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n"


async def test_a_response_that_fails_is_aborted(instance: Instance, people: People, monkeypatch):
    """A reader must not mistake half of the data for all of it: the last chunk of a complete response is missing."""
    user = await people.influencer()

    fetch = type(instance.db).fetch

    async def crash(db: Database, sql: str, *arguments: object) -> list[Record]:
        if sql in (LOAD_CALLER, LIST_ENDED):  # the sign-in works
            return await fetch(db, sql, *arguments)
        raise RuntimeError("a defect")

    monkeypatch.setattr(type(instance.db), "fetch", crash)  # the first section has been sent
    async with asyncio.timeout(20):
        reader, writer = await asyncio.open_connection("127.0.0.1", instance.port)
        writer.write(EXPORT.format(token=user.token).encode())
        received = await reader.read()
        writer.close()
    assert received.startswith(b"HTTP/1.1 200")
    assert b'"account"' in received
    assert not received.endswith(b"0\r\n\r\n")


async def test_an_error_keeps_the_headers_of_every_response(api: Api, people: People, limit):
    limit("limit_general", Limit(5, 900))
    user, request_id = await people.salon(), "request-id-of-the-client"
    headers = {"Origin": "http://app.example.com", "X-Request-ID": request_id}
    for answer in (
        await api.get("/profile/me", user, headers=headers),
        await api.get("/admin/jobs", user, headers=headers),
        await api.post("/connections/request", {}, user, headers=headers),
    ):
        assert answer.headers["X-Request-ID"] == request_id
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["Access-Control-Allow-Origin"] == headers["Origin"]
        assert answer.headers["RateLimit-Limit"] == "5"
        assert "Server" not in answer.headers


async def test_an_error_drops_the_headers_of_the_response_that_it_replaces(
    api: Api, people: People, instance: Instance, monkeypatch
):
    async def crash(*_: object) -> None:
        raise RuntimeError("a defect")

    monkeypatch.setattr("handlers.profile.export.ExportData.pass_on", crash)
    answer = await api.get("/profile/export", await people.salon())
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert "Content-Disposition" not in answer.headers


CACHEABLE = {
    "/api/v1/discovery/vocabularies",
    "/api/v1/proxy/image",
    "/docs/assets/{name:str}",
    "/media/{folder:str}/{name:str}",
}


async def test_only_four_routes_let_their_responses_be_cached(api: Api, people: People):
    callers = [await people.influencer(), await people.admin()]
    seen = set()
    for route in make_table().routes:
        if route.method == "GET" and route.path not in CACHEABLE | {"/ws"}:
            path = PARAMETER.sub(str(uuid4()), route.path)
            for caller in callers:
                answer = await api.call("GET", path.removeprefix("/api/v1"), user=caller)
                assert answer.headers["Cache-Control"] == "no-store", (path, answer)
                seen.add(answer.status)
    assert {200, 403, 404} <= seen
