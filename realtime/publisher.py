"""Publish events: deliver each to this instance's sockets and queue it for the other instances."""

from realtime.events import Event
from realtime.gate import DeliveryGate
from realtime.redis.relay import Relay
from services.metrics import events_published


class Publisher:
    """Deliver an event to this instance's sockets and, through Redis, to those of the other instances."""

    def __init__(self, gate: DeliveryGate, relay: Relay) -> None:
        self.gate = gate
        self.relay = relay

    def publish(self, event: Event) -> None:
        """Publish after the commit, never before. Return at once, without waiting for sockets or Redis."""
        events_published(event.name).inc()
        event.mark_published()
        for channel in event.channels():
            self.gate.deliver(channel, event)
            self.relay.send(channel, event)
