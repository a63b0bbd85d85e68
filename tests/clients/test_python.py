"""The Python client against a real server: chat, cuts, absences, tokens, uploads."""

import asyncio
import gc
import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from PIL import Image

from encer import Closed, Conversation, Encer, NotFound, SessionEnded
from encer.tokens import MARGIN_SECONDS
from encer.types import Message
from tests.clients.helpers import SECONDS, EventLog, client, loaded, pair, tokens_of

# Simulates many messages; the counter of the conversation is raised too.
FILL = """
    with added as (
        insert into messages (conversation_id, sender_id, seq, rev, content, message_type)
        select $1, $2, c.last_rev + n, c.last_rev + n, 'filled ' || n, 'TEXT'
        from conversations c, generate_series(1, $3::int) n where c.id = $1 returning seq
    )
    update conversations set last_rev = last_rev + $3, last_seq = last_rev + $3, updated_at = clock_timestamp()
    where id = $1 and (select count(*) from added) > 0
"""


@asynccontextmanager
async def two_chats(api, people, proxy) -> AsyncIterator[tuple[Encer, Conversation, Conversation]]:
    """Yield a client behind the proxy, its conversation, and the same conversation of the other participant."""
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(f"http://127.0.0.1:{proxy.port}", tokens_of(api.instance, hanako)) as one,
        client(api.base, tokens_of(api.instance, sakura)) as other,
    ):
        yield one, one.conversation(conversation_id, after=0), other.conversation(conversation_id)


async def test_two_clients_chat(api, other_api, people):
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(api.base, tokens_of(api.instance, hanako)) as one,
        client(other_api.base, tokens_of(api.instance, sakura)) as other,
    ):
        here, there = one.conversation(conversation_id), other.conversation(conversation_id)
        received, sent_events = EventLog(there), EventLog(here)
        await received.wait("joined")
        await sent_events.wait("joined")
        here.typing()
        assert (await received.wait("typing"))["typing"] is True
        stored = await here.send("Hello")
        assert (await received.wait("message")) == stored
        assert (await received.wait("typing", 2))["typing"] is False
        assert stored["senderId"] == one.user_id == hanako.id
        await received.wait("unread")
        assert (there.unread, other.unread.messages, other.unread.notifications) == (1, 1, 1)
        there.read()
        assert (await sent_events.wait("read"))["seq"] == stored["seq"]
        await received.wait("unread", 2)
        assert (there.unread, other.unread.messages) == (0, 0)
        edited = await here.edit(stored["id"], "Hello again")
        assert (await received.wait("edited"))["content"] == "Hello again"
        await here.delete(stored["id"])
        deleted = await received.wait("deleted")
        assert (deleted["messageId"], deleted["rev"]) == (stored["id"], edited["rev"] + 1)
        assert await there.history() == await here.history()
        assert [one.state, other.state] == ["live", "live"]
    assert one.state == "ended"
    with pytest.raises(Closed):
        await here.send("too late")


async def test_messages_sent_while_disconnected_arrive_once_and_in_order(api, people, proxy):
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(f"http://127.0.0.1:{proxy.port}", tokens_of(api.instance, hanako)) as one,
        client(api.base, tokens_of(api.instance, sakura)) as other,
    ):
        here, there = one.conversation(conversation_id, after=0), other.conversation(conversation_id, after=0)
        sent_events, received = EventLog(here), EventLog(there)
        states: list[str] = []
        one.on("state", states.append)
        await sent_events.wait("joined")
        await received.wait("joined")
        proxy.freeze()  # frames are in transit, and no answer arrives
        sending = [asyncio.create_task(here.send(f"line {number}")) for number in range(5)]
        missed = await there.send("missed")
        proxy.cut()
        proxy.restore()
        await asyncio.gather(*sending)
        await sent_events.wait("message", 6)
        await received.wait("message", 6)
        assert [message["content"] for message in received.all("message")] == [
            "missed",
            *(f"line {number}" for number in range(5)),
        ]
        assert sent_events.all("message") == received.all("message")
        assert sent_events.all("message")[0] == missed
        assert states[-3:] == ["offline", "connecting", "live"]


async def test_a_stored_message_without_an_answer_is_stored_once(api, db, people, proxy, monkeypatch):
    hanako, _, conversation_id = await pair(people)
    async with client(f"http://127.0.0.1:{proxy.port}", tokens_of(api.instance, hanako)) as one:
        chat = one.conversation(conversation_id)
        await EventLog(chat).wait("joined")
        socket = one.socket
        assert socket
        ask = socket.ask

        async def lose_the_answer(event, *arguments, **options):
            answer = await ask(event, *arguments, **options)
            if event == "send_message":
                socket.drop()
                raise Closed("cut")
            return answer

        monkeypatch.setattr(socket, "ask", lose_the_answer)
        stored = await chat.send("once")
        assert await db.fetchval("select count(*) from messages") == 1
        assert stored["content"] == "once"


async def test_a_client_that_was_away_for_long_misses_nothing(api, db, people, proxy):
    async with two_chats(api, people, proxy) as (one, here, there):
        sent_events = EventLog(here)
        first, second = [await there.send(text) for text in ("first", "second")]
        await sent_events.wait("message", 2)
        proxy.refusing = True
        proxy.cut()
        await db.execute(FILL, here.id, first["senderId"], 600)
        await there.edit(first["id"], "first, edited")
        await there.delete(second["id"])
        proxy.restore()
        one.wake()
        await sent_events.wait("joined", 2)
        last = await there.send("last")
        await sent_events.wait("message", 603)
        messages = sent_events.all("message")
        assert [message["seq"] for message in messages] == [1, 2, *range(3, 603), last["seq"]]
        assert [message["content"] for message in sent_events.all("edited")] == ["first, edited"]
        assert [message["messageId"] for message in sent_events.all("deleted")] == [second["id"]]
        assert here.rev == last["rev"]
        assert sent_events.all("gap", "error") == []


async def test_what_a_fetch_leaves_out_is_a_gap_that_history_fills(api, db, people, proxy, monkeypatch):
    monkeypatch.setattr("encer.conversation.REFETCH_MESSAGES", 550)
    async with two_chats(api, people, proxy) as (one, here, there):
        received = EventLog(here)
        first = await there.send("first")
        await received.wait("message")
        proxy.refusing = True
        proxy.cut()
        await db.execute(FILL, here.id, first["senderId"], 600)
        await there.edit(first["id"], "first, edited")  # rev 602
        proxy.restore()
        one.wake()
        await received.wait("joined", 2)
        assert received.all("gap") == [{"after": 0, "before": 53}]
        assert [message["seq"] for message in received.all("message")] == [1, *range(53, 602)]
        gap = received.all("gap")[0]
        left_out = await here.history(before=gap["before"], limit=100)
        assert [message["seq"] for message in left_out] == [*range(1, 53)]
        assert left_out[0]["content"] == "first, edited"
        assert here.rev == 602


async def test_streams_end_with_their_conversation_or_client(api, people):
    hanako, _, conversation_id = await pair(people)

    async def read(stream) -> list[str]:
        return [name async for name, _ in stream]

    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        chat = one.conversation(conversation_id)
        states, messages = (
            asyncio.create_task(read(one.stream("state"))),
            asyncio.create_task(read(chat.stream("message"))),
        )
        failing = asyncio.create_task(read(one.stream("notification")))
        await EventLog(chat).wait("joined")
        await chat.leave()
        async with asyncio.timeout(SECONDS):
            assert await messages == []
            await api.post("/auth/logout", {}, hanako)
            with pytest.raises(SessionEnded):
                await failing
            with pytest.raises(SessionEnded):
                await states


async def test_edits_of_messages_from_before_the_program_started_arrive_after_a_long_absence(api, db, people, proxy):
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(api.base, tokens_of(api.instance, sakura)) as other,
        client(f"http://127.0.0.1:{proxy.port}", tokens_of(api.instance, hanako)) as one,
    ):
        there = other.conversation(conversation_id)
        old = await there.send("from an earlier run")
        here = one.conversation(conversation_id, after=old["rev"])
        received = EventLog(here)
        await received.wait("joined")
        await there.send("first of this run")
        await received.wait("message")
        proxy.refusing = True
        proxy.cut()
        await db.execute(FILL, conversation_id, sakura.id, 600)
        await there.edit(old["id"], "edited")
        proxy.restore()
        one.wake()
        await received.wait("joined", 2)
        assert [message["content"] for message in received.all("edited")] == ["edited"]
        assert len(received.all("message")) == 601


async def test_a_new_conversation_begins_with_the_newest_messages(api, db, people):
    hanako, sakura, conversation_id = await pair(people)
    await db.execute(FILL, conversation_id, sakura.id, 60)
    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        chat = one.conversation(conversation_id)
        sent_events = EventLog(chat)
        await sent_events.wait("joined")
        assert [message["seq"] for message in sent_events.all("message")] == list(range(11, 61))
        older = await chat.history(before=chat.first_seq)
        assert [message["seq"] for message in older] == list(range(1, 11))
        assert chat.first_seq == 1


async def test_a_conversation_that_a_live_client_joins_has_its_read_marks(api, people):
    hanako, sakura, conversation_id = await pair(people)
    path = f"/chat/conversations/{conversation_id}"
    assert (await api.post(f"{path}/messages", {"content": "Hello"}, hanako)).status == 201
    assert (await api.get(f"{path}/messages", sakura)).status == 200  # marks them as read
    assert (await api.post(f"{path}/messages", {"content": "Good morning"}, sakura)).status == 201
    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        listed = asyncio.Event()

        def note_listing(_: object) -> None:
            if one.unread.counts:
                listed.set()

        one.on("unread", note_listing)
        await one.live()
        async with asyncio.timeout(SECONDS):
            await listed.wait()  # the listing of the connection has ended
        sent_events = EventLog(one.conversation(conversation_id))
        read = await sent_events.wait("read")
        assert (read["userId"], read["seq"] > 0) == (sakura.id, True)


async def test_an_expired_token_is_replaced_and_a_valid_one_renewed(api, people):
    hanako, _, conversation_id = await pair(people)
    store = tokens_of(api.instance, hanako)
    first = loaded(store)
    async with client(api.base, store) as one:
        one.rest.session.newest = (first["accessToken"], time.monotonic() + MARGIN_SECONDS + 1)
        await EventLog(one.conversation(conversation_id)).wait("joined")
        socket = one.socket
        async with asyncio.timeout(SECONDS):
            while store.load() == first:
                await asyncio.sleep(0.05)
            await one.call("GET", "/profile/me")
        assert one.socket is socket  # renewed over the same socket
    expired = tokens_of(api.instance, hanako, access_seconds=-5)
    expired.save({"accessToken": loaded(expired)["accessToken"], "refreshToken": loaded(store)["refreshToken"]})
    async with client(api.base, expired) as one:
        calls = await asyncio.gather(*(one.call("GET", "/profile/me") for _ in range(5)))
        assert {call["data"]["id"] for call in calls} == {hanako.id}
        await one.live()


async def test_a_command_that_still_waits_to_be_sent_fails_quietly_when_the_socket_closes(api, people, monkeypatch):
    hanako, _, _ = await pair(people)
    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        await one.live()
        socket = one.socket
        assert socket
        monkeypatch.setattr(socket.pace, "wait", lambda: SECONDS)
        asking = asyncio.create_task(socket.ask("ping"))
        while len(socket.answers) == 0:
            await asyncio.sleep(0)
        unretrieved: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: unretrieved.append(context))
        await socket.close()
        asking.cancel()
        await asyncio.wait({asking})
        del asking  # its frame holds the future
        gc.collect()
        loop.set_exception_handler(None)
        assert unretrieved == []


async def test_the_end_of_a_session_ends_the_client(api, people):
    hanako, _, conversation_id = await pair(people)
    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        chat = one.conversation(conversation_id)
        await EventLog(chat).wait("joined")
        ended = asyncio.get_running_loop().create_future()
        one.on("error", ended.set_result)
        await api.post("/auth/logout", {}, hanako)
        async with asyncio.timeout(SECONDS):
            assert isinstance(await ended, SessionEnded)
        assert (one.state, str(one.error)) == ("ended", "Your session has ended. Please sign in again.")
        with pytest.raises(SessionEnded):
            await chat.send("too late")
        with pytest.raises(SessionEnded):
            await one.live()


async def test_a_stranger_s_conversation_is_an_error_of_that_conversation(api, people):
    outsider = await people.influencer()
    async with client(api.base, tokens_of(api.instance, outsider)) as one:
        sent_events = EventLog(one.conversation((await pair(people))[2]))
        assert isinstance(await sent_events.wait("error"), NotFound)
        assert (one.state, one.conversations) == ("live", {})


async def test_a_picture_is_uploaded_with_progress(api, people):
    hanako, _, conversation_id = await pair(people)
    buffer = io.BytesIO()
    Image.effect_noise((300, 300), 90).save(buffer, "PNG")
    picture = buffer.getvalue()
    async with client(api.base, tokens_of(api.instance, hanako)) as one:
        chat = one.conversation(conversation_id)
        progress: list[int] = []
        attachment = await chat.upload(picture, "tea.png", progress.append)
        assert progress == sorted(progress) and progress[-1] == len(picture)
        stored = await chat.send(attachment=attachment)
        assert (stored["fileUrl"], stored["messageType"]) == (attachment["fileUrl"], "IMAGE")


async def test_a_message_that_a_refetch_emitted_is_an_edit_in_a_later_replay(api, db, people, monkeypatch):
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(api.base, tokens_of(api.instance, sakura)) as other,
        client(api.base, tokens_of(api.instance, hanako)) as one,
    ):
        there = other.conversation(conversation_id)
        await EventLog(there).wait("joined")
        await db.execute(FILL, conversation_id, sakura.id, 510)
        call = one.rest.call
        sent: list[Message] = []

        async def meanwhile(method, path, *arguments, **options):
            if path.endswith("/messages") and not sent:  # after the join that replayed nothing, before the fetch
                sent.extend([await there.send("early"), await there.send("late")])
            page = await call(method, path, *arguments, **options)
            if path.endswith("/messages") and len(page["data"]) < 100:  # after the last page of the fetch
                await there.edit(sent[0]["id"], "early, edited")
            return page

        monkeypatch.setattr(one.rest, "call", meanwhile)
        sent_events = EventLog(one.conversation(conversation_id, after=0))
        await sent_events.wait("joined")
        seqs = [message["seq"] for message in sent_events.all("message")]
        assert seqs == sorted(set(seqs)) and len(seqs) == 512
        assert [message["content"] for message in sent_events.all("edited")] == ["early, edited"]


async def test_a_message_that_was_deleted_before_it_was_seen_is_deleted(api, people):
    hanako, sakura, conversation_id = await pair(people)
    async with (
        client(api.base, tokens_of(api.instance, sakura)) as other,
        client(api.base, tokens_of(api.instance, hanako)) as one,
    ):
        there = other.conversation(conversation_id)
        stored = await there.send("not for long")
        await there.delete(stored["id"])
        sent_events = EventLog(one.conversation(conversation_id, after=0))
        await sent_events.wait("joined")
        assert [deletion["messageId"] for deletion in sent_events.all("deleted")] == [stored["id"]]
        assert sent_events.all("message", "edited") == []
