"""A notification whose teller died between the commit and the telling arrives all the same, once."""

import asyncio
import json
from unittest.mock import Mock

from db.queries.conversations import Changes, NewMessage, send_message
from db.queries.unread import mark_read
from realtime.events import MessageDeleted, MessageRead, NotificationReceived
from realtime.feeds import CatchUpQueue, ConversationFeed


async def send_and_die(db, conversation_id, sender, content: str):
    """What an instance does that is killed before it can tell anybody."""
    return await send_message(db, conversation_id, sender.id, NewMessage(content=content))


async def test_what_nobody_told_is_found_within_seconds(instance, other_instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    sockets = [await api.socket(sakura), await other_api.socket(sakura)]
    sent = await send_and_die(db, conversation_id, hanako, "one")
    for socket in sockets:
        told = await socket.expect("notification_received")
        assert (told["unreadCount"], json.loads(told["notification"]["metadata"])["count"]) == (1, 1)
    # Whoever should have told comes to life and tells it late: it is no news.
    instance.realtime.publisher.publish(NotificationReceived(*sent.notice))
    later = await send_and_die(db, conversation_id, hanako, "two")
    instance.realtime.publisher.publish(NotificationReceived(*later.notice))
    for socket in sockets:
        assert (await socket.expect("notification_received"))["notification"]["message"] == "two"
    # Older news that comes after newer is no news either.
    instance.realtime.publisher.publish(NotificationReceived(*sent.notice))
    await other_instance.realtime.catch_up.find_missed()
    for socket in sockets:
        assert (await socket.heard()).count("notification_received") == 2


async def test_a_reading_that_nobody_told_makes_the_client_look_again(api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await other_api.socket(sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    await api.post(path, {"content": "hello"}, hanako)
    await socket.expect("notification_received")
    await mark_read(db, conversation_id, sakura.id, 1)
    assert (await socket.expect("resync")) == {"reason": "notifications"}


async def test_a_count_that_missed_another_at_once_is_asked_for_again(instance, other_instance, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    socket = await other_api.socket(sakura)
    for count, resyncs in ((2, 1), (1, 1)):  # there is one; and when it is told right, nothing follows
        _, notification, _ = (await send_and_die(db, conversation_id, hanako, f"told as {count}")).notice
        instance.realtime.publisher.publish(NotificationReceived(sakura.id, notification, count))
        assert (await socket.expect("notification_received"))["unreadCount"] == count
        for _ in range(2):
            await other_instance.realtime.catch_up.find_missed()
        assert (await socket.heard()).count("resync") == resyncs


async def test_who_comes_later_is_told_by_ready_alone(other_instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    await send_and_die(db, conversation_id, hanako, "before")
    socket = await other_api.socket(sakura)
    assert socket.ready["unreadNotifications"] == 1
    await other_instance.realtime.catch_up.find_missed()
    assert await socket.heard() == []


async def test_a_read_mark_that_nobody_told_is_found_within_seconds(instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    sockets = [await api.socket(hanako), await other_api.socket(hanako)]
    for content in ("one", "two"):
        await api.post(path, {"content": content}, hanako)
    await mark_read(db, conversation_id, sakura.id, 1)  # before anybody has joined: theirs to ask for
    for socket in sockets:
        await socket.join(conversation_id)
    mark = await mark_read(db, conversation_id, sakura.id, 2)
    for socket in sockets:
        told = await socket.expect("message_read")
        assert (told["userId"], told["seq"], told["readAt"]) == (sakura.id, 2, mark.read_at)
    # Whoever should have told comes to life and tells it late: it is no news.
    instance.realtime.publisher.publish(MessageRead(conversation_id, sakura.id, mark.seq, mark.read_at))
    await api.post(path, {"content": "three"}, hanako)  # comes behind it
    for socket in sockets:
        while (await socket.expect("message_sent"))["content"] != "three":
            pass
        assert (await socket.heard()).count("message_read") == 1


async def test_news_that_the_database_does_not_know_is_asked_for_once():
    """It was set back to a backup, say: what waits for the gap before it would be asked for over and over."""
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
