"""Mails over Resend's HTTP API, with a stand-in, and with other servers that may answer at its address."""

import asyncio
import time

import pytest

from services.mail.senders import PermanentMailError, ResendSender, TemporaryMailError
from tests.helpers.mail.mails import FROM, MAIL, SHORT
from tests.vendors.resend import API_KEY, Resend
from tests.vendors.smtp import disconnect, flood, free_port, stay_silent


async def test_resend_gets_the_documented_request():
    async with Resend() as resend:
        await ResendSender(resend.url, API_KEY, FROM).send(MAIL._replace(to="anna@例え.jp"), "row-1")
    (request,) = resend.requests
    assert request["headers"]["Idempotency-Key"] == "row-1"
    assert request["body"] == {
        "from": "美容 Encer <no-reply@encer.example>",
        "to": ["anna@xn--r8jz45g.jp"],
        "subject": MAIL.subject,
        "text": MAIL.text,
        "html": MAIL.html,
        "headers": {"X-Entity-Ref-ID": "row-1", "Auto-Submitted": "auto-generated"},
    }


async def test_resend_sends_once_when_the_answer_is_lost():
    async with Resend() as resend:
        resend.lose_answers = 1
        sender = ResendSender(resend.url, API_KEY, FROM)
        with pytest.raises(TemporaryMailError, match="Resend"):
            await sender.send(MAIL, "row-1")
        await sender.send(MAIL, "row-1")
        await sender.send(MAIL, "row-2")
    assert len(resend.requests) == 3
    assert len(resend.sent) == 2


@pytest.mark.parametrize(
    ("status", "name", "error"),
    [
        (400, "validation_error", PermanentMailError),
        (409, "invalid_idempotent_request", PermanentMailError),
        (422, "invalid_to_address", PermanentMailError),
        (451, "security_error", PermanentMailError),
        (409, "concurrent_idempotent_requests", TemporaryMailError),
        (429, "rate_limit_exceeded", TemporaryMailError),
        (429, "daily_quota_exceeded", TemporaryMailError),
        (500, "application_error", TemporaryMailError),
        (503, "service_unavailable", TemporaryMailError),
        (302, "elsewhere", TemporaryMailError),
        # Our key, domain or URL is at fault, not the mail.
        (401, "restricted_api_key", TemporaryMailError),
        (403, "validation_error", TemporaryMailError),
        (404, "not_found", TemporaryMailError),
        (422, "invalid_from_address", TemporaryMailError),
        (422, "invalid_access", TemporaryMailError),
    ],
)
async def test_resend_refusals(status, name, error):
    async with Resend() as resend:
        resend.failures.append((status, name))
        with pytest.raises(error, match=f"Resend {status}: {name}"):
            await ResendSender(resend.url, API_KEY, FROM).send(MAIL, "id")
    assert resend.sent == []


async def test_resend_does_not_tell_the_key():
    async with Resend() as resend:
        with pytest.raises(TemporaryMailError, match="invalid_api_key") as caught:
            await ResendSender(resend.url, "re_wrong_key", FROM).send(MAIL, "id")
    assert "re_wrong_key" not in str(caught.value)


async def test_resend_is_down():
    with pytest.raises(TemporaryMailError, match="Resend"):
        await ResendSender(f"http://127.0.0.1:{free_port()}", API_KEY, FROM).send(MAIL, "id")


async def test_resend_hangs():
    async with Resend() as resend:
        resend.hang()
        started = time.monotonic()
        with pytest.raises(TemporaryMailError, match="Resend"):
            await ResendSender(resend.url, API_KEY, FROM, timeout=SHORT).send(MAIL, "id")
        assert time.monotonic() - started < SHORT + 2


def answer(raw: bytes):
    """Return a server that reads one request's head and answers these bytes."""

    async def serve(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(raw)
        await writer.drain()
        writer.close()

    return serve


async def answer_endlessly(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999\r\n\r\n")
    await flood(reader, writer)


@pytest.mark.parametrize(
    ("peer", "error"),
    [
        (answer(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 16\r\n\r\n<h1>\xff\x00 no</h1>"), TemporaryMailError),
        (answer(b"HTTP/1.1 422 No\r\nContent-Length: 7\r\n\r\n[1,2,3]"), PermanentMailError),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n"), TemporaryMailError),
        (answer(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshort"), TemporaryMailError),
        (answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"), TemporaryMailError),
        (answer(b"HTTP/1.1 abc\r\n\r\n"), TemporaryMailError),
        (answer(b"HTTP/1.1 200 OK\r\n\xff\x00 : \r\n : x\r\n\r\n"), TemporaryMailError),
        (answer(b"220 this is SMTP\r\n\r\n"), TemporaryMailError),
        (answer_endlessly, TemporaryMailError),
        (flood, TemporaryMailError),
        (disconnect, TemporaryMailError),
        (stay_silent, TemporaryMailError),
    ],
)
async def test_resend_or_a_proxy_before_it_breaks_the_protocol(peer, error):
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    try:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(error, match="Resend"):
            await ResendSender(f"http://127.0.0.1:{port}", API_KEY, FROM, timeout=SHORT).send(MAIL, "id")
    finally:
        server.close()


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate"])
async def test_resend_accepts_in_a_damaged_encoding(encoding):
    """Only the status counts: Resend has accepted the mail."""
    raw = b"HTTP/1.1 200 OK\r\nContent-Encoding: " + encoding + b"\r\nContent-Length: 4\r\n\r\nabcd"
    server = await asyncio.start_server(answer(raw), "127.0.0.1", 0)
    try:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        await ResendSender(url, API_KEY, FROM).send(MAIL, "id")
    finally:
        server.close()


async def test_resend_sends_the_mail_to_no_other_host():
    async with Resend() as elsewhere:
        raw = f"HTTP/1.1 307 Moved\r\nLocation: {elsewhere.url}/emails\r\nContent-Length: 0\r\n\r\n".encode()
        server = await asyncio.start_server(answer(raw), "127.0.0.1", 0)
        try:
            url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
            with pytest.raises(TemporaryMailError, match="307"):
                await ResendSender(url, API_KEY, FROM).send(MAIL, "id")
        finally:
            server.close()
    assert elsewhere.requests == []
