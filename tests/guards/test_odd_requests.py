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

PATHS = sorted({PARAMETER.sub(lambda m: "anything" if m[2] else str(uuid4()), r.path) for r in make_table().routes})
METHODS = ("HEAD", "OPTIONS", "TRACE", "get", "BREW")
# nginx refuses methods in lower case, and answers 404 for /metrics, which only Prometheus may read.
STATUSES = {"OPTIONS": {204, 404}, "TRACE": {405}, "get": {400, 405, 404}, "BREW": {405, 404}}
UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13")
KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
LOGIN = "POST /api/v1/auth/login"
CHUNKED = "Transfer-Encoding: chunked"

ODD: dict[str, bytes] = {
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": request("GET /health", "Host: other"),
    "a host that is none": b"GET /health HTTP/1.1\r\nHost: a b/\\\r\n\r\n",
    "an empty host": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
    "HTTP/1.0 without a host": b"GET /health HTTP/1.0\r\n\r\n",
    "HTTP/2.0": b"GET /health HTTP/2.0\r\nHost: x\r\n\r\n",
    "HTTP/2 at once": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a version in lower case": b"GET /health http/1.1\r\nHost: x\r\n\r\n",
    "no version number": b"GET /health HTTP/x\r\nHost: x\r\n\r\n",
    "a word": b"HELLO\r\n\r\n",
    "no path": b"GET  HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with a space": b"GET /hea lth HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path with control characters": b"GET /\x01\x7f HTTP/1.1\r\nHost: x\r\n\r\n",
    "a path of raw UTF-8": "GET /日本語 HTTP/1.1\r\nHost: x\r\n\r\n".encode(),
    "a path of no UTF-8": request("GET /api/v1/proxy/%ff%fe"),
    "a path with NUL": request("GET /media/chat/%00"),
    "a path that climbs": request("GET /media/../../etc/passwd"),
    "a path of slashes": request("GET " + "/" * 3000),
    "a path without a slash": b"GET health HTTP/1.1\r\nHost: x\r\n\r\n",
    "a long path": request("GET /" + "x" * 15_000),
    "a very long path": request("GET /" + "x" * 60_000),
    "a long method": request("X" * 10_000 + " /health"),
    "absolute form": request("GET http://localhost/health"),
    "absolute form in capitals": request("GET HTTP://localhost/health"),
    "absolute form of a host alone": request("GET http://localhost"),
    "CONNECT": request("CONNECT localhost:443"),
    "an asterisk": request("OPTIONS *"),
    "TLS": b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00\r\n\r\n",
    "many query fields": request("GET /health?" + "a=&" * 4_000),
    "an odd query": request("GET /api/v1/proxy/image?url=%ff%00&url&=&&&;"),
    "a header without a colon": request("GET /health", "Nothing"),
    "a header without a name": request("GET /health", ": x"),
    "a folded header": request("GET /health", "A: x", "  y"),
    "a header with NUL": request("GET /health", "A: \x00"),
    "a header of Latin-1": request("GET /health", "A: \xe9"),
    "a header with a line feed": b"GET /health HTTP/1.1\nHost: x\nA: y\n\n",
    "a name with a space": request("GET /health", "A B: x"),
    "many headers": request("GET /health", *["A: x"] * 3_000),
    "33 KB of headers": request("GET /health", *[f"A{n}: {'x' * 8_000}" for n in range(4)]),
    "63 KB of headers": request("GET /health", *[f"A{n}: {'x' * 15_800}" for n in range(4)]),
    "200 KB of headers": request("GET /health", *[f"A{n}: {'x' * 15_800}" for n in range(13)]),
    "one large header": request("GET /health", f"A: {'x' * 50_000}"),
    "one very large header": request("GET /health", f"A: {'x' * 500_000}"),
    "a large cookie": request("GET /health", f"Cookie: {'a=b; ' * 10_000}"),
    "a length of words": request(LOGIN, "Content-Length: many"),
    "a negative length": request(LOGIN, "Content-Length: -5"),
    "a length of many digits": request(LOGIN, f"Content-Length: {'9' * 5_000}"),
    "a length beyond all bounds": request(LOGIN, f"Content-Length: {2**40}"),
    "two lengths": request(LOGIN, "Content-Length: 2", "Content-Length: 3", body=b"{}x"),
    "a length and chunks": request(LOGIN, "Content-Length: 7", CHUNKED, body=b"2\r\n{}\r\n0\r\n\r\n"),
    "another transfer encoding": request(LOGIN, "Transfer-Encoding: gzip"),
    "two transfer encodings": request(LOGIN, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"),
    "a chunk extension": request(LOGIN, CHUNKED, body=b"2;a=b\r\n{}\r\n0\r\n\r\n"),
    "a long chunk extension": request(LOGIN, CHUNKED, body=b"2;a=" + b"b" * 3_000 + b"\r\n{}\r\n0\r\n\r\n"),
    "a chunk size that is none": request(LOGIN, CHUNKED, body=b"x\r\n{}\r\n0\r\n\r\n"),
    "a chunk longer than it says": request(LOGIN, CHUNKED, body=b"1\r\n{}\r\n0\r\n\r\n"),
    "an endless chunk size": request(LOGIN, CHUNKED, body=b"f" * 40 + b"\r\n"),
    "a trailer": request(LOGIN, CHUNKED, body=b"2\r\n{}\r\n0\r\nA: b\r\n\r\n"),
    "an encoded body": request(LOGIN, "Content-Encoding: gzip", "Content-Length: 2", body=b"\x1f\x8b"),
    "a form without a boundary": request(LOGIN, "Content-Type: multipart/form-data", "Content-Length: 2", body=b"{}"),
    "an unknown expectation": request(LOGIN, "Expect: miracles", "Content-Length: 2", body=b"{}"),
    "a range": request("GET /health", "Range: bytes=5-1,x"),
    "another protocol": request("GET /health", "Upgrade: h2c", "Connection: Upgrade, HTTP2-Settings"),
    "an upgrade without a key": request("GET /ws", *UPGRADE),
    "an upgrade with an empty key": request("GET /ws", *UPGRADE, "Sec-WebSocket-Key:"),
    "an upgrade of HEAD": request("HEAD /ws", *UPGRADE, KEY),
    "an upgrade with a body": request("GET /ws", *UPGRADE, KEY, "Content-Length: 2", body=b"{}"),
    "an upgrade with odd extensions": request("GET /ws", *UPGRADE, KEY, "Sec-WebSocket-Extensions: ;=,*''\""),
    "an upgrade elsewhere": request("GET /health", *UPGRADE, KEY),
    "an upgrade of nothing": request("GET /nothing", *UPGRADE, KEY),
    "an upgrade by POST": request("POST /ws", *UPGRADE, KEY),
    "garbage after a request": request("GET /health") + b"\x00\x01garbage",
}

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
