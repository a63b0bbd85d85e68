"""Receive events of other instances and pass them to the gate. A repeated packet is delivered once."""

import time
from collections import OrderedDict

import structlog

from realtime import channels
from realtime.gate import DeliveryGate
from realtime.hub import Hub
from realtime.redis.packet import UnknownFormat, start_of, unpack

log = structlog.get_logger()

REMEMBERED_SENDERS = 10_000  # senders of instances that stopped long ago are dropped
FORMAT_RESYNC_SECONDS = 5.0  # during an upgrade clients resync at most this often; comparisons deliver the rest


class Receiver:
    """Passes each received event to the gate once, and lets clients resync when events are missing."""

    def __init__(self, instance_id: str, gate: DeliveryGate, hub: Hub) -> None:
        self.own = start_of(instance_id)
        self.gate = gate
        self.hub = hub
        self.received: OrderedDict[str, int] = OrderedDict()  # sender → number of its last packet
        self.format_resync_at = float("-inf")

    def receive(self, channel: str, packed: bytes) -> None:
        if packed.startswith(self.own):
            return
        try:
            sender, number, event = unpack(packed)
        except UnknownFormat:
            self._resync_after_unknown_format(channel)
            return
        if number <= self.received.get(sender, 0):
            return
        self.received[sender] = number
        self.received.move_to_end(sender)
        if len(self.received) > REMEMBERED_SENDERS:
            self.received.popitem(last=False)
        if channel == channels.ALL_INSTANCES:
            self.hub.resync("overflow")
        else:
            self.gate.deliver(channel, event)

    def resubscribed(self) -> None:
        """Let clients resync: channels were not subscribed for some time (lost connection, or moved cluster slots)."""
        self.hub.resync("redis")

    def _resync_after_unknown_format(self, channel: str) -> None:
        now = time.monotonic()
        if now - self.format_resync_at >= FORMAT_RESYNC_SECONDS:
            self.format_resync_at = now
            log.info("another version published an event", channel=channel)
            self.hub.resync("version")
