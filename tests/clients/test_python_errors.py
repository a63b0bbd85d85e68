"""Failures of the Python client: each is a typed error with a sentence, and every retry ends."""

import asyncio
import random
from contextlib import suppress
from typing import get_type_hints

import pytest

from db.error_codes import ERROR_CODES
from db.packaged.servers import free_port
from db.schemas import shapes
from encer import (
    Encer,
    EncerError,
    FileTokens,
    MemoryTokens,
    NotSignedIn,
    SessionEnded,
    SlowConsumer,
    TooMany,
    Unreachable,
    WrongCredentials,
    WrongServer,
)
from encer import backoff as backoffs
from encer.backoff import Backoff
from encer.emitter import STREAM_EVENTS, Emitter
from encer.errors import CLASSES, error_of
from encer.rest import SERVER_MAJOR
from encer.types import Attachment, Deletion, Message, Read, Ready
from realtime.events import EVENTS
from settings import VERSION
from tests.clients.helpers import LIVES_LONG, SECONDS, answering, health
from tests.helpers.factories import PASSWORD

SOME_TOKENS = MemoryTokens({"accessToken": f"a.{LIVES_LONG}.c", "refreshToken": "none"})


async def end_of(base: str, tokens=SOME_TOKENS, **options) -> EncerError:
    """Return the error with which the client ends; the client must end."""
    async with Encer(base, tokens=tokens, **options) as encer:
        with pytest.raises(EncerError) as caught:
            await encer.live(SECONDS)
        assert encer.state == "ended", caught.value
        assert str(caught.value).endswith(".")
        return caught.value


def test_this_client_works_with_this_server():
    assert VERSION.partition(".")[0] == str(SERVER_MAJOR)


async def test_a_server_that_does_not_answer(monkeypatch):
    monkeypatch.setattr(backoffs, "FIRST_PAUSE", 0.001)
    error = await end_of(f"http://127.0.0.1:{free_port()}")
    assert isinstance(error, Unreachable)


async def test_a_server_that_is_never_ready_is_not_retried_forever(monkeypatch):
    monkeypatch.setattr(backoffs, "FIRST_PAUSE", 0.001)
    async with answering(health(VERSION), ("503 Service Unavailable", "{}")) as (base, asked):
        assert isinstance(await end_of(base), Unreachable)
        assert len(asked) == 1 + backoffs.FIRST_ATTEMPTS


async def test_invalid_tokens(api, people):
    assert isinstance(await end_of(api.base, MemoryTokens()), NotSignedIn)
    assert isinstance(await end_of(api.base, MemoryTokens({"accessToken": "a", "refreshToken": "b"})), NotSignedIn)
    malformed = MemoryTokens({"accessToken": "a b\r\nc", "refreshToken": "b"})
    assert isinstance(await end_of(api.base, malformed), NotSignedIn)
    async with Encer(api.base) as encer:
        hanako = await people.influencer()
        with pytest.raises(WrongCredentials):
            await encer.sign_in(hanako.email, "wrong password")
        assert (await encer.sign_in(hanako.email, PASSWORD))["id"] == hanako.id
        await encer.live()
        await encer.sign_out()
        assert encer.rest.session.store.load() is None


async def test_an_answer_that_never_ends_is_bounded():
    async def drip(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
        with suppress(OSError):
            while not writer.is_closing():
                writer.write(b"x")
                await writer.drain()
                await asyncio.sleep(0)

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with Encer(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", tokens=SOME_TOKENS) as encer:
        with pytest.raises(Unreachable):
            await encer.call("POST", "/chat/conversations", seconds=0.2)
    server.close()


def test_unreadable_tokens_are_those_of_nobody(tmp_path):
    path = tmp_path / "tokens"
    path.write_text("{")
    assert FileTokens(path).load() is None


def test_a_listener_is_not_async():
    async def listener(_: object) -> None: ...

    with pytest.raises(TypeError):
        Emitter().on("message", listener)


def test_every_code_of_the_server_has_a_class():
    proxy_only = {"NOT_IMPLEMENTED", "VERSION_NOT_SUPPORTED", "UPGRADE_REQUIRED"}
    assert set(ERROR_CODES) - CLASSES.keys() <= proxy_only
    error = error_of({"error": "Slow down", "message": "Please wait.", "code": "RATE_LIMITED", "retryAfter": 7}, 429)
    assert (type(error), str(error), error.retry_after) == (CLASSES["RATE_LIMITED"], "Slow down. Please wait.", 7)
    assert type(error_of({"error": "New", "message": "New", "code": "OF_TOMORROW"})) is EncerError


def test_the_types_are_those_of_the_server():
    def names(shape) -> set[str]:
        return {field.alias or name for name, field in shape.model_fields.items()}

    for ours, theirs in (
        (Message, shapes.Message),
        (Attachment, shapes.Attachment),
        (Deletion, EVENTS["message_deleted"].shape()),
        (Read, EVENTS["message_read"].shape()),
        (Ready, EVENTS["ready"].shape()),
    ):
        assert get_type_hints(ours).keys() == names(theirs)


def test_pauses_grow_have_jitter_and_end():
    chance = random.Random(1)
    backoff = Backoff(chance.random)
    pauses = [backoff.after(None) for _ in range(backoffs.FIRST_ATTEMPTS - 1)]
    longest = [0.5, 1, 2, 4, 8, 16, 30, 30, 30]
    assert all(0.5 * most <= pause <= most for pause, most in zip(pauses, longest, strict=True))
    with pytest.raises(Unreachable):
        backoff.after(None)
    backoff.live()
    assert backoff.after(1013) > 0.5  # a connection that closed at once
    assert backoff.after(1013, lived=backoffs.LONGEST_PAUSE) <= 0.5
    assert backoff.after(1001, reconnect_after=2.0) >= 2.0


@pytest.mark.parametrize(("code", "error"), [(4403, SessionEnded), (4400, WrongServer)])
def test_close_codes_that_end(code, error):
    with pytest.raises(error):
        Backoff().after(code)


def test_refused_tokens_and_floods_end_too():
    backoff = Backoff()
    assert backoff.after(4401) == 0.0  # a new token is tried at once
    with pytest.raises(NotSignedIn):
        for _ in range(backoffs.REFUSED_TOKENS):
            backoff.after(4401)
    assert backoff.after(4429) >= backoffs.SLOW_PAUSE / 2
    assert backoff.after(4508, lived=backoffs.STEADY_SECONDS) <= backoffs.SLOW_PAUSE
    with pytest.raises(TooMany):
        for _ in range(backoffs.SLOW_ATTEMPTS):
            backoff.after(4508)


async def test_an_unread_stream_is_bounded_and_a_failing_listener_is_isolated():
    emitter = Emitter()
    seen: list[int] = []
    emitter.on("message", lambda _: 1 / 0)
    end = emitter.on("message", seen.append)
    stream = emitter.stream("message")
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    for number in range(STREAM_EVENTS + 2):
        emitter.emit("message", number)
    end()
    emitter.emit("message", "not seen")
    assert seen == list(range(STREAM_EVENTS + 2))
    with pytest.raises(SlowConsumer):
        await first
