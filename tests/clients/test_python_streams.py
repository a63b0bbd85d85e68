"""The ends of the Python client's streams and calls, on a virtual clock."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from encer import Closed, Encer, NotFound
from tests.clients.fakes import FakeServer, run_virtually, settle

REFUSED = {"error": "No such conversation", "code": "NOT_FOUND"}


async def read(stream: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in stream]


def test_the_stream_of_a_refused_conversation_ends_with_the_error(monkeypatch):
    async def run() -> None:
        server = FakeServer(monkeypatch)
        server.always["join_conversation"] = REFUSED
        encer = server.client()
        chat = encer.conversation("c", after=0)
        reading = asyncio.create_task(read(chat.messages()))
        await encer.live()
        await settle()
        assert reading.done() and isinstance(reading.exception(), NotFound)
        with pytest.raises(NotFound):
            await read(chat.stream("joined"))
        await encer.close()

    run_virtually(run)


def test_a_stream_that_is_opened_after_the_end_ends_at_once(monkeypatch):
    async def run() -> None:
        encer = FakeServer(monkeypatch).client()
        left, kept = encer.conversation("left", after=0), encer.conversation("kept", after=0)
        await encer.live()
        await left.leave()
        assert await read(left.messages()) == []
        await encer.close()
        for emitter in (encer, kept, encer.conversation("new")):
            assert await read(emitter.stream("state", "message")) == []
        assert encer.state == "ended"

    run_virtually(run)


def test_streams_are_read_again_after_the_next_connection(monkeypatch):
    async def run() -> None:
        server = FakeServer(monkeypatch)
        encer = server.client()
        chat = encer.conversation("c", after=0)
        await encer.live()
        server.socket.end(4403)
        await settle()
        assert encer.state == "ended"
        await encer.live()
        reading = asyncio.ensure_future(anext(chat.stream("typing")))
        await settle()
        server.socket.emit("user_typing", {"conversationId": "c", "userId": "other"})
        assert (await reading)[0] == "typing"
        await encer.close()

    run_virtually(run)


def test_a_call_after_the_end_is_a_typed_error(monkeypatch):
    async def run() -> None:
        encer: Encer = FakeServer(monkeypatch).client()
        chat = encer.conversation("c", after=0)
        await encer.live()
        await encer.close()
        for call in (chat.history(), chat.edit("m1", "text"), encer.call("POST", "/chat/conversations")):
            with pytest.raises(Closed):
                await call

    run_virtually(run)
