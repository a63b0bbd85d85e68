"""An event whose instance dies between the commit and the publication is still delivered, once."""

import asyncio
import json
from unittest.mock import AsyncMock, Mock

from orjson import Fragment

from db.queries.conversations import Changes, NewMessage, send_message
from db.queries.unread import mark_read
from realtime.catch_up import CatchUp, pause_seconds
from realtime.conversation_feeds import CatchUpQueue, ConversationFeed
from realtime.events import (
    MessageDeleted,
    MessageRead,
    NotificationDeleted,
    NotificationRead,
    NotificationReceived,
    NotificationUpdated,
)
from realtime.hub import Hub
from realtime.user_feeds import GONE, StoredNotice, UserFeed


async def send_and_die(db, conversation_id, sender, content: str):
    """Send a message as an instance that is killed after the commit, before it publishes anything."""
    return await send_message(db, conversation_id, sender.id, NewMessage(content=content))


async def test_an_unpublished_notification_is_delivered_soon(instance, other_instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    sockets = [await api.socket(sakura), await other_api.socket(sakura)]
    sent = await send_and_die(db, conversation_id, hanako, "one")
    for socket in sockets:
        event = await socket.expect("notification_received")
        assert (event["unreadCount"], json.loads(event["notification"]["metadata"])["count"]) == (1, 1)
    # The instance publishes late after all: nothing is delivered twice.
    instance.realtime.publisher.publish(NotificationReceived(*sent.notice))
    later = await send_and_die(db, conversation_id, hanako, "two")
    instance.realtime.publisher.publish(NotificationReceived(*later.notice))
    for socket in sockets:
        assert (await socket.expect("notification_received"))["notification"]["message"] == "two"
    # An older state that arrives after a newer one is not delivered.
    instance.realtime.publisher.publish(NotificationReceived(*sent.notice))
    await other_instance.realtime.catch_up.find_missed()
    for socket in sockets:
        assert (await socket.received_names()).count("notification_received") == 2


async def test_a_state_that_arrives_after_the_notification_was_read_is_dropped(
    instance, other_instance, api, other_api, people, db
):
    """Two instances publish independently. The next message is a new notification, so the count would be right."""
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    sockets = [await api.socket(sakura), await other_api.socket(sakura)]
    late = await send_and_die(db, conversation_id, hanako, "one")
    mark = await mark_read(db, conversation_id, sakura.id, 1)
    assert mark.read
    other_instance.realtime.publisher.publish(NotificationRead(*mark.read))
    for socket in sockets:
        assert (await socket.expect("notification_read"))["unreadCount"] == 0
    instance.realtime.publisher.publish(NotificationReceived(*late.notice))
    for socket in sockets:
        assert (await socket.expect("resync"))["reason"] == "notifications"  # clients lack the text "one"
    later = await send_and_die(db, conversation_id, hanako, "two")
    instance.realtime.publisher.publish(NotificationReceived(*later.notice))
    for socket in sockets:
        assert (await socket.expect("notification_received"))["notification"]["message"] == "two"
    for _ in range(3):
        await instance.realtime.catch_up.find_missed()
    for socket in sockets:
        names = await socket.received_names()
        assert (names.count("notification_received"), names.count("resync")) == (1, 1)


async def test_a_state_that_arrives_after_a_reading_was_found_is_dropped(instance, api, people, db):
    """The event of the reading was never published, and the comparison has found it."""
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await api.socket(sakura)
    late = await send_and_die(db, conversation_id, hanako, "one")
    await mark_read(db, conversation_id, sakura.id, 1)
    await socket.expect("resync")
    instance.realtime.publisher.publish(NotificationReceived(*late.notice))
    assert "notification_received" not in await socket.received_names()


async def test_a_state_that_arrives_after_all_were_read_causes_one_resync(instance, api, people, db):
    """The event of the reading does not name it. The next message is a new notification, so the count is right."""
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await api.socket(sakura)
    late = await send_and_die(db, conversation_id, hanako, "one")
    await api.patch("/notifications/read-all", None, sakura)
    await socket.expect("notification_read")
    instance.realtime.publisher.publish(NotificationReceived(*late.notice))
    later = await send_and_die(db, conversation_id, hanako, "two")
    instance.realtime.publisher.publish(NotificationReceived(*later.notice))
    assert (await socket.expect("resync"))["reason"] == "notifications"
    for _ in range(3):
        await instance.realtime.catch_up.find_missed()
    assert (await socket.received_names()).count("resync") == 1


def test_a_read_notification_stays_read_until_it_is_deleted():
    feed = UserFeed("1")
    for event, delivered in (
        (NotificationRead("1", "n", 0), True),
        (NotificationUpdated("1", Fragment("{}"), 1, ("n", "2026", 1)), False),
        (NotificationUpdated("1", Fragment("{}"), 0, ("n", "}2026", 1)), True),  # its message was edited
        (NotificationRead("1", "n", 0), True),
        (NotificationUpdated("1", Fragment("{}"), 0, ("n", "}2026", 1)), False),
        (NotificationDeleted("1", "n", 0), True),
        (NotificationRead("1", "n", 0), True),  # its count is as good as any
        (NotificationReceived("1", Fragment("{}"), 1, ("n", "2027", 1)), False),
    ):
        assert feed._is_new(event) == delivered, event
    assert feed.delivered["n"].stamp == GONE


def test_what_is_in_transit_arrives_before_the_next_comparison(monkeypatch):
    monkeypatch.setattr("db.tasks.until_next", lambda _: 0.01)
    assert pause_seconds() == 1.0


async def test_an_instance_without_sockets_compares_nothing(monkeypatch):
    monkeypatch.setattr("realtime.catch_up.COMPARE_SECONDS", 0.01)
    hub = Hub(AsyncMock(), CatchUpQueue())
    catch_up = CatchUp(Mock(), Mock(), hub, Mock(), hub.catch_ups)
    monkeypatch.setattr(catch_up, "find_missed", AsyncMock())
    comparing = asyncio.create_task(catch_up._compare())
    done, _ = await asyncio.wait({comparing}, timeout=0.05)
    assert not done
    await hub.add_user(Mock(user_id="1"))
    async with asyncio.timeout(10):
        await comparing


def test_a_change_that_is_as_old_as_its_feed_counts_as_missed():
    """The age of a change is read by a statement, whose own time makes the moment of the change inexact."""
    feed = UserFeed("1")
    opened = feed.created_at
    asked, answered = opened + 5.0, opened + 5.01
    unread = StoredNotice("1", "n", "2026", False, 5.005, "2026", 5.005)  # changed 5 ms before or after it opened
    assert feed.misses(unread, asked, answered)
    assert feed.misses_arrival(unread, answered, 10.0)
    assert not feed.misses(unread, asked, answered + 0.5)  # a late answer shows only that it is not surely newer
    assert not feed.misses(unread._replace(age=5.3), asked, answered)
    feed.read_at = opened  # a reading was delivered then, perhaps this one
    assert not feed.misses(unread._replace(is_read=True), asked, answered)
    assert feed.misses(unread._replace(is_read=True, age=4.9), asked, answered)


async def test_an_unpublished_reading_causes_a_resync(api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await other_api.socket(sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    await api.post(path, {"content": "hello"}, hanako)
    await socket.expect("notification_received")
    await mark_read(db, conversation_id, sakura.id, 1)
    assert (await socket.expect("resync")) == {"reason": "notifications"}


async def test_a_count_that_missed_a_concurrent_change_causes_a_resync(instance, other_instance, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await other_api.socket(sakura)
    for count, resyncs in ((2, 1), (1, 1)):  # one count is wrong; after the right one nothing follows
        _, notification, _ = (await send_and_die(db, conversation_id, hanako, f"counted as {count}")).notice
        instance.realtime.publisher.publish(NotificationReceived(sakura.id, notification, count))
        assert (await socket.expect("notification_received"))["unreadCount"] == count
        for _ in range(2):
            await other_instance.realtime.catch_up.find_missed()
        assert (await socket.received_names()).count("resync") == resyncs


async def test_a_later_socket_gets_the_counts_from_ready_alone(other_instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    await send_and_die(db, conversation_id, hanako, "before")
    socket = await other_api.socket(sakura)
    assert socket.ready["unreadNotifications"] == 1
    await other_instance.realtime.catch_up.find_missed()
    assert await socket.received_names() == []


async def test_an_unpublished_read_mark_is_delivered_soon(instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    sockets = [await api.socket(hanako), await other_api.socket(hanako)]
    for content in ("one", "two"):
        await api.post(path, {"content": content}, hanako)
    await mark_read(db, conversation_id, sakura.id, 1)  # before the first join: clients fetch such marks
    for socket in sockets:
        await socket.join(conversation_id)
    mark = await mark_read(db, conversation_id, sakura.id, 2)
    for socket in sockets:
        event = await socket.expect("message_read")
        assert (event["userId"], event["seq"], event["readAt"]) == (sakura.id, 2, mark.read_at)
    # The instance publishes late after all: nothing is delivered twice.
    instance.realtime.publisher.publish(MessageRead(conversation_id, sakura.id, mark.seq, mark.read_at))
    await api.post(path, {"content": "three"}, hanako)  # arrives after it
    for socket in sockets:
        while (await socket.expect("message_sent"))["content"] != "three":
            pass
        assert (await socket.received_names()).count("message_read") == 1


async def test_a_rev_that_the_database_does_not_know_is_looked_up_once():
    """After a backup is restored, a gap before such a rev would otherwise be queried again and again."""
    queue = CatchUpQueue()
    feed = ConversationFeed("c", queue)
    listener = Mock(user_id="u")
    feed.begin_join(listener)
    feed.finish_join(listener, 1)
    feed.deliver(MessageDeleted("c", "m", 9, 9))
    assert await asyncio.wait_for(queue.get(), 5) is feed
    assert feed.needs_catch_up
    feed.apply(Changes(1, False, [], True), list(feed.held))
    assert feed.held == {} and not feed.needs_catch_up
