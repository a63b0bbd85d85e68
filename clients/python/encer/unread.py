"""Unread counts: of notifications, of all messages, and of each conversation."""

import json
from collections.abc import Callable
from typing import Any

from .socket import check_numbers

CONVERSATIONS = 1_000  # whose counts are kept; the oldest are dropped first


class Unread:
    """`changed(conversation_id, count)` is called at each change of a conversation; "" means the totals."""

    def __init__(self, changed: Callable[[str, int], None]) -> None:
        self.changed = changed
        self.notifications = 0
        self.counts: dict[str, int] = {}
        self.unlisted = 0  # messages that `ready` counts in conversations that are not known yet

    @property
    def messages(self) -> int:
        return max(self.unlisted, sum(self.counts.values()))

    def ready(self, data: dict[str, Any]) -> None:
        self.notifications, self.unlisted = data["unreadNotifications"], data["unreadMessages"]
        self.changed("", self.notifications)

    def listed(self, counts: dict[str, int]) -> None:
        """Store the counts of all conversations."""
        self.unlisted = 0
        for conversation_id in self.counts.keys() - counts.keys():
            self.set(conversation_id, 0)
        for conversation_id, count in counts.items():
            self.set(conversation_id, count)

    def set(self, conversation_id: str, count: int) -> None:
        check_numbers(count)
        before = self.counts.pop(conversation_id, 0)
        self.counts[conversation_id] = count
        if len(self.counts) > CONVERSATIONS:
            del self.counts[next(iter(self.counts))]
        if count != before:
            self.changed(conversation_id, count)

    def notification(self, name: str, data: dict[str, Any]) -> bool:
        """Store the counts of a notification event. Return whether the conversations must be listed again."""
        check_numbers(data["unreadCount"])
        self.notifications = data["unreadCount"]
        self.changed("", self.notifications)
        if "notification" not in data:  # read or deleted: the event does not name the conversation
            return any(self.counts.values())
        shown = data["notification"]
        if shown["type"] == "NEW_MESSAGE" and shown["conversationId"] and not shown["isRead"]:
            self.set(shown["conversationId"], json.loads(shown["metadata"] or "{}").get("count") or 0)
        return False
