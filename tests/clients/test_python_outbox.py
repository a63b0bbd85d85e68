"""The Python client's outbox with files and a real server. cases.json has what both clients do."""

import asyncio
from contextlib import AsyncExitStack
from typing import Any

import pytest

from encer import Closed, Encer, FileOutbox, OutboxFull, TooLarge, Unsent
from tests.clients.helpers import SECONDS, client, pair, tokens_of


async def test_programs_that_share_a_folder_keep_each_others_messages(api, db, people, proxy, tmp_path):
    hanako, sakura, conversation_id = await pair(people)
    folder = tmp_path / "unsent"
    proxy.refusing = True
    base = f"http://127.0.0.1:{proxy.port}"
    tokens = [tokens_of(api.instance, person) for person in (hanako, hanako, sakura)]
    async with AsyncExitStack() as stack:
        programs = [await stack.enter_async_context(client(base, own, outbox=FileOutbox(folder))) for own in tokens]
        chats = [program.conversation(conversation_id) for program in programs]
        sending = [
            asyncio.create_task(chats[number].send(text, client_message_id=str(number)))
            for number, text in enumerate(("of one", "of the other", "of another user"))
        ]
        withdrawn = asyncio.create_task(chats[0].send("withdrawn"))
        await asyncio.sleep(0)
        withdrawn.cancel()
        await asyncio.wait({withdrawn})
        assert [oct(path.stat().st_mode)[-3:] for path in (folder, *folder.iterdir())] == ["700", *3 * ["600"]]
    await asyncio.gather(*sending, return_exceptions=True)
    assert sorted(item["content"] for item in FileOutbox(folder).load()) == [
        "of another user",
        "of one",
        "of the other",
    ]
    async with client(api.base, tokens_of(api.instance, hanako), outbox=FileOutbox(folder)) as one:
        await sent_all(one, 2)
    assert [item["content"] for item in FileOutbox(folder).load()] == ["of another user"]
    async with client(api.base, tokens_of(api.instance, sakura), outbox=FileOutbox(folder)) as other:
        await sent_all(other, 1)
    assert [*folder.iterdir()] == []
    stored = await db.fetch("select content, sender_id::text from messages")
    assert {tuple(row) for row in stored} == {
        ("of one", hanako.id),
        ("of the other", hanako.id),
        ("of another user", sakura.id),
    }


def test_an_unreadable_file_does_not_block_the_others(tmp_path):
    outbox = FileOutbox(tmp_path)
    unsent: Unsent = {
        "userId": "me",
        "conversationId": "c",
        "clientMessageId": "k",
        "content": "Hello",
        "messageType": "TEXT",
        "fileUrl": None,
        "queuedAt": 1,
    }
    outbox.add(unsent)
    for number, text in enumerate((b"{", b"\xff", b"[]", b'{"userId": "me"}')):
        (tmp_path / f"{number}.json").write_bytes(text)
    (tmp_path / "folder.json").mkdir()
    assert outbox.load() == [unsent]


async def sent_all(encer: Encer, count: int) -> None:
    sent: asyncio.Queue[Any] = asyncio.Queue()
    encer.on("sent", sent.put_nowait)
    encer.connect()
    async with asyncio.timeout(SECONDS):
        for _ in range(count):
            await sent.get()


async def test_the_outbox_is_bounded_and_survives_the_program(api, people, proxy, monkeypatch, tmp_path):
    hanako, _, conversation_id = await pair(people)
    monkeypatch.setattr("encer.outbox.ITEMS", 3)
    outbox, tokens = FileOutbox(tmp_path), tokens_of(api.instance, hanako)
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
    assert [item["content"] for item in outbox.load()] == ["line 0", "line 2"]
    async with client(api.base, tokens, outbox=outbox) as one:
        sent: asyncio.Queue[str] = asyncio.Queue()
        one.on("sent", lambda message: sent.put_nowait(message["content"]))
        async with asyncio.timeout(SECONDS):
            one.connect()
            assert [await sent.get(), await sent.get()] == ["line 0", "line 2"]
        assert outbox.load() == [] and sent.empty()
