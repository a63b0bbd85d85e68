"""publish(event): the single way in for handlers, commands and jobs."""

from realtime.events import Event
from realtime.hub import Hub
from realtime.redis.relay import Relay


class Publisher:
    """To this instance's sockets at once, to the other instances through Redis; waits for neither."""

    def __init__(self, hub: Hub, relay: Relay) -> None:
        self.hub = hub
        self.relay = relay

    def publish(self, event: Event) -> None:
        """Call it after the commit, never before: what is told must be true."""
        for envelope in event.envelopes():
            self.hub.deliver(envelope)
            self.relay.send(envelope)
