"""The caller's notifications. Each change is published to all sockets of the user, with the new unread count."""

from datetime import datetime

from db.errors import NotFound
from db.fragments import unread_notifications
from db.schemas.fields import Id
from db.schemas.shapes import Notification, UnreadNotifications
from handlers.http.base import Handler
from handlers.http.endpoint import USER, PageSize, Paging, endpoint
from handlers.http.paging import Cursor, key_or_latest, page_of, window
from realtime.events import NotificationDeleted, NotificationRead

BY_UPDATE = Cursor(datetime, Id)

COUNT_UNREAD = f"select {unread_notifications('$1')}"


class NotificationHandler(Handler):
    async def count_unread(self) -> int:
        """Return the unread count. Call it after the commit: inside the statement, two concurrent changes would each
        miss the other, and the last published count would be wrong."""
        count: int = await self.db.fetchval(COUNT_UNREAD, self.caller.id)
        return count


class NotificationQuery(Paging):
    limit: PageSize = 50


LIST_NOTIFICATIONS = f"""
    select {Notification.sql("n")}, n.updated_at, n.id
    from notifications n
    where n.user_id = $1 and (n.updated_at, n.id) < {key_or_latest("$2", "$3")}
    order by n.updated_at desc, n.id desc limit $4
"""


class Notifications(NotificationHandler):
    @endpoint(USER, query=NotificationQuery, returns=list[Notification])
    async def get(self, query: NotificationQuery) -> None:
        """List the caller's notifications, most recently updated first."""
        asked = window(query, BY_UPDATE)
        rows = await self.db.fetch(LIST_NOTIFICATIONS, self.caller.id, *asked.key, asked.fetch)
        self.reply_page(page_of(rows, asked, BY_UPDATE))


class UnreadCount(NotificationHandler):
    @endpoint(USER, returns=UnreadNotifications)
    async def get(self) -> None:
        """Count the caller's unread notifications."""
        self.reply({"count": await self.count_unread()})


# `updated_at` stays, because the list is sorted by it and reading must not reorder it.
READ_NOTIFICATION = f"""
    with changed as (
        update notifications set is_read = true where id = $1 and user_id = $2 and not is_read returning id
    )
    select {Notification.sql("n", is_read="true")} as body, exists (select from changed) as changed
    from notifications n where n.id = $1 and n.user_id = $2
"""


class ReadNotification(NotificationHandler):
    @endpoint(USER, returns=Notification)
    async def patch(self, notification_id: str) -> None:
        """Mark one notification as read; repeating it changes nothing."""
        read = await self.db.fetchrow(READ_NOTIFICATION, notification_id, self.caller.id)
        if read is None:
            raise NotFound("Notification")
        if read["changed"]:
            self.publish(NotificationRead(self.caller.id, notification_id, await self.count_unread()))
        self.reply(read["body"])


READ_ALL = """
    with changed as (update notifications set is_read = true where user_id = $1 and not is_read returning id)
    select count(*) from changed
"""


class ReadAllNotifications(NotificationHandler):
    @endpoint(USER, returns=UnreadNotifications)
    async def patch(self) -> None:
        """Mark all notifications as read; returns the count of those that arrived meanwhile."""
        changed = await self.db.fetchval(READ_ALL, self.caller.id)
        unread = await self.count_unread()
        if changed:
            self.publish(NotificationRead(self.caller.id, None, unread))
        self.reply({"count": unread}, message="All notifications are marked as read")


DELETE_NOTIFICATION = "delete from notifications where id = $1 and user_id = $2 returning id"


class OneNotification(NotificationHandler):
    @endpoint(USER)
    async def delete(self, notification_id: str) -> None:
        """Delete one notification."""
        if await self.db.fetchval(DELETE_NOTIFICATION, notification_id, self.caller.id) is None:
            raise NotFound("Notification")
        self.publish(NotificationDeleted(self.caller.id, notification_id, await self.count_unread()))
        self.reply(message="Notification deleted")


routes = [
    ("/notifications", Notifications),
    ("/notifications/unread", UnreadCount),
    ("/notifications/read-all", ReadAllNotifications),
    ("/notifications/{id}/read", ReadNotification),
    ("/notifications/{id}", OneNotification),
]
