"""The Python client's outbox: bounded, kept by a store, and deleted by a sign-out."""

import asyncio
from typing import Any

import pytest

from encer import Closed, OutboxFull, TooLarge
from tests.clients.helpers import SECONDS, client, pair, tokens_of


class StoredOutbox:
    def __init__(self) -> None:
        self.items: list[Any] = []

    def load(self) -> list[Any]:
        return [*self.items]

    def save(self, items: list[Any]) -> None:
        self.items = [*items]


async def test_a_sign_out_deletes_the_unsent_messages(api, people):
    hanako, _, conversation_id = await pair(people)
    outbox = StoredOutbox()
    outbox.items = [{"conversationId": conversation_id, "content": "for one user", "clientMessageId": "1"}]
    async with client(api.base, tokens_of(api.instance, hanako), outbox=outbox) as one:
        await one.sign_out()
    assert outbox.items == []


class FailingOutbox:
    def load(self) -> list[Any]:
        raise OSError("unreadable")

    def save(self, items: list[Any]) -> None:
        raise OSError("the disk is full")


async def test_a_store_that_fails_does_not_stop_messages(api, people, caplog):
    hanako, _, conversation_id = await pair(people)
    async with client(api.base, tokens_of(api.instance, hanako), outbox=FailingOutbox()) as one:
        assert (await one.conversation(conversation_id).send("Hello"))["content"] == "Hello"
    assert {"The outbox was not stored.", "The stored outbox is unreadable; its messages are not sent."} <= {
        record.message for record in caplog.records
    }


async def test_the_outbox_is_bounded_and_survives_the_program(api, people, proxy, monkeypatch):
    hanako, _, conversation_id = await pair(people)
    monkeypatch.setattr("encer.outbox.ITEMS", 3)
    outbox, tokens = StoredOutbox(), tokens_of(api.instance, hanako)
    proxy.refusing = True
    async with client(f"http://127.0.0.1:{proxy.port}", tokens, outbox=outbox) as one:
        chat = one.conversation(conversation_id)
        waiting = [asyncio.create_task(chat.send(f"line {number}")) for number in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(OutboxFull):
            await chat.send("one too many")
        waiting[1].cancel()  # withdrawn
        await asyncio.wait({waiting[1]})
        with pytest.raises(TooLarge):
            await chat.send("x" * 5001)
    ends = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(end) for end in ends] == [Closed, asyncio.CancelledError, Closed]
    assert [item["content"] for item in outbox.items] == ["line 0", "line 2"]
    async with client(api.base, tokens, outbox=outbox) as one:
        sent: asyncio.Queue[str] = asyncio.Queue()
        one.on("sent", lambda message: sent.put_nowait(message["content"]))
        async with asyncio.timeout(SECONDS):
            one.connect()
            assert [await sent.get(), await sent.get()] == ["line 0", "line 2"]
        assert outbox.items == [] and sent.empty()
