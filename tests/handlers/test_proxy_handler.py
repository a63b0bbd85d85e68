"""GET /proxy/image relays pictures and answers everything else with a documented error."""

import asyncio
import socket
from ipaddress import ip_address, ip_network
from typing import cast
from urllib.parse import quote

import pytest
from prometheus_client import REGISTRY

from services.files import image_proxy
from services.files.image_proxy import ImageProxy
from services.slots import Slots, SlotsPerOwner
from settings import Limit
from tests.helpers.clients import Api
from tests.helpers.files.image_host import HOST, IMAGES, JPEG, URL, Host, answer
from tests.helpers.servers.tls import Authority

LOOPBACK = ip_address("127.0.0.1")


def path_of(url: str) -> str:
    return f"/proxy/image?url={quote(url, safe='')}"


PATH = path_of(URL)


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def host(io_loop, instance, authority, monkeypatch):
    """Start a host with pictures, to which the server's proxy connects instead of the internet."""
    host = Host(authority)
    io_loop.run_sync(host.start)

    async def resolve(name):
        return [LOOPBACK]

    proxy = ImageProxy(
        instance.settings.image_proxy_hosts,
        resolve=resolve,
        is_public=lambda address: True,
        tls=authority.client,
        port=host.port,
    )
    monkeypatch.setattr(instance.services, "image_proxy", proxy)
    yield host
    proxy.close()
    io_loop.run_sync(host.stop)


@pytest.mark.parametrize("content_type", IMAGES)
async def test_a_picture_passes_through_with_its_own_type(api: Api, host, content_type: str):
    async def send(visit):
        await visit.send(answer(IMAGES[content_type], "Content-Type: text/html", "Set-Cookie: a=b", "Server: theirs"))

    host.script = send
    got = await api.get(PATH, headers={"Origin": "http://app.example.com"})
    assert got.status == 200 and got.raw == IMAGES[content_type]
    assert got.headers["Content-Type"] == content_type
    assert got.headers["Content-Length"] == str(len(got.raw))
    assert got.headers["Cache-Control"] == "public, max-age=86400"
    assert got.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert got.headers["X-Content-Type-Options"] == "nosniff"
    assert got.headers["Access-Control-Allow-Origin"] == "http://app.example.com"
    assert "Set-Cookie" not in got.headers and got.headers.get("Server") is None
    assert host.visits[0].path == "/v/t51.jpg?stp=dst-jpg&_nc_ht=" + HOST


async def test_calls_of_image_hosts_are_measured(api: Api, host):
    def calls(outcome: str) -> float:
        labels = {"vendor": "images", "outcome": outcome}
        return REGISTRY.get_sample_value("encer_vendor_request_duration_seconds_count", labels) or 0.0

    async def send(visit):
        await visit.send(answer(JPEG) if len(host.visits) == 1 else b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")

    before = calls("ok"), calls("failed")
    host.script = send
    assert [(await api.get(PATH)).status for _ in range(2)] == [200, 502]
    assert (calls("ok"), calls("failed")) == (before[0] + 1, before[1] + 1)


async def test_nothing_of_the_visitor_is_passed_on(api: Api, people, host):
    headers = {
        "Cookie": "refreshToken=secret",
        "User-Agent": "their browser",
        "X-Forwarded-For": "9.9.9.9",
        "Referer": "x",
    }
    await api.get(PATH, await people.salon(), headers=headers)
    request = host.visits[0].request.lower()
    assert not any(word in request for word in (b"cookie", b"bearer", b"their browser", b"9.9.9.9", b"referer"))


async def test_a_picture_without_a_length_passes_through_too(api: Api, host):
    async def send(visit):
        chunk = b"%x\r\n%b\r\n" % (len(JPEG), JPEG)
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunk * 20 + b"0\r\n\r\n")

    host.script = send
    got = await api.get(PATH)
    assert (got.status, got.raw) == (200, JPEG * 20)


async def test_bytes_are_relayed_before_the_last_one_arrives(api: Api, host):
    go_on = asyncio.Event()

    async def send(visit):
        await visit.send(answer(JPEG, length=2 * len(JPEG)))
        await go_on.wait()
        await visit.send(JPEG)

    host.script = send
    reader, writer = await asyncio.open_connection("127.0.0.1", api.instance.port)
    writer.write(f"GET /api/v1{PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    async with asyncio.timeout(5):
        received = await reader.readuntil(JPEG)
        go_on.set()
        received += await reader.read()
    writer.close()
    assert received.endswith(JPEG + JPEG)


@pytest.mark.parametrize(
    "url",
    [
        "http://scontent.cdninstagram.com/a.jpg", "https://example.com/a.jpg", "https://127.0.0.1/a.jpg", "file:///etc/passwd",
        "ftp://cdninstagram.com/a", "https://user:pw@cdninstagram.com/a", "https://cdninstagram.com:8443/a",
        "https://cdninstagram.com.evil.example/a", "https://[::1]/a", "https://2130706433/", "//cdninstagram.com/a",
        "https://cdninstagram.com/\r\nX: y", "https://cdninstagram.com/\0", "https://cdninstagram.com/花", "nonsense",
    ],
)  # fmt: skip
async def test_other_addresses_are_refused(api: Api, host, url: str):
    got = await api.get(path_of(url))
    assert (got.status, got.code) == (400, "URL_REFUSED")
    assert got.headers["Cache-Control"] == "no-store"
    assert host.visits == []


@pytest.mark.parametrize("query", ["", "?url=", "?url=a&url=b", "?url=" + "x" * 5000, "?URL=" + quote(URL, safe="")])
async def test_the_address_is_needed_once(api: Api, host, query: str):
    got = await api.get(f"/proxy/image{query}")
    assert (got.status, got.fields) == (400, {"url"})


@pytest.mark.parametrize(
    "response",
    [
        answer(b"<html><script>alert(1)</script></html>", "Content-Type: image/jpeg"),
        answer(b"<svg xmlns='http://www.w3.org/2000/svg' onload='x'/>", "Content-Type: image/svg+xml"),
        answer(b""),
        answer(JPEG, "Content-Encoding: gzip"),
        answer(JPEG, length=11 * 1024 * 1024),
        answer(JPEG, status="404 Not Found"),
        answer(JPEG, status="500 Oh"),
        answer(JPEG, status="206 Partial Content"),
        b"SSH-2.0-OpenSSH\r\n\r\n",
        b"",
    ],
)
async def test_other_content_is_a_502(api: Api, host, response: bytes):
    host.script = lambda visit: visit.send(response)
    got = await api.get(PATH)
    assert (got.status, got.code) == (502, "UPSTREAM_FAILED")
    assert got.headers["Cache-Control"] == "no-store"
    assert got.headers["Content-Type"].startswith("application/json")
    assert HOST not in got.body["message"] + got.body["error"]


async def test_a_redirect_to_elsewhere_is_refused(api: Api, host):
    host.script = lambda visit: visit.send(answer(b"", "Location: https://169.254.169.254/latest", status="302 Found"))
    got = await api.get(PATH)
    assert (got.status, got.code) == (400, "URL_REFUSED")


async def test_a_host_that_does_not_answer_is_a_504(api: Api, host, monkeypatch):
    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.2)
    host.script = lambda visit: visit.wait_for_end()
    got = await api.get(PATH)
    assert (got.status, got.code) == (504, "UPSTREAM_TIMEOUT")


async def test_an_incomplete_picture_aborts_the_response(api: Api, host):
    async def send(visit):
        await visit.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%b\r\n" % (len(JPEG), JPEG))

    host.script = send
    reader, writer = await asyncio.open_connection("127.0.0.1", api.instance.port)
    writer.write(f"GET /api/v1{PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        received = await reader.read()
    writer.close()
    assert b"200 OK" in received and JPEG in received
    assert not received.endswith(b"0\r\n\r\n")


async def test_too_many_at_once_are_refused_with_retry_after(api: Api, host, instance, monkeypatch):
    monkeypatch.setattr(instance.services.image_proxy, "_slots", Slots(running=1, waiting=0))
    arrived, go_on = asyncio.Event(), asyncio.Event()

    async def send(visit):
        arrived.set()
        await go_on.wait()
        await visit.send(answer(JPEG))

    host.script = send
    first = asyncio.create_task(api.get(PATH))
    await asyncio.wait_for(arrived.wait(), 5)
    second = await api.get(PATH)
    go_on.set()
    assert (second.status, second.code) == (503, "NOT_READY")
    assert (await first).status == 200


async def test_one_visitor_does_not_take_every_slot(api: Api, host, instance, monkeypatch):
    """One address opens as many downloads as possible; another address is still served without a wait."""
    monkeypatch.setattr(instance.services.image_proxy, "_slots", Slots(running=3, waiting=0))
    monkeypatch.setattr(instance.services.image_proxy, "_visitor_slots", SlotsPerOwner(running=2, waiting=20))
    monkeypatch.setattr(instance.app, "proxies", [ip_network("127.0.0.1")])
    go_on, arrived = asyncio.Event(), asyncio.Semaphore(0)

    async def send(visit):
        arrived.release()
        if b"/slow" in visit.request:
            await go_on.wait()
        await visit.send(answer(JPEG))

    host.script = send
    greedy = {"X-Forwarded-For": "203.0.113.1"}
    slow = [asyncio.create_task(api.get(path_of(f"https://{HOST}/slow{n}"), headers=greedy)) for n in range(9)]
    async with asyncio.timeout(5):
        await arrived.acquire()
        await arrived.acquire()
    other = await api.get(PATH, headers={"X-Forwarded-For": "203.0.113.2"})
    assert (other.status, len(host.visits)) == (200, 3)
    go_on.set()
    assert [got.status for got in await asyncio.gather(*slow)] == [200] * 9
    assert len(instance.services.image_proxy._visitor_slots._slots) == 0


@pytest.mark.parametrize("answered", [False, True])
async def test_a_client_that_disconnects_stops_the_fetch(api: Api, host, instance, answered: bool):
    arrived = asyncio.Event()

    async def send(visit):
        if answered:
            await visit.send(answer(JPEG, length=2 * len(JPEG)))
        arrived.set()
        await visit.wait_for_end()

    host.script = send
    reader, writer = await asyncio.open_connection("127.0.0.1", api.instance.port)
    writer.write(f"GET /api/v1{PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(5):
        await arrived.wait()
        if answered:
            await reader.readuntil(JPEG)
        writer.close()
        await host.visits[0].ended.wait()  # long before the ten seconds that a fetch may take
    assert (await api.get("/health/live")).status == 200
    assert not [handler for handler in instance.app.running if handler.request.path.endswith("/proxy/image")]


async def test_a_client_that_reads_nothing_is_cut_off_in_time(api: Api, host, monkeypatch):
    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 1.0)
    size = 10_000_000  # more than the buffers of the two sockets hold

    async def send(visit):
        await visit.send(answer(JPEG, length=size))
        for _ in range(size // len(JPEG)):
            await visit.send(JPEG)

    host.script = send
    client = socket.create_connection(("127.0.0.1", api.instance.port))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 256 * 1024)
    reader, writer = await asyncio.open_connection(sock=client, limit=1024)
    transport = cast(asyncio.Transport, writer.transport)  # a socket also reads
    transport.pause_reading()
    writer.write(f"GET /api/v1{PATH} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    async with asyncio.timeout(10):
        while not host.visits:
            await api.get("/health/live")
        await host.visits[0].ended.wait()
        transport.resume_reading()
        received = await reader.read()
    writer.close()
    assert received.startswith(b"HTTP/1.1 200") and len(received) < size


async def test_it_is_counted_by_address(api: Api, host, limit):
    limit("limit_general", Limit(2, 60))
    answers = [await api.get(PATH) for _ in range(3)]
    assert [got.status for got in answers] == [200, 200, 429]
    assert len(host.visits) == 2


async def test_head_fetches_no_more_than_it_needs(api: Api, host):
    host.script = lambda visit: visit.send(answer(JPEG))
    got = await api.call("HEAD", PATH)
    assert (got.status, got.raw) == (200, b"")
    assert got.headers["Content-Length"] == str(len(JPEG)) and got.headers["Content-Type"] == "image/jpeg"
