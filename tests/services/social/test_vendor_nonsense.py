"""Whatever answers at a vendor's address, our clients end in time, with one of our own errors."""

import asyncio
import time

import pytest

from services.apify import runs as apify
from services.apify.runs import ApifyActors
from services.errors import VendorError
from services.tiktok import oauth as tiktok_oauth
from services.tiktok.oauth import TikTokOAuth
from tests.vendors.smtp import disconnect, flood, send_garbage, send_slowly, stay_silent

SHORT = 0.4  # seconds; the bound of a client
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"


def answer(reply: bytes):
    async def peer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(reply)
        await writer.drain()
        writer.close()

    return peer


async def answer_endlessly(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Content-Length: 999999999\r\n\r\n")
    await flood(reader, writer)


async def answer_chunks_without_end(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
    try:
        while True:
            writer.write(b"10000\r\n" + b" " * 65536 + b"\r\n")
            await writer.drain()
    except ConnectionError:
        pass


async def answer_slowly(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"Content-Length: 100000\r\n\r\n")
    await send_slowly(reader, writer)


PEERS = [
    answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 16\r\n\r\n<h1>\xff\x00 no</h1>"),
    answer(b"HTTP/1.1 422 No\r\nContent-Length: 7\r\n\r\n[1,2,3]"),
    answer(HEAD + b"Content-Length: x\r\n\r\n"),
    answer(HEAD + b"Content-Length: 9\r\n\r\nshort"),
    answer(HEAD + b"Content-Length: 5\r\n\r\n\xff\xfe\xfd\xfc\xfb"),
    answer(HEAD + b"Content-Length: 4\r\nContent-Encoding: gzip\r\n\r\nabcd"),
    answer(HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"),
    answer(HEAD + b"X-Long: " + b"x" * 200_000 + b"\r\n\r\n"),
    answer(b"HTTP/1.1 abc\r\n\r\n"),
    answer(b"HTTP/1.1 200 OK\r\n\xff\x00 : \r\n : x\r\n\r\n"),
    answer(b"HTTP/1.1 204 No Content\r\n\r\n"),
    answer(b"220 this is SMTP\r\n\r\n"),
    answer_endlessly,
    answer_chunks_without_end,
    answer_slowly,
    flood,
    disconnect,
    stay_silent,
    send_garbage,
]


async def ask_peer(peer, ask) -> float:
    """Return the seconds until the client gives up with one of our errors."""
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    try:
        began = time.monotonic()
        with pytest.raises(VendorError):
            await ask(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        return time.monotonic() - began
    finally:
        server.close()


@pytest.mark.parametrize("peer", PEERS)
async def test_tiktok(peer, monkeypatch):
    monkeypatch.setattr(tiktok_oauth, "ANSWER_SECONDS", SHORT)

    async def ask(url: str) -> None:
        oauth = TikTokOAuth("key", "secret", url, url, url)
        try:
            await oauth.refresh("rft")
        finally:
            await oauth.close()

    assert await ask_peer(peer, ask) < SHORT + 3


@pytest.mark.parametrize("peer", PEERS)
async def test_apify_at_the_start(peer, monkeypatch):
    monkeypatch.setattr(apify, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(apify, "CLOSE_SECONDS", 0.1)

    async def ask(url: str) -> None:
        actors = ApifyActors("token", url, SHORT)
        try:
            await actors.scrape("some/actor", {}, 1)
        finally:
            await actors.close()

    assert await ask_peer(peer, ask) < SHORT + 3


@pytest.mark.parametrize("peer", PEERS)
async def test_apify_while_waiting(peer, monkeypatch):
    monkeypatch.setattr(apify, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(apify, "ABORT_SECONDS", SHORT)

    async def ask(url: str) -> None:
        await ApifyActors("token", url, SHORT).resume("some-run", 1)

    assert await ask_peer(peer, ask) < 2 * SHORT + 3
