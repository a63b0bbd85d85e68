"""The feeds of this instance by channel: one for each user with a socket, one for each joined conversation.

channels.py names the channels. conversation_feeds.py and user_feeds.py decide what a feed's sockets receive.
"""

import asyncio
import math

from db.queries.conversations import Changes
from realtime import channels
from realtime.conversation_feeds import CatchUpQueue, ConversationFeed, Listener
from realtime.events import Event, Resync, ResyncReason
from realtime.redis.relay import Relay
from realtime.user_feeds import UserFeed


class Hub:
    """The feeds of this instance. It subscribes to their channels and passes each event to its feeds."""

    def __init__(self, relay: Relay, catch_ups: CatchUpQueue) -> None:
        self.relay = relay
        self.catch_ups = catch_ups
        self.users: dict[str, UserFeed] = {}  # by channel
        self.conversations: dict[str, ConversationFeed] = {}  # by channel
        self.used = asyncio.Event()  # a feed was added since the comparison paused

    @property
    def has_feeds(self) -> bool:
        return bool(self.users or self.conversations)

    # -- users -------------------------------------------------------------------------------------------------------

    async def add_user(self, listener: Listener) -> None:
        """Deliver the user's events to this socket. Return when Redis has confirmed the channel, or soon after."""
        channel = channels.user(listener.user_id)
        feed = self.users.get(channel)
        if feed is None:
            feed = self.users[channel] = UserFeed(listener.user_id)
            self.used.set()
        feed.listeners.add(listener)
        await self.relay.subscribe(channel)

    def remove_user(self, listener: Listener) -> None:
        channel = channels.user(listener.user_id)
        feed = self.users.get(channel)
        if feed is None:
            return
        feed.listeners.discard(listener)
        if not feed.listeners:
            del self.users[channel]
            self.relay.unsubscribe(channel)

    def count_sockets(self, user_id: str) -> int:
        feed = self.users.get(channels.user(user_id))
        return len(feed.listeners) if feed else 0

    # -- conversations -----------------------------------------------------------------------------------------------

    async def begin_join(self, listener: Listener, conversation_id: str) -> ConversationFeed:
        """Collect the conversation's changes for this socket; `finish_join` of the feed or `leave` must follow."""
        channel = channels.conversation(conversation_id)
        feed = self.conversations.get(channel)
        if feed is None:
            feed = self.conversations[channel] = ConversationFeed(conversation_id, self.catch_ups)
            self.used.set()
        feed.begin_join(listener)
        await self.relay.subscribe(channel)
        return feed

    def leave(self, listener: Listener, conversation_id: str) -> None:
        feed = self.conversations.get(channels.conversation(conversation_id))
        if feed is not None:
            feed.remove(listener)
            if feed.empty:
                self._remove_feed(feed)

    def is_typing(self, conversation_id: str, user_id: str, within_seconds: float = math.inf) -> bool:
        feed = self.conversations.get(channels.conversation(conversation_id))
        return feed is not None and feed.typing.began_within(user_id, within_seconds)

    def apply(self, feed: ConversationFeed, changes: Changes, held_before: list[int]) -> None:
        """Deliver changes that were read from the database."""
        feed.apply(changes, held_before)
        if feed.closed:
            self._remove_feed(feed)

    def _remove_feed(self, feed: ConversationFeed) -> None:
        if self.conversations.get(feed.channel) is feed:
            del self.conversations[feed.channel]
            self.relay.unsubscribe(feed.channel)

    # -- delivering --------------------------------------------------------------------------------------------------

    def deliver(self, channel: str, event: Event) -> None:
        """Write the event's frame to this instance's sockets, or queue it; return at once."""
        conversation = self.conversations.get(channel)
        if conversation is not None:
            conversation.deliver(event)
            if conversation.closed:
                self._remove_feed(conversation)
        user = self.users.get(channel)
        if user is not None:
            user.deliver(event)
        if conversation or user:
            event.measure_delivery()  # to the sockets that take it at once

    def resync(self, reason: ResyncReason) -> None:
        """Send `resync` to all clients because events may be missing, and compare all feeds with the database now."""
        event = Resync(reason)
        for feed in list(self.users.values()):  # a copy, because a socket that reads too slowly leaves during the loop
            feed.deliver(event)
        self.catch_ups.all_soon.set()
