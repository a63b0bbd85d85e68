"""The state of one user's notifications as this instance's sockets have received it.

A notification's state is identified by its id and the time of its last change. A feed drops a repeated state, or one
that arrives after a newer one. Instances publish independently, so an unread state may arrive after the event of
another instance that the notification was read; it counts as older, and the clients resync, because they lack its
text. The unread count is counted in the statement that writes the notification; of two concurrent statements neither
counts the other's. So catch_up.py counts again, and the clients resync if the last delivered count was wrong.
"""

import time
from typing import NamedTuple

from realtime.conversation_feeds import Listener
from realtime.events import READ, Event, NotificationDeleted, NotificationsChanged, NotificationState

EXACT_SECONDS = 0.02  # a statement that takes longer reads ages that are too inexact; opening a socket takes a few ms
IN_TRANSIT_SECONDS = 1.0  # a newer change may still be published by its instance


GONE = "~"  # later than any time, so that no state of a deleted notification counts as new


class Delivered(NamedTuple):
    """The last delivered state of a notification. `at` is the time of its delivery."""

    stamp: str
    checksum: int
    at: float


class StoredNotice(NamedTuple):
    """The state of a notification in the database: its last change of any kind, and its last arrival.

    Ages are in seconds. The stamp of a deleted notification is GONE.
    """

    user_id: str
    id: str
    stamp: str
    is_read: bool
    age: float
    arrival_stamp: str
    arrival_age: float


class UserFeed:
    """The sockets of one user on this instance, and the notifications that they have received."""

    __slots__ = ("created_at", "delivered", "listeners", "read_at", "suspect", "unread", "unread_at", "user_id")

    def __init__(self, user_id: str) -> None:
        self.user_id = user_id
        self.listeners: set[Listener] = set()
        self.created_at = time.monotonic()
        self.delivered: dict[str, Delivered] = {}  # by notification
        self.read_at = float("-inf")  # when a notification_read last arrived
        self.unread: int | None = None  # the last delivered count; None once it is known to be right
        self.unread_at = 0.0
        self.suspect = False  # the count was wrong once; an event with the right one may have been in transit

    def deliver(self, event: Event) -> None:
        if self._is_new(event):
            for listener in list(self.listeners):
                listener.send(event.frame, event)

    def _is_new(self, event: Event) -> bool:
        now = time.monotonic()
        if isinstance(event, NotificationState):
            if not self._is_newer(*event.stamp, now):
                if event.stamp[1] < READ == self.delivered[event.stamp[0]].stamp:
                    self.read_at = float("-inf")  # clients lack its text: the comparison finds the reading, they resync
                return False
        elif isinstance(event, NotificationDeleted) and event.notification_id:
            if not self._is_newer(event.notification_id, GONE, 0, now):
                return False
        elif isinstance(event, NotificationsChanged):
            self.mark_read(event.notification_id, now)
        else:
            return True
        self.unread, self.unread_at, self.suspect = event.unread_count, now, False
        return True

    def _is_newer(self, id: str, stamp: str, checksum: int, now: float) -> bool:
        """Return whether this state is newer than the delivered one, and store it."""
        known = self.delivered.get(id)
        if known and (stamp < known.stamp or (stamp, checksum) == known[:2]):
            return False
        self.delivered[id] = Delivered(stamp, checksum, now)
        return True

    def mark_read(self, id: str | None, now: float) -> None:
        """Note that this notification, or with None all of them, is known to be read."""
        self.read_at = now
        if id is not None:
            self._is_newer(id, READ, 0, now)

    def misses(self, notice: StoredNotice, asked: float, answered: float) -> bool:
        """Return whether this state was not delivered, although it is old enough to have arrived.

        Its age was read between `asked` and `answered`. If it may be newer than this feed, it counts as newer, unless
        the answer took long: then a change before the feed would be delivered again. If a reading may be the one that
        was delivered, it counts as delivered."""
        if notice.age < IN_TRANSIT_SECONDS or self._has(notice.id, notice.stamp):
            return False
        changed_at = (answered if answered - asked <= EXACT_SECONDS else asked) - notice.age
        if changed_at < self.created_at:
            return False
        if not notice.is_read or self.read_at < asked - notice.age:
            return True
        known = self.delivered.get(notice.id)  # an unread state; if it arrived after the reading, clients show it again
        return known is not None and known.at > self.read_at

    def misses_arrival(self, notice: StoredNotice, now: float, seconds: float) -> bool:
        """Return whether the last arrival of a missed state is missing too, and not only a later change of it."""
        arrived_at = now - notice.arrival_age
        earliest = max(self.created_at, now - seconds)
        return arrived_at >= earliest and not self._has(notice.id, notice.arrival_stamp)

    def _has(self, id: str, stamp: str) -> bool:
        known = self.delivered.get(id)
        return known is not None and known.stamp >= stamp

    def count_was_wrong(self, unread: int, now: float) -> bool:
        """Return whether the delivered count is wrong for the second time in a row, without an event in between."""
        if self.unread is None or self.unread_at >= now:
            return False
        if unread != self.unread and not self.suspect:
            self.suspect = True
            return False
        wrong, self.unread = unread != self.unread, None
        return wrong

    def drop_older_than(self, before: float) -> None:
        """Drop states that were delivered before; changes that old are no longer read from the database."""
        if self.delivered:
            self.delivered = {id: state for id, state in self.delivered.items() if state.at >= before}
