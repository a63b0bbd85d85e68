"""Images that the proxy relays, and visitors that wait or leave."""

import asyncio

import pytest

from services.errors import VendorTimeout
from services.files import image_proxy
from services.files.image_proxy import MAX_BYTES
from services.slots import Busy, Slots
from tests.helpers.files.image_host import HOST, IMAGES, JPEG, URL, Visit, answer, fetch, sends


@pytest.mark.parametrize("content_type", IMAGES)
async def test_an_image_is_relayed_with_the_type_of_its_content(proxy, host, content_type):
    host.script = sends(answer(IMAGES[content_type], "Content-Type: text/html; charset=utf-8"))
    assert await fetch(proxy) == (content_type, IMAGES[content_type])


@pytest.mark.parametrize("pieces", [1, 3, 50])
async def test_an_image_that_arrives_in_pieces_is_whole(proxy, host, pieces):
    step = -(-len(JPEG) // pieces)
    chunks = [JPEG[start : start + step] for start in range(0, len(JPEG), step)]
    framed = [f"{len(chunk):x}\r\n".encode() + chunk + b"\r\n" for chunk in chunks]
    head = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    host.script = sends(head[:9], head[9:], *framed, b"0\r\n\r\n")
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_an_image_without_a_length_ends_with_the_connection(proxy, host):
    host.script = sends(b"HTTP/1.1 200 OK\r\n\r\n", JPEG)
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_a_known_length_is_announced(proxy, host):
    async with proxy.open(URL) as image:
        assert image.length == len(JPEG)
    host.script = sends(b"HTTP/1.1 200 OK\r\n\r\n", JPEG)
    async with proxy.open(URL) as image:
        assert image.length is None


async def test_the_largest_image_is_relayed_without_being_held(proxy, host):
    host.script = sends(answer(JPEG.ljust(MAX_BYTES, b"x")))
    longest = total = 0
    async with proxy.open(URL) as image:
        async for chunk in image.chunks:
            longest, total = max(longest, len(chunk)), total + len(chunk)
    assert total == MAX_BYTES
    assert longest <= 4 * image_proxy.READ_BYTES


async def test_the_host_gets_its_name_and_path_and_no_data_of_the_visitor(proxy, host):
    await fetch(proxy)
    lines = host.visits[0].request.decode().split("\r\n")
    assert lines[0] == f"GET {URL.removeprefix(f'https://{HOST}')} HTTP/1.1"
    assert {line.split(":")[0].lower() for line in lines[1:] if line} == {
        "host",
        "accept",
        "accept-encoding",
        "user-agent",
        "connection",
    }
    assert f"Host: {HOST}" in lines
    assert "Accept-Encoding: identity" in lines
    assert host.names == [HOST]


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("https://cdninstagram.com", "/"),
        ("HTTPS://A.CDNINSTAGRAM.COM/x", "/x"),
        ("https://a.cdninstagram.com:443/x", "/x"),
        ("https://a.cdninstagram.com?a=1&b=%2F#part", "/?a=1&b=%2F"),
        ("https://a.cdninstagram.com//evil.example/x", "//evil.example/x"),
        ("https://a.cdninstagram.com/a/../b;c=1", "/a/../b;c=1"),
        (f"https://a.cdninstagram.com/{'x' * 4000}", f"/{'x' * 4000}"),
    ],
)
async def test_unusual_urls_of_allowed_hosts_are_asked_for(proxy, host, url, path):
    await fetch(proxy, url)
    assert host.visits[0].path == path


async def test_leaving_early_ends_the_connection(proxy, host):
    async def script(visit: Visit) -> None:
        await visit.send(answer(JPEG, length=MAX_BYTES))
        await visit.wait_for_end()

    host.script = script
    with pytest.raises(LookupError):
        async with proxy.open(URL):
            raise LookupError("the client is gone")
    await host.visits[0].ended.wait()


async def test_images_beyond_the_queue_are_refused_as_busy(proxy, host, monkeypatch):
    proxy._slots = Slots(running=1, waiting=1)
    answers = await asyncio.gather(*(fetch(proxy) for _ in range(4)), return_exceptions=True)
    assert answers[:2] == [("image/jpeg", JPEG)] * 2
    assert [type(answer) for answer in answers[2:]] == [Busy, Busy]
    assert await fetch(proxy) == ("image/jpeg", JPEG)


async def test_waiting_in_the_queue_counts_as_time(proxy, host, monkeypatch):
    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.1)
    proxy._slots = Slots(running=1, waiting=5)
    async with proxy._slots.take():
        answers = await asyncio.gather(fetch(proxy), fetch(proxy), return_exceptions=True)
    assert [type(answer) for answer in answers] == [VendorTimeout] * 2
    assert host.visits == []
