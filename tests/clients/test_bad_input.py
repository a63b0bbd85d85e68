"""Bad input, in both clients: each is a typed error with a sentence, and nothing is retried forever."""

import asyncio
import json
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.typing import Origin

from encer import Encer, EncerError, Invalid, MemoryTokens, WrongServer
from encer.rest import SERVER_MAJOR
from settings import VERSION
from tests.clients.helpers import LIVES_LONG, SECONDS, SUSPEND, answering, health, node, tokens_of
from tests.helpers.factories import PASSWORD
from tests.helpers.servers.tls import Authority

SOME_TOKENS: Any = {"accessToken": f"a.{LIVES_LONG}.c", "refreshToken": "none"}
REFUSED_ORIGIN = (
    "403 Forbidden",
    json.dumps({"error": "No", "message": "This origin may not connect", "code": "FORBIDDEN"}),
)
ENDED_SESSION = "401 Unauthorized", json.dumps({"error": "No", "message": "It has ended", "code": "SESSION_ENDED"})
both_clients = pytest.mark.parametrize("language", ["python", "typescript"])


@dataclass
class End:
    kind: str
    sentence: str
    state: str = "ended"


def end_by(error: BaseException, state: str = "ended") -> End:
    assert isinstance(error, EncerError), error
    return End(type(error).__name__, str(error), state)


async def end_of(language: str, base: str, tokens: Any = SOME_TOKENS) -> End:
    """Connect until the client ends; return how."""
    if language == "typescript":
        return End(**await node("end", base, tokens))
    async with Encer(base, tokens=MemoryTokens(tokens)) as encer:
        with suppress(EncerError):
            await encer.live(SECONDS)
        assert encer.error
        return end_by(encer.error, encer.state)


async def error_of(language: str, act: str, base: str, given: Any) -> End:
    """Run one call that must fail; return its error."""
    if language == "typescript":
        return End(**await node(act, base, given))
    async with Encer(base, tokens=MemoryTokens(SOME_TOKENS)) as encer:
        with pytest.raises(EncerError) as caught:
            if act == "signIn":
                await encer.sign_in(given["email"], given["password"])
            else:
                await encer.conversation("none").send(given["content"])
    return end_by(caught.value)


async def errors_of_bases(language: str, bases: list[str]) -> list[End]:
    if language == "typescript":
        return [End(**error) for error in await node("bases", "none", {"bases": bases})]
    errors = []
    for base in bases:
        with pytest.raises(EncerError) as caught:
            Encer(base)
        errors.append(end_by(caught.value))
    return errors


INVALID_BASES = (
    *(
        "",
        "api.example.com",
        "//example.com",
        "http:example.com",
        "ftp://example.com",
        "ws://example.com",
        "file:///etc",
    ),
    *("http://", "http://[", "http://a:b", "http://a:0", "http://a:65536", "http://a:-1", "http://a b", " http://a"),
    *("http://a\x00b", "http://a\n", "http://a\tb", "http://a/\x7f", "http://a\\b", "http://user:password@a"),
    *("http://a?b=c", "http://a/#b"),
)


@both_clients
async def test_an_invalid_base_url(language):
    for base, error in zip(INVALID_BASES, await errors_of_bases(language, [*INVALID_BASES]), strict=True):
        assert error.kind == "WrongServer", base
        shown = json.dumps(base, ensure_ascii=False)
        assert error.sentence == f"{shown} is not a base URL. Write it as https://api.example.com."


@pytest.mark.parametrize("base", ["http://a..b", f"http://{'a' * 64}.example.com", "http://xn--"])
async def test_a_host_name_that_cannot_exist(base):
    with pytest.raises(WrongServer):
        Encer(base)


@pytest.mark.parametrize(
    ("base", "normal"),
    [("HTTP://Api.Example.com/", "http://api.example.com"), ("https://a:8443/encer//", "https://a:8443/encer")],
)
async def test_a_base_url_is_normalised(base, normal):
    assert Encer(base).rest.base_url == normal


async def test_a_path_with_a_control_character():
    async with answering(health(VERSION)) as (base, _), Encer(base, tokens=MemoryTokens(SOME_TOKENS)) as encer:
        with pytest.raises(Invalid):
            await encer.call("GET", "/chat/\x00")


@both_clients
@pytest.mark.parametrize(
    ("answers", "kind", "requests"),  # a WebSocket of the runtime gives no reason, so TypeScript asks for it
    [
        ([("200 OK", "<html>hello</html>")], "WrongServer", {"python": 1, "typescript": 1}),
        ([("200 OK", '{"status": "ok"}')], "WrongServer", {"python": 1, "typescript": 1}),
        ([("404 Not Found", "no such page")], "WrongServer", {"python": 1, "typescript": 1}),
        ([health(VERSION), ("404 Not Found", "no such page")], "WrongServer", {"python": 2, "typescript": 3}),
        ([health("7.2.0")], "WrongVersion", {"python": 1, "typescript": 1}),
        (
            [health(VERSION), REFUSED_ORIGIN, health(VERSION), REFUSED_ORIGIN],
            "OriginRefused",
            {"python": 2, "typescript": 4},
        ),
    ],
    ids=["page", "JSON", "404", "no sockets", "version", "origin"],
)
async def test_another_server_version_or_origin(language, answers, kind, requests):
    async with answering(*answers) as (base, asked):
        end = await end_of(language, base)
    assert (end.state, end.kind) == ("ended", kind)
    assert end.sentence.endswith(".")
    assert len(asked) == requests[language], [head.splitlines()[0] for head in asked]
    if kind == "WrongVersion":
        assert end.sentence == (
            f"The server has version 7.2.0; this client works with {SERVER_MAJOR}.x. Update the client."
        )


async def test_an_origin_that_the_real_server_refuses(api, people, monkeypatch):
    hanako = await people.influencer()
    monkeypatch.setattr("encer.socket.connect", partial(connect, origin=Origin("http://other.example.com")))
    end = await end_of("python", api.base, tokens_of(api.instance, hanako).load())
    assert (end.state, end.kind) == ("ended", "OriginRefused")


@both_clients
async def test_a_certificate_of_an_unknown_authority(language, tmp_path):
    async with answering(health(VERSION), tls=Authority(tmp_path).server("127.0.0.1")) as (base, asked):
        end = await end_of(language, base)
    assert (end.state, end.kind, asked) == ("ended", "CertificateRefused", [])
    assert end.sentence.endswith("Check the base URL.")


async def listening(answer: bytes) -> tuple[asyncio.Server, str]:
    """Start a server without TLS that sends this to each connection and closes it; return its https address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@both_clients
async def test_a_server_without_tls_and_a_connection_that_is_cut_during_the_handshake(language):
    plain, base = await listening(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
    end = await end_of(language, base)
    plain.close()
    assert (end.state, end.kind) == ("ended", "WrongServer")
    assert end.sentence.endswith("does not answer with TLS. Check the base URL.")
    cutting, base = await listening(b"")
    error = await error_of(language, "signIn", base, {"email": "hanako@example.com", "password": PASSWORD})
    cutting.close()
    assert error.kind == "Unreachable"  # so it is retried


async def test_a_certificate_of_another_name(tmp_path):
    authority = Authority(tmp_path)
    async with answering(health(VERSION), tls=authority.server("other.example.com")) as (base, asked):
        async with Encer(base, tokens=MemoryTokens(SOME_TOKENS), tls=authority.client) as encer:
            with pytest.raises(EncerError) as caught:
                await encer.live(SECONDS)
        other = End(**await node("end", base, SOME_TOKENS, NODE_EXTRA_CA_CERTS=str(authority.root)))
    for end in (end_by(caught.value, encer.state), other):
        assert (end.state, end.kind) == ("ended", "CertificateRefused")
        assert end.sentence.endswith("Check the base URL.")
    assert asked == []


@both_clients
async def test_a_token_of_a_suspended_account(api, db, people, language):
    hanako = await people.influencer()
    await db.execute(SUSPEND, hanako.id)
    await api.instance.app.sessions.check_now()
    end = await end_of(language, api.base, tokens_of(api.instance, hanako).load())
    assert (end.state, end.kind) == ("ended", "SessionEnded")
    error = await error_of(language, "signIn", api.base, {"email": hanako.email, "password": PASSWORD})
    assert error.kind == "AccountSuspended"
    assert end.sentence.endswith(".") and error.sentence.endswith(".")


@both_clients
async def test_a_message_over_the_limit(language):
    async with answering(health(VERSION), ENDED_SESSION) as (base, _):
        error = await error_of(language, "send", base, {"content": "x" * 5_001})
    assert error.kind == "TooLarge"
    assert error.sentence == "The message has more than 5000 characters. Send a shorter one, or several."
