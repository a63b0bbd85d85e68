"""Answers of hostile, slow and broken hosts."""

import asyncio
import gzip

import pytest

from services.errors import UnreadableAnswer, VendorError, VendorTimeout
from services.files import image_proxy
from services.files.image_proxy import MAX_BYTES, NotAnImage
from tests.helpers.files.image_host import JPEG, URL, Script, Visit, answer, fetch, sends


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><script>alert(1)</script></html>",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"\n\xff\xd8\xff\xe0",
        b"%PDF-1.7 %%EOF",
        b'{"secret": 1}',
        gzip.compress(JPEG, mtime=0),
        b"\xff\xd8",
    ],
)
async def test_other_content_is_not_relayed_under_any_declared_type(proxy, host, body):
    host.script = sends(answer(body, "Content-Type: image/jpeg"))
    with pytest.raises(NotAnImage):
        await fetch(proxy)


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "identity, gzip"])
async def test_a_compressed_answer_is_not_unpacked(proxy, host, encoding):
    for body in (gzip.compress(b"\0" * 10**7, mtime=0), JPEG):
        host.script = sends(answer(body, f"Content-Encoding: {encoding}"))
        with pytest.raises(NotAnImage, match="compressed"):
            await fetch(proxy)


@pytest.mark.parametrize(
    "status", ["204 No Content", "206 Partial Content", "304 Not Modified", "404 Not Found", "500 X"]
)
async def test_any_other_status_is_a_failure(proxy, host, status):
    body = b"" if status[:3] in ("204", "304") else JPEG
    host.script = sends(answer(body, status=status))
    with pytest.raises(VendorError):
        await fetch(proxy)


async def test_an_announced_length_over_the_limit_is_refused_before_the_body(proxy, host):
    host.script = sends(answer(JPEG, length=MAX_BYTES + 1))
    with pytest.raises(NotAnImage):
        await fetch(proxy)


def endless(head: bytes, piece: bytes) -> Script:
    async def script(visit: Visit) -> None:
        await visit.send(head)
        while True:
            await visit.send(piece)

    return script


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n"
PIECE = b"x" * 65536


@pytest.mark.parametrize(
    ("head", "piece"),
    [(CHUNKED, b"10000\r\n" + PIECE + b"\r\n"), (b"HTTP/1.1 200 OK\r\n\r\n\xff\xd8\xff", PIECE)],
)
async def test_an_endless_image_ends_at_the_limit(proxy, host, head, piece):
    host.script = endless(head, piece)
    received = 0
    with pytest.raises(NotAnImage):
        async with proxy.open(URL) as image:
            async for chunk in image.chunks:
                received += len(chunk)
    assert MAX_BYTES - 65536 < received <= MAX_BYTES


async def test_an_image_in_tiny_chunks_is_aborted(proxy, host):
    host.script = endless(CHUNKED, b"1\r\nx\r\n" * 1000)
    with pytest.raises(NotAnImage):
        await fetch(proxy)


async def test_a_client_that_does_not_read_slows_down_the_host(proxy, host, monkeypatch):
    held_up = asyncio.Event()

    async def script(visit: Visit) -> None:
        await visit.send(CHUNKED)
        for _ in range(1000):  # 64 MB: more than the sockets' own buffers take
            try:
                async with asyncio.timeout(0.2):
                    await visit.send(b"10000\r\n" + PIECE + b"\r\n")
            except TimeoutError:
                held_up.set()
                return

    host.script = script
    async with proxy.open(URL) as image:
        await anext(image.chunks)
        await held_up.wait()


@pytest.mark.parametrize(
    "sent",
    [
        [],
        [b"HTTP/1.1 200 OK\r\nContent-Le"],
        [b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"],
        [answer(JPEG, length=len(JPEG) + 1)],
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n\xff\xd8\xff\r\n"],
    ],
)
async def test_a_silent_host_times_out(proxy, host, monkeypatch, sent):
    async def script(visit: Visit) -> None:
        for part in sent:
            await visit.send(part)
        await visit.wait_for_end()

    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.1)
    host.script = script
    with pytest.raises(VendorTimeout):
        await fetch(proxy)
    await host.visits[0].ended.wait()


async def test_a_host_that_sends_slowly_times_out(proxy, host, monkeypatch):
    async def script(visit: Visit) -> None:
        await visit.send(answer(b"", length=MAX_BYTES) + JPEG)
        while True:
            await visit.send(b"x")
            await asyncio.sleep(0.01)

    monkeypatch.setattr(image_proxy, "TOTAL_SECONDS", 0.2)
    host.script = script
    with pytest.raises(VendorTimeout):
        await fetch(proxy)


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"hello\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"h" * 100_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000,
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n",
        answer(JPEG, length=len(JPEG) + 1),
        CHUNKED + b"ffff\r\nxx",
    ],
)
async def test_a_malformed_or_broken_answer_is_a_failure(proxy, host, sent):
    host.script = sends(sent)
    with pytest.raises(VendorError) as raised:
        await fetch(proxy)
    assert type(raised.value) in (UnreadableAnswer, VendorError)


async def test_endless_interim_answers_are_a_failure(proxy, host):
    host.script = endless(b"", b"HTTP/1.1 103 Early Hints\r\n\r\n")
    with pytest.raises(VendorError):
        await fetch(proxy)
