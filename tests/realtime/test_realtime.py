"""Two users on two instances receive each other's events once and in order; an outsider receives nothing."""

import asyncio

import pytest

from realtime.events import UserTyping
from tests.helpers.clients import SocketClient


class ChatOverInstances:
    """Hanako on one instance, Sakura on the other, both joined; an outsider signed in on each."""

    hanako_socket: SocketClient
    sakura_socket: SocketClient

    async def open(self, api, other_api, people) -> "ChatOverInstances":
        self.hanako, self.sakura = await people.influencer("Hanako"), await people.salon("Salon Sakura")
        self.outsider = await people.influencer("Outsider")
        self.conversation_id = await people.connect(self.hanako, self.sakura)
        self.path = f"/chat/conversations/{self.conversation_id}/messages"
        self.hanako_socket, self.sakura_socket = await api.socket(self.hanako), await other_api.socket(self.sakura)
        self.outsiders = [await api.socket(self.outsider), await other_api.socket(self.outsider)]
        await self.hanako_socket.join(self.conversation_id)
        await self.sakura_socket.join(self.conversation_id)
        return self

    async def assert_outsiders_received_nothing(self) -> None:
        assert [await outsider.received_names() for outsider in self.outsiders] == [[], []]


@pytest.fixture
def chat(io_loop, api, other_api, people) -> ChatOverInstances:
    return io_loop.run_sync(lambda: ChatOverInstances().open(api, other_api, people))


async def test_a_message_by_rest_reaches_the_other_instance(api, chat):
    sent = (await api.post(chat.path, {"content": "こんにちは 🌸"}, chat.hanako)).data
    assert await chat.sakura_socket.expect("message_sent") == sent
    assert await chat.hanako_socket.expect("message_sent") == sent  # the author's sockets too
    event = await chat.sakura_socket.expect("notification_received")
    assert (event["unreadCount"], event["notification"]["messageId"]) == (1, sent["id"])
    assert (await chat.hanako_socket.received_names()).count("notification_received") == 0
    await chat.assert_outsiders_received_nothing()


async def test_a_message_by_socket_is_acknowledged_after_commit(chat, db):
    data = {"conversationId": chat.conversation_id, "content": "hi", "clientMessageId": "c-1"}
    ack = await chat.hanako_socket.ask("send_message", data)
    assert (ack["event"], ack["data"]["message"]["seq"]) == ("ack", 1)
    assert (await chat.sakura_socket.expect("message_sent"))["clientMessageId"] == "c-1"
    again = await chat.hanako_socket.ask("send_message", data)
    assert again["data"]["message"]["id"] == ack["data"]["message"]["id"]
    assert await db.fetchval("select count(*) from messages") == 1
    assert (await chat.hanako_socket.received_names()).count("message_sent") == 1
    assert (await chat.sakura_socket.received_names()).count("message_sent") == 1


async def test_a_stranger_can_neither_join_nor_send_nor_type(chat, db):
    for socket in chat.outsiders:
        for event, data in [
            ("join_conversation", {"conversationId": chat.conversation_id}),
            ("join_conversation", chat.conversation_id),
            ("send_message", {"conversationId": chat.conversation_id, "content": "hello?"}),
            ("typing_start", {"conversationId": chat.conversation_id}),
            ("mark_read", {"conversationId": chat.conversation_id, "seq": 1}),
        ]:
            assert (await socket.ask(event, data))["data"]["code"] == "NOT_FOUND"
    assert await chat.hanako_socket.received_names() == await chat.sakura_socket.received_names() == []
    assert await db.fetchval("select count(*) from messages") == 0


async def test_typing(chat, api, monkeypatch):
    where = {"conversationId": chat.conversation_id}
    second = await api.socket(chat.hanako)
    await second.join(chat.conversation_id)
    monkeypatch.setattr("realtime.typists.REPEAT_SECONDS", 0)  # sockets still receive it once
    for _ in range(3):
        await chat.hanako_socket.send("typing_start", where)
    assert await chat.sakura_socket.expect("user_typing") == {**where, "userId": chat.hanako.id}
    await chat.hanako_socket.send("typing_stop", where)
    assert await chat.sakura_socket.expect("user_stopped_typing") == {**where, "userId": chat.hanako.id}
    assert await chat.sakura_socket.received_names() == ["user_typing", "user_stopped_typing"]
    assert await second.received_names() == []  # the typist's sockets do not receive it
    await chat.assert_outsiders_received_nothing()


async def test_typing_ends_with_the_message_on_leave_on_disconnect_and_later(chat, api, other_api, monkeypatch):
    where = {"conversationId": chat.conversation_id}
    await chat.hanako_socket.send("typing_start", where)
    await chat.sakura_socket.expect("user_typing")
    await other_api.post(chat.path, {"content": "sent by another way"}, chat.hanako)
    await chat.sakura_socket.expect("user_stopped_typing")
    await chat.hanako_socket.expect("message_sent")  # the typing has ended on this instance as well

    await chat.hanako_socket.send("typing_start", where)
    await chat.sakura_socket.expect("user_typing")
    await chat.hanako_socket.ask("leave_conversation", where)
    await chat.sakura_socket.expect("user_stopped_typing")

    await chat.hanako_socket.join(chat.conversation_id)
    await chat.hanako_socket.send("typing_start", where)
    await chat.sakura_socket.expect("user_typing")
    await chat.hanako_socket.close()
    await chat.sakura_socket.expect("user_stopped_typing")

    monkeypatch.setattr("realtime.typing_state.EXPIRY_SECONDS", 0.1)
    for instance in (api.instance, other_api.instance):  # it was killed before it published the end
        instance.realtime.publisher.publish(UserTyping(chat.conversation_id, chat.hanako.id))
        await chat.sakura_socket.expect("user_typing")
        await chat.sakura_socket.expect("user_stopped_typing")

    monkeypatch.setattr("realtime.typing_state.TYPING_SECONDS", 0.05)
    back = await api.socket(chat.hanako)
    await back.join(chat.conversation_id)
    await back.send("typing_start", where)
    await chat.sakura_socket.expect("user_typing")
    await chat.sakura_socket.expect("user_stopped_typing")


async def test_read_marks(chat, api, other_api):
    second = await other_api.socket(chat.sakura)
    for n in range(3):
        await api.post(chat.path, {"content": str(n)}, chat.hanako)
    assert chat.sakura_socket.ready["unreadMessages"] == 0
    ack = await chat.sakura_socket.ask("mark_read", {"conversationId": chat.conversation_id, "seq": 2})
    assert ack["data"] == {"unreadCount": 1}
    event = await chat.hanako_socket.expect("message_read")
    assert (event["userId"], event["seq"]) == (chat.sakura.id, 2)
    ack = await chat.sakura_socket.ask("mark_read", {"conversationId": chat.conversation_id, "seq": 1})
    assert ack["data"] == {"unreadCount": 1}  # a mark never moves back
    await other_api.get(chat.path, chat.sakura)
    assert (await chat.hanako_socket.expect("message_read"))["seq"] == 3
    assert (await second.expect("notification_read"))["unreadCount"] == 0
    assert (await chat.hanako_socket.received_names()).count("message_read") == 2
    late = await api.socket(chat.sakura)
    assert (late.ready["unreadMessages"], late.ready["unreadNotifications"]) == (0, 0)
    await chat.assert_outsiders_received_nothing()


async def test_edits_and_deletions(chat, api, other_api):
    message = (await api.post(chat.path, {"content": "frist"}, chat.hanako)).data
    await other_api.patch(f"/chat/messages/{message['id']}", {"content": "first"}, chat.hanako)
    edited = await chat.sakura_socket.expect("message_edited")
    assert (edited["content"], edited["seq"], edited["rev"]) == ("first", 1, 2)
    await api.delete(f"/chat/messages/{message['id']}", chat.hanako)
    deleted = {"messageId": message["id"], "conversationId": chat.conversation_id, "seq": 1, "rev": 3}
    assert await chat.sakura_socket.expect("message_deleted") == deleted
    assert await chat.hanako_socket.expect("message_deleted") == deleted
    await chat.assert_outsiders_received_nothing()


async def test_resume_replays_the_present_state_in_order(chat, api, other_api):
    for n in range(1, 6):
        await api.post(chat.path, {"content": str(n)}, chat.hanako)
    listed = (await api.get(chat.path, chat.hanako)).data
    await chat.sakura_socket.close()
    await api.patch(f"/chat/messages/{listed[1]['id']}", {"content": "2, edited"}, chat.hanako)  # rev 6
    await api.delete(f"/chat/messages/{listed[4]['id']}", chat.hanako)  # rev 7
    back = await other_api.socket(chat.sakura)
    ack = await back.join(chat.conversation_id, after=3)
    assert ack == {"conversationId": chat.conversation_id, "lastRev": 7, "replayed": 3, "complete": True}
    received = [
        (e["event"], e["data"]["seq"], e["data"]["rev"]) for e in back.events if e["event"].startswith("message")
    ]
    assert received[:3] == [("message_sent", 4, 4), ("message_edited", 2, 6), ("message_sent", 5, 7)]
    await api.post(chat.path, {"content": "live"}, chat.hanako)
    await back.expect("message_sent")
    again = await other_api.socket(chat.sakura)
    ack = await again.join(chat.conversation_id, after=5)
    replayed = [event["event"] for event in again.events if event["event"].startswith("message")]
    assert replayed == ["message_edited", "message_deleted", "message_sent"]


async def test_too_far_behind_replays_nothing(chat, api, monkeypatch, db):
    await db.execute(
        """
        with moved as (
            update conversations set last_rev = 501, last_seq = 501, updated_at = now() - interval '1 hour'
            where id = $1
        )
        insert into messages (conversation_id, sender_id, seq, rev, content)
        select $1, $2, n, n, n::text from generate_series(1, 501) n
        """,
        chat.conversation_id,
        chat.hanako.id,
    )
    socket = await api.socket(chat.sakura)
    assert await socket.join(chat.conversation_id, after=0) == {
        "conversationId": chat.conversation_id,
        "lastRev": 501,
        "replayed": 0,
        "complete": False,
    }
    assert await socket.received_names() == []
    other = await api.socket(chat.sakura)
    assert (await other.join(chat.conversation_id, after=1))["replayed"] == 500


async def test_a_join_during_many_messages_misses_and_repeats_nothing(chat, api, other_api):
    async def send_sixty() -> None:
        for n in range(60):
            await (api if n % 2 else other_api).post(chat.path, {"content": str(n)}, chat.hanako)

    sending = asyncio.create_task(send_sixty())
    joined: list[SocketClient] = []
    while not sending.done():
        socket = await other_api.socket(chat.sakura)
        await socket.join(chat.conversation_id, after=0)
        joined.append(socket)
        if len(joined) >= 9:
            joined.pop(0).ws.transport.abort()  # a handshake would wait until its messages are read
    await sending
    for socket in [*joined, chat.sakura_socket, chat.hanako_socket]:
        while [e["data"]["seq"] for e in socket.events if e["event"] == "message_sent"][-1:] != [60]:
            await socket.receive()
        seqs = [event["data"]["seq"] for event in socket.events if event["event"] == "message_sent"]
        assert seqs == list(range(1, 61))


async def test_a_change_that_redis_did_not_bring_is_caught_up(chat, other_api, db, other_instance):
    """Simulate that the sender's instance dies between the commit and the publication."""
    from db.queries.conversations import NewMessage, send_message

    await send_message(db, chat.conversation_id, chat.hanako.id, NewMessage(content="was not published"))
    assert (await chat.sakura_socket.expect("message_sent"))["content"] == "was not published"
    await send_message(db, chat.conversation_id, chat.hanako.id, NewMessage(content="nor of this"))
    await other_api.post(chat.path, {"content": "but of this"}, chat.hanako)
    received = [(await chat.sakura_socket.expect("message_sent"))["content"] for _ in range(2)]
    assert received == ["nor of this", "but of this"]


async def test_a_join_of_a_closed_conversation_receives_its_end(chat, api, people, db):
    from db.queries.conversations import close_conversations

    await api.post(chat.path, {"content": "last words"}, chat.hanako)
    await chat.sakura_socket.close()
    await close_conversations(db, chat.hanako.id)
    back = await api.socket(chat.sakura)
    assert (await back.join(chat.conversation_id, after=0))["replayed"] == 1
    assert (await back.expect("conversation_closed"))["reason"] == "disconnected"
    assert (await back.ask("typing_start", {"conversationId": chat.conversation_id}))["data"]["code"] == "NOT_FOUND"
    answer = await back.ask("send_message", {"conversationId": chat.conversation_id, "content": "too late"})
    assert answer["data"]["code"] == "FORBIDDEN"


async def test_messages_by_socket_and_by_rest_share_one_limit(chat, api, limit):
    from settings import Limit

    limit("limit_message", Limit(60, 60, 3))
    sends = [{"conversationId": chat.conversation_id, "content": str(n)} for n in range(2)]
    assert [(await chat.hanako_socket.ask("send_message", data))["event"] for data in sends] == ["ack", "ack"]
    assert (await api.post(chat.path, {"content": "third"}, chat.hanako)).status == 201
    refused = await chat.hanako_socket.ask("send_message", sends[0])
    assert (refused["data"]["code"], refused["data"]["retryAfter"]) == ("RATE_LIMITED", 1)
    assert (await api.post(chat.path, {"content": "fourth"}, chat.hanako)).status == 429
