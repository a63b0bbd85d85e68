"""What the users of this instance have been told of their notifications, to find what they have not been.

A notification is known by its id and the moment of its last change. A change that comes twice, or after a later one, is
dropped; what the database holds and nobody brought is fetched (the instance that should have told died first, say).

The count of unread ones that goes with the news is taken in the statement that makes it: of two at once neither counts
the other. So what was told last is counted once more, and if it was wrong the client is told to look again.
"""

import time
from typing import Any, NamedTuple

from db.pool import Database
from db.schemas.shapes import Notification
from realtime import channels
from realtime.events import (
    GONE,
    READ,
    Envelope,
    Event,
    NotificationDeleted,
    NotificationEvent,
    NotificationReceived,
    NotificationUpdated,
    encode,
)

ON_ITS_WAY_SECONDS = 1.0  # younger changes may still be brought by whoever made them
ASKED_AT_ONCE = 5_000  # users in one statement, and changes that it answers: the latest

# `came` is when the latest news came, as a stamp and an age; `age` that of the last change of any kind.
LIST_NOTICED = f"""
    select user_id, id, iso(greatest(updated_at, changed_at)) as stamp, is_read,
        extract(epoch from clock_timestamp() - changed_at)::float8 as age,
        iso(updated_at) as came, extract(epoch from clock_timestamp() - updated_at)::float8 as came_age
    from notifications where changed_at > now() - make_interval(secs => $1) and user_id = any($2::uuid[])
    union all
    select user_id, id, '{GONE}', false, extract(epoch from clock_timestamp() - deleted_at)::float8, '{GONE}', 0
    from deleted_notifications where deleted_at > now() - make_interval(secs => $1) and user_id = any($2::uuid[])
    order by age limit {ASKED_AT_ONCE}
"""

FETCH_NOTICES = f"""
    select n.id, n.user_id, {Notification.sql("n")} as notification,
        (select count(*) from notifications o where o.user_id = n.user_id and not o.is_read) as unread_count
    from notifications n where n.id = any($1::uuid[]) and not n.is_read
"""

COUNT_UNREAD = """
    select u.id, (select count(*) from notifications n where n.user_id = u.id and not n.is_read) as unread
    from unnest($1::uuid[]) u(id)
"""


class Told(NamedTuple):
    stamp: str
    checksum: int
    at: float


class Inbox:
    """Of one user, since the first socket here."""

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.since = time.monotonic()
        self.told: dict[str, Told] = {}
        self.read_at = float("-inf")  # when a notification_read was last heard
        self.unread: int | None = None  # the count that was told last; None once it has been found right
        self.unread_at = 0.0
        self.doubted = False  # it was wrong when looked at, but the right one may have been on its way

    def is_news(self, envelope: Envelope) -> bool:
        now = time.monotonic()
        if envelope.notice is None:
            return True
        if envelope.notice == READ:
            self.read_at = now
        else:
            id, stamp, checksum = envelope.notice
            told = self.told.get(id)
            if told and (stamp < told.stamp or (stamp, checksum) == told[:2]):
                return False
            self.told[id] = Told(stamp, checksum, now)
        self.unread, self.unread_at, self.doubted = envelope.unread, now, False
        return True

    def was_told_wrong(self, unread: int, began: float) -> bool:
        """Whether the count is wrong for the second time in a row, without news in between."""
        if self.unread is None or self.unread_at >= began:
            return False
        if unread != self.unread and not self.doubted:
            self.doubted = True
            return False
        wrong, self.unread = unread != self.unread, None
        return wrong

    def lacks(self, row: Any, began: float) -> bool:
        changed_at = began - row["age"]
        if row["age"] < ON_ITS_WAY_SECONDS or changed_at < self.since:
            return False
        if self.was_told(row["id"], row["stamp"]):
            return False
        return not row["is_read"] or self.read_at < changed_at

    def lacks_news(self, row: Any, began: float, seconds: float) -> bool:
        """Return whether the latest news of a row that it lacks is missing too, not only a later change."""
        came_at = began - row["came_age"]
        return came_at >= max(self.since, began - seconds) and not self.was_told(row["id"], row["came"])

    def was_told(self, id: str, stamp: str) -> bool:
        told = self.told.get(id)
        return told is not None and told.stamp >= stamp

    def forget(self, before: float) -> None:
        self.told = {id: told for id, told in self.told.items() if told.at >= before}


class Inboxes:
    def __init__(self, db: Database) -> None:
        self.db = db
        self.inboxes: dict[str, Inbox] = {}  # by channel

    def open(self, user_id: str) -> None:
        self.inboxes.setdefault(channels.user(user_id), Inbox(user_id))

    def close(self, user_id: str) -> None:
        self.inboxes.pop(channels.user(user_id), None)

    def is_news(self, envelope: Envelope) -> bool:
        inbox = self.inboxes.get(envelope.channel)
        return inbox is None or inbox.is_news(envelope)

    async def look(self, seconds: float) -> list[Envelope]:
        """What has to be told, as far as it changed in the last `seconds`: one statement, and three more if need be."""
        began = time.monotonic()
        users = [inbox.user_id for inbox in self.inboxes.values()]
        changed: dict[str, type[NotificationEvent]] = {}  # by the notification's id
        gone: dict[str, str] = {}  # user ids, by the notification's
        resyncs: set[str] = set()
        for start in range(0, len(users), ASKED_AT_ONCE):
            for row in await self.db.fetch(LIST_NOTICED, seconds, users[start : start + ASKED_AT_ONCE]):
                inbox = self.inboxes.get(channels.user(row["user_id"]))
                if inbox is None or not inbox.lacks(row, began):
                    continue
                if row["is_read"]:
                    inbox.read_at = began
                    resyncs.add(row["user_id"])
                elif row["stamp"] == GONE:
                    gone[row["id"]] = row["user_id"]
                else:
                    is_news = inbox.lacks_news(row, began, seconds)
                    changed[row["id"]] = NotificationReceived if is_news else NotificationUpdated
        for inbox in self.inboxes.values():
            inbox.forget(began - seconds)
        resyncs |= await self.find_miscounted(began)
        events = [*await self.fetch_changed(changed), *await self.fetch_gone(gone)]
        again = encode("resync", {"reason": "notifications"})
        return [
            *(envelope for event in events for envelope in event.envelopes()),
            *(Envelope(channels.user(user_id), again) for user_id in resyncs),
        ]

    async def fetch_changed(self, changed: dict[str, type[NotificationEvent]]) -> list[Event]:
        rows = await self.db.fetch(FETCH_NOTICES, list(changed)) if changed else []
        return [changed[row["id"]](row["user_id"], row["notification"], row["unread_count"]) for row in rows]

    async def fetch_gone(self, gone: dict[str, str]) -> list[Event]:
        rows = await self.db.fetch(COUNT_UNREAD, list(set(gone.values()))) if gone else []
        unread = {row["id"]: row["unread"] for row in rows}
        return [NotificationDeleted(user_id, id, unread[user_id]) for id, user_id in gone.items()]

    async def find_miscounted(self, began: float) -> set[str]:
        """Users whose count was told wrong."""
        counted = [inbox.user_id for inbox in self.inboxes.values() if inbox.unread is not None]
        found: set[str] = set()
        for start in range(0, len(counted), ASKED_AT_ONCE):
            for row in await self.db.fetch(COUNT_UNREAD, counted[start : start + ASKED_AT_ONCE]):
                inbox = self.inboxes.get(channels.user(row["id"]))
                if inbox and inbox.was_told_wrong(row["unread"], began):
                    found.add(row["id"])
        return found
