"""A notification whose teller died between the commit and the telling arrives all the same, once."""

import json

from db.conversations import NewMessage, mark_read, send_message
from realtime.events import NotificationReceived


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
    instance.realtime.publish(NotificationReceived(*sent.notice))
    later = await send_and_die(db, conversation_id, hanako, "two")
    instance.realtime.publish(NotificationReceived(*later.notice))
    for socket in sockets:
        assert (await socket.expect("notification_received"))["notification"]["message"] == "two"
    # Older news that comes after newer is no news either.
    instance.realtime.publish(NotificationReceived(*sent.notice))
    await other_instance.realtime.hub.look()
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


async def test_who_comes_later_is_told_by_ready_alone(other_instance, api, other_api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    await send_and_die(db, conversation_id, hanako, "before")
    socket = await other_api.socket(sakura)
    assert socket.ready["unreadNotifications"] == 1
    await other_instance.realtime.hub.look()
    assert await socket.heard() == []
