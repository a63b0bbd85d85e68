"""Hold events back while this instance does not know which sessions have ended.

An instance without PostgreSQL, or one that was frozen, still receives events from Redis. They must not be delivered to
users whose sessions have ended meanwhile. So they wait until the sessions are checked and the sockets of ended ones
are closed.
"""

from collections import deque

from db.queries.sessions import Sessions
from realtime.events import Event
from realtime.hub import Hub

HELD_BYTES = 8 * 1024 * 1024  # some seconds of a busy instance; above it the held events are dropped and clients resync


class DeliveryGate:
    """Passes events to the hub while it is known which sessions have ended, and keeps them otherwise."""

    def __init__(self, sessions: Sessions, hub: Hub) -> None:
        self.sessions = sessions
        self.hub = hub
        self.held: deque[tuple[str, Event]] = deque()
        self.held_bytes = 0
        self.overflowed = False

    def deliver(self, channel: str, event: Event) -> None:
        """Pass the event to the hub, now or as soon as the gate opens, in the order of arrival."""
        if not self.hub.has_feeds:  # no socket would receive it
            return
        if self.sessions.fresh and not self.held and not self.overflowed:
            self.hub.deliver(channel, event)
            return
        self.held.append((channel, event))
        self.held_bytes += len(event.frame)
        if self.held_bytes > HELD_BYTES:
            self._drop_held()
            self.overflowed = True

    def open(self) -> None:
        """Deliver the held events. Call it when the sockets of all ended sessions are closed."""
        held, overflowed = self.held, self.overflowed
        self._drop_held()
        self.overflowed = False
        for channel, event in held:
            self.hub.deliver(channel, event)
        if overflowed:
            self.hub.resync("overflow")

    def _drop_held(self) -> None:
        self.held = deque()
        self.held_bytes = 0
