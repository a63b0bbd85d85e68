"""Conversation, badge and notification agree on the unread count after each send, read, edit and deletion."""

import asyncio
import itertools
import json
from typing import Any, NamedTuple

import pytest

from db.queries.conversations import NewMessage, send_message
from db.schemas.previews import PREVIEW_CHARS
from db.schemas.shapes import DELETED_MESSAGE
from realtime.events import NotificationReceived
from tests.helpers.clients import Api, SocketClient

TEXTS = ("one", "two", "three")


class State(NamedTuple):
    """What the reader receives: messages unread by conversation and notification, unread notifications, a text."""

    conversation: int
    notified: int | None
    badge: int
    text: str | None


class Chat:
    """Hanako writes and Sakura reads, with a socket on each instance; an outsider has sockets too."""

    def __init__(self, api: Api, other_api: Api, people: Any) -> None:
        self.api, self.other_api, self.people = api, other_api, people

    async def open(self) -> "Chat":
        self.hanako, self.sakura = await self.people.influencer("Hanako"), await self.people.salon("Sakura")
        self.id = await self.people.connect(self.hanako, self.sakura)
        self.path = f"/chat/conversations/{self.id}/messages"
        self.sockets = [await self.api.socket(self.sakura), await self.other_api.socket(self.sakura)]
        self.outsiders = [await self.api.socket(self.hanako), await self.other_api.socket(await self.people.salon())]
        return self

    async def say(self, *texts: str) -> list[dict[str, Any]]:
        return [(await self.api.post(self.path, {"content": text}, self.hanako)).data for text in texts]

    async def delete(self, message: dict[str, Any]) -> None:
        assert (await self.api.delete(f"/chat/messages/{message['id']}", self.hanako)).status == 200

    async def edit(self, message: dict[str, Any], text: str) -> None:
        answer = await self.api.patch(f"/chat/messages/{message['id']}", {"content": text}, self.hanako)
        assert answer.status == 200

    async def state(self) -> State:
        [contact] = (await self.api.get("/chat/contacts", self.sakura)).data
        listed = [row for row in await self.notifications() if not row["isRead"]]
        ready = (await self.api.socket(self.sakura)).ready
        badge = (await self.api.get("/notifications/unread", self.sakura)).data["count"]
        assert (ready["unreadMessages"], ready["unreadNotifications"]) == (
            contact["conversation"]["unreadCount"],
            badge,
        )
        notified = json.loads(listed[0]["metadata"])["count"] if listed else None
        return State(ready["unreadMessages"], notified, badge, listed[0]["message"] if listed else None)

    async def notifications(self) -> list[dict[str, Any]]:
        return (await self.api.get("/notifications", self.sakura)).data

    async def expect(self, event: str) -> dict[str, Any]:
        """Return what both sockets of the reader receive, and check that no other socket receives it."""
        events = [await socket.expect(event) for socket in self.sockets]
        assert events[0] == events[1]
        assert [await outsider.received_names() for outsider in self.outsiders] == [[], []]
        return events[0]

    async def count(self, event: str) -> list[int]:
        return [(await socket.received_names()).count(event) for socket in self.sockets]


@pytest.fixture
def chat(io_loop, api, other_api, people) -> Chat:
    return io_loop.run_sync(Chat(api, other_api, people).open)


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
async def test_deleting_unread_messages_in_any_order(chat: Chat, order: tuple[int, ...]):
    messages = await chat.say(*TEXTS)
    [notification] = await chat.notifications()
    left = dict(enumerate(TEXTS))
    for number in order:
        await chat.delete(messages[number])
        del left[number]
        if left:
            assert await chat.state() == State(len(left), len(left), 1, left[max(left)])
            notified = await chat.expect("notification_updated")
            assert notified["unreadCount"] == 1
            [shown] = await chat.notifications()
            assert notified["notification"] == shown
            assert (shown["id"], shown["messageId"]) == (notification["id"], messages[max(left)]["id"])
    assert await chat.state() == State(0, None, 0, None)
    assert await chat.expect("notification_deleted") == {"notificationId": notification["id"], "unreadCount": 0}
    assert await chat.notifications() == []
    assert await chat.count("notification_updated") == [2, 2]


@pytest.mark.parametrize("number", range(3))
async def test_editing_an_unread_message(chat: Chat, number: int):
    messages = await chat.say(*TEXTS)
    await chat.edit(messages[number], "edited")
    assert await chat.state() == State(3, 3, 1, "edited" if number == 2 else "three")
    assert await chat.count("notification_updated") == ([1, 1] if number == 2 else [0, 0])
    if number == 2:
        notified = await chat.expect("notification_updated")
        assert (notified["notification"]["message"], notified["unreadCount"]) == ("edited", 1)
    await chat.say("four")
    assert await chat.state() == State(4, 4, 1, "four")


@pytest.mark.parametrize("by_socket", [True, False])
async def test_reading_in_part(chat: Chat, by_socket: bool):
    messages = await chat.say(*TEXTS)
    if by_socket:
        ack = await chat.sockets[0].ask("mark_read", {"conversationId": chat.id, "seq": messages[0]["seq"]})
        assert ack["data"] == {"unreadCount": 2}
    else:
        answer = await chat.api.patch(f"/chat/messages/{messages[0]['id']}/read", None, chat.sakura)
        assert answer.data == {"unreadCount": 2}
    assert await chat.state() == State(2, 2, 1, "three")
    notified = await chat.expect("notification_updated")
    assert (json.loads(notified["notification"]["metadata"])["count"], notified["unreadCount"]) == (2, 1)
    await chat.delete(messages[0])  # a message that has been read
    assert await chat.state() == State(2, 2, 1, "three")
    await chat.api.get(chat.path, chat.sakura)
    assert await chat.state() == State(0, None, 0, None)
    assert (await chat.expect("notification_read"))["unreadCount"] == 0
    assert await chat.count("notification_updated") == [1, 1]


async def test_a_page_whose_messages_are_read_moves_no_mark(chat: Chat, monkeypatch):
    """The statement of the page says so, so that no second one is needed."""
    await chat.say("one", "two")
    assert [message["content"] for message in (await chat.api.get(chat.path, chat.sakura)).data] == ["one", "two"]

    async def refuse(*_: object) -> None:
        raise AssertionError("the mark is moved again")

    monkeypatch.setattr("handlers.chat.messages.mark_and_publish", refuse)
    for query in ("", "?page=1"):
        assert len((await chat.api.get(chat.path + query, chat.sakura)).data) == 2


async def test_numbered_pages_of_a_conversation(chat: Chat, people):
    assert (await chat.api.get(f"{chat.path}?page=1", chat.sakura)).body["pagination"]["total"] == 0
    await chat.say("one", "two", "three")
    answer = await chat.api.get(f"{chat.path}?page=2&limit=2", chat.sakura)
    assert ([message["content"] for message in answer.data], answer.body["pagination"]["total"]) == (["one"], 3)
    beyond = await chat.api.get(f"{chat.path}?page=3&limit=2", chat.sakura)
    assert (beyond.data, beyond.body["pagination"]["total"]) == ([], 3)
    assert (await chat.api.get(f"{chat.path}?page=1", await people.salon())).status == 404


async def test_a_notification_that_is_read_before_its_messages(chat: Chat):
    await chat.say("one", "two")
    [notification] = await chat.notifications()
    await chat.api.patch(f"/notifications/{notification['id']}/read", None, chat.sakura)
    assert await chat.state() == State(2, None, 0, None)
    [third] = await chat.say("three")
    assert await chat.state() == State(3, 3, 1, "three")
    await chat.delete(third)
    assert await chat.state() == State(2, 2, 1, "two")


async def test_notifications_that_are_read_show_no_deleted_text(chat: Chat):
    [message] = await chat.say("secret")
    await chat.api.get(chat.path, chat.sakura)
    await chat.expect("notification_read")
    await chat.edit(message, "better")
    assert (await chat.expect("notification_updated"))["notification"]["message"] == "better"
    await chat.delete(message)
    notified = await chat.expect("notification_updated")
    [shown] = await chat.notifications()
    assert notified == {"notification": shown, "unreadCount": 0}
    assert (shown["message"], shown["isRead"]) == (DELETED_MESSAGE, True)


async def test_what_changes_keeps_its_place_in_the_list(chat: Chat, db):
    messages = await chat.say("one", "two")
    await db.execute(
        "insert into notifications (user_id, type, title, message) values ($1, 'SYSTEM', 'a', 'b')", chat.sakura.id
    )
    order = [row["id"] for row in await chat.notifications()]
    await chat.edit(messages[1], "edited")
    await chat.delete(messages[1])
    await chat.api.patch(f"/chat/messages/{messages[0]['id']}/read", None, chat.sakura)
    assert [row["id"] for row in await chat.notifications()] == order


async def test_the_message_before_is_shown_as_a_preview(chat: Chat, db):
    long = "x" * (PREVIEW_CHARS - 1) + "👩‍👩‍👧‍👦"
    _, second, third = await chat.say(long, "a file", "last")
    await db.execute("update messages set content = '', file_name = 'plan.pdf' where id = $1", second["id"])
    await chat.delete(third)
    assert (await chat.state()).text == "plan.pdf"
    await chat.delete(second)
    assert (await chat.state()).text == long[: PREVIEW_CHARS - 1]


# From one snapshot of the database: the count of the conversation, and the content of the notification.
COMPARE = """
    select count(m.id) as unread, (
        select (n.metadata->>'count')::int from notifications n
        where n.user_id = p.user_id and n.conversation_id = p.conversation_id and not n.is_read
    ) as notified, (
        select n.message_id from notifications n
        where n.user_id = p.user_id and n.conversation_id = p.conversation_id and not n.is_read
    ) as shown, (array_agg(m.id order by m.seq desc))[1] as newest
    from conversation_participants p left join messages m on m.conversation_id = p.conversation_id
        and m.seq > p.last_read_seq and m.sender_id <> p.user_id and m.deleted_at is null
    where p.conversation_id = $1 and p.user_id = $2
    group by p.conversation_id, p.user_id
"""


async def test_they_agree_at_every_moment_of_a_race(chat: Chat, db):
    async def compare() -> None:
        row = await db.fetchrow(COMPARE, chat.id, chat.sakura.id)
        assert (row["notified"] or 0, row["shown"]) == (row["unread"], row["newest"]), dict(row)

    async def watch() -> None:
        while not done.is_set():
            await compare()

    done = asyncio.Event()
    watching = asyncio.create_task(watch())
    for _ in range(8):
        messages = await chat.say(*TEXTS)
        await asyncio.gather(
            chat.delete(messages[0]),
            chat.delete(messages[2]),
            chat.edit(messages[1], "edited"),
            chat.other_api.post(chat.path, {"content": "four"}, chat.hanako),
            chat.other_api.patch(f"/chat/messages/{messages[1]['id']}/read", None, chat.sakura),
            chat.other_api.get(chat.path, chat.sakura),
            chat.api.post(chat.path, {"content": "five"}, chat.hanako),
        )
    done.set()
    await watching
    await compare()


def counts(socket: SocketClient) -> dict[str, int]:
    """Return the unread count of the last event of each name, without the first message's."""
    named = [event for event in socket.events if event["event"].startswith("notification_")][1:]
    return {event["event"]: event["data"]["unreadCount"] for event in named}


WAITING = """
    select count(*) from pg_stat_activity where wait_event_type = 'Lock' and query like '%conversations%'
"""


async def test_a_notification_after_a_wait_counts_what_was_committed_meanwhile(chat: Chat, db):
    """The deletion and the message wait for the conversation; the message's badge must not count the deleted one."""
    [message] = await chat.say("one")
    await chat.sockets[0].expect("notification_received")

    async def wait_for(count: int) -> None:
        async with asyncio.timeout(30):
            while await tx.fetchval(WAITING) < count:
                await tx.execute("select pg_stat_clear_snapshot()")  # a transaction reads one state of the database

    async with db.transaction() as tx:
        await tx.execute("select from conversations where id = $1 for update", chat.id)
        deleting = asyncio.create_task(chat.delete(message))
        await wait_for(1)
        sending = asyncio.create_task(chat.say("two"))
        await wait_for(2)
    await asyncio.gather(deleting, sending)
    reader = chat.sockets[0]
    while not {"notification_deleted", "notification_received"} <= counts(reader).keys():  # in either order
        await reader.receive()
    assert counts(reader) == {"notification_deleted": 0, "notification_received": 1}


# -- an instance that missed events ------------------------------------------------------------------------------------


@pytest.fixture
def without_publisher(instance, monkeypatch):
    """Cut the connection to Redis, so that events of this instance do not reach others."""
    return lambda: monkeypatch.setattr(instance.realtime.relay, "send", lambda channel, event: None)


async def test_the_comparison_with_the_database_delivers_every_change(chat: Chat, without_publisher, monkeypatch):
    far = chat.sockets[1]
    messages = await chat.say("one", "two", "three", "four")
    for _ in range(4):
        await far.expect("notification_received")
    without_publisher()
    monkeypatch.setattr("realtime.catch_up.COMPARE_SECONDS", 0.1)
    monkeypatch.setattr("realtime.user_feeds.IN_TRANSIT_SECONDS", 0.1)

    async def expect(text: str, count: int) -> None:
        notified = await far.expect("notification_updated")
        shown = notified["notification"]
        assert (shown["message"], json.loads(shown["metadata"])["count"], notified["unreadCount"]) == (text, count, 1)

    await chat.edit(messages[3], "edited")
    await expect("edited", 4)
    await chat.delete(messages[3])
    await expect("three", 3)
    await chat.api.patch(f"/chat/messages/{messages[0]['id']}/read", None, chat.sakura)
    await expect("three", 2)
    await chat.say("five")
    assert (await far.expect("notification_received"))["notification"]["message"] == "five"
    [notification] = await chat.notifications()
    for message in (await chat.api.get(f"{chat.path}?peek=true", chat.sakura)).data[1:]:
        await chat.delete(message)
    assert await far.expect("notification_deleted") == {"notificationId": notification["id"], "unreadCount": 0}


async def test_a_request_that_is_withdrawn_before_delivery(api, other_api, people, without_publisher):
    hanako, sakura = await people.influencer(), await people.salon()
    far = await other_api.socket(sakura)
    asked = (await api.post("/connections/request", {"receiverId": sakura.id}, hanako)).data
    notification = (await far.expect("notification_received"))["notification"]
    without_publisher()
    assert (await api.delete(f"/connections/requests/{asked['id']}", hanako)).status == 200
    assert await far.expect("notification_deleted") == {"notificationId": notification["id"], "unreadCount": 0}


async def test_a_late_event_of_a_deleted_notification_is_not_delivered(chat: Chat, instance, db):
    sent = await send_message(db, chat.id, chat.hanako.id, NewMessage(content="one"))
    [message] = (await chat.api.get(f"{chat.path}?peek=true", chat.sakura)).data
    await chat.delete(message)
    await chat.expect("notification_deleted")
    assert sent.notice
    instance.realtime.publisher.publish(NotificationReceived(*sent.notice))
    assert await chat.count("notification_received") == [0, 0]
