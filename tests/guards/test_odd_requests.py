"""Every request, however malformed, gets an answer in the API's form without an effect on other clients.

A proxy counts a connection that closes without an answer as a failed instance: two of them take it out of service.
So each request goes to an instance itself, and through deploy/nginx.conf in a real nginx before two instances.
"""

import asyncio
from collections.abc import Iterator
from contextlib import asynccontextmanager
from uuid import uuid4

import pytest

from handlers.health import ShowLiveness
from handlers.http.router import PARAMETER
from handlers.routes import make_table
from server import Instance
from tests.helpers.programs import needs_program
from tests.helpers.raw_http import RawAnswer, exchange, request
from tests.helpers.servers.nginx import running_nginx
from tests.helpers.servers.odd_requests import CHUNKED, KEY, LOGIN, ODD, UPGRADE

PATHS = sorted({PARAMETER.sub(lambda m: "anything" if m[2] else str(uuid4()), r.path) for r in make_table().routes})
METHODS = ("HEAD", "OPTIONS", "TRACE", "get", "BREW")
# nginx refuses methods in lower case, and answers 404 for /metrics, which only Prometheus may read.
STATUSES = {"OPTIONS": {204, 404}, "TRACE": {405}, "get": {400, 405, 404}, "BREW": {405, 404}}
# Incomplete requests: the client half-closes the connection.
CUT = {
    "a cut request line": b"GET /heal",
    "cut headers": b"GET /health HTTP/1.1\r\nHost: x\r\nA: ",
    "a cut body": request(LOGIN, "Content-Length: 20", body=b"{"),
    "a cut chunk": request(LOGIN, CHUNKED, body=b"20\r\n{"),
    "a cut chunk size": request(LOGIN, CHUNKED, body=b"2"),
    "a cut upgrade": request("GET /ws", *UPGRADE, KEY, "Content-Length: 20", body=b"x"),
}


# Complete requests after which the client half-closes the connection.
HALF_CLOSED = {
    "a request": request("GET /health"),
    "a body": request(LOGIN, "Content-Length: 2", body=b"{}"),
    "a missing page": request("GET /nothing"),
    "two requests": request("GET /health") * 2,
}


@pytest.fixture(scope="module")
def nginx(instance: Instance, other_instance: Instance, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Start a real nginx before both instances; return its port."""
    with running_nginx(tmp_path_factory.mktemp("nginx"), [instance.port, other_instance.port]) as port:
        yield port


@pytest.fixture(params=["an instance", pytest.param("nginx", marks=needs_program("nginx", package="nginx"))])
def port(request: pytest.FixtureRequest, instance: Instance) -> int:
    return request.getfixturevalue("nginx") if request.param == "nginx" else instance.port


@asynccontextmanager
async def other_client(port: int):
    """Send requests of another client during the test; all must be answered."""
    statuses: list[int] = []

    async def ask() -> None:
        while True:
            statuses.append((await exchange(port, request("GET /health", "Connection: close"))).status)

    asking = asyncio.create_task(ask())
    try:
        yield
        seen = len(statuses)
        while len(statuses) < seen + 3 and not asking.done():
            await asyncio.sleep(0)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    assert set(statuses) == {200}


def check(name: str, answer: RawAnswer) -> None:
    answer.check_form()
    assert answer.status < 500 or answer.status in (501, 505), (name, answer)


@pytest.mark.parametrize("method", METHODS)
async def test_every_route_answers_every_method(port: int, method: str):
    async with other_client(port):
        for path in PATHS:
            answer = await exchange(port, request(f"{method} {path}"))
            check(f"{method} {path}", answer)
            assert method == "HEAD" or answer.status in STATUSES[method], (path, answer)


@pytest.mark.parametrize("name", ODD)
async def test_an_odd_request_is_answered(port: int, name: str):
    async with other_client(port):
        for _ in range(2):  # after two failures nginx sends nothing to an instance
            check(name, await exchange(port, ODD[name]))


@pytest.mark.parametrize("name", CUT)
async def test_a_cut_request_is_answered(instance: Instance, name: str):
    """The request goes to the instance only: nginx closes such a connection without asking an instance."""
    answer = await exchange(instance.port, CUT[name], end=True)
    check(name, answer)
    assert (answer.status, answer.json["code"]) == (408, "REQUEST_TIMEOUT")


@pytest.mark.parametrize("name", HALF_CLOSED)
async def test_a_request_before_a_half_close_is_answered(instance: Instance, name: str):
    check(name, await exchange(instance.port, HALF_CLOSED[name], end=True))


async def test_a_cut_request_behind_a_whole_one_is_answered(instance: Instance):
    reader, writer = await asyncio.open_connection("127.0.0.1", instance.port)
    writer.write(request("GET /health") + b"GET /heal")
    assert (await reader.readuntil(b"}")).startswith(b"HTTP/1.1 200")
    writer.write_eof()
    assert (await reader.read()).startswith(b"HTTP/1.1 408")
    writer.close()


async def test_a_disconnected_client_ends_its_request(instance: Instance, monkeypatch: pytest.MonkeyPatch):
    """A half-closed connection is kept for a bounded time only."""
    monkeypatch.setattr("handlers.http.server.HALF_CLOSED_SECONDS", 0.05)
    never, began = asyncio.Event(), asyncio.Event()

    async def wait(self: object) -> None:
        began.set()
        await never.wait()

    wait.endpoint = ShowLiveness.get.endpoint  # type: ignore[attr-defined]
    monkeypatch.setattr(ShowLiveness, "get", wait)
    reader, writer = await asyncio.open_connection("127.0.0.1", instance.port)
    writer.write(request("GET /health/live"))
    await began.wait()
    writer.write_eof()
    assert await reader.read() == b""
    never.set()
    writer.close()
