"""A user's own notifications. Whatever changes here, all sockets of the user are told, with the count that is left."""

from datetime import datetime

from db.errors import NotFound
from db.schemas.fields import Id
from db.schemas.shapes import Notification, UnreadNotifications
from handlers.http.base import Handler
from handlers.http.endpoint import USER, PageSize, Paging, endpoint
from handlers.http.paging import Cursor, key_or_latest, page_of, window
from realtime.events import NotificationDeleted, NotificationRead

BY_UPDATE = Cursor(datetime, Id)

COUNT_UNREAD = "select count(*) from notifications where user_id = $1 and not is_read"


class NotificationHandler(Handler):
    async def count_unread(self) -> int:
        """Asked after a change has committed, never in its statement: of two changes at once each would miss the
        other, and the last count that the sockets hear would stay wrong."""
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
        """The caller's notifications, latest news first."""
        asked = window(query, BY_UPDATE)
        rows = await self.db.fetch(LIST_NOTIFICATIONS, self.caller.id, *asked.key, asked.fetch)
        self.reply_page(page_of(rows, asked, BY_UPDATE))


class UnreadCount(NotificationHandler):
    @endpoint(USER, returns=UnreadNotifications)
    async def get(self) -> None:
        """How many notifications the caller has not read."""
        self.reply({"count": await self.count_unread()})


# Reading is no news: `updated_at`, by which the list is sorted, stays, so that nothing moves under the reader's eyes.
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
        """Mark one notification as read; once more changes nothing."""
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
        """Mark all notifications as read; answers what has come in since."""
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
