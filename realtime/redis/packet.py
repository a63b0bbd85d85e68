"""The packet between instances: the header as a line of JSON, then the frame that sockets receive.

The header names the format, the sending queue, a number that grows with each packet of that queue, the event, the time
of its publication, and the fields that receiving instances need. An instance that receives another format sends its
clients `resync`.
"""

from typing import NamedTuple

import orjson

from realtime.events import EVENTS, Event

FORMAT = 2


class Packet(NamedTuple):
    """A received packet: its event, the queue that sent it, and its number in that queue."""

    sender: str
    number: int
    event: Event


class UnknownFormat(Exception):
    """The packet comes from an instance of another version."""


def pack(sender: str, number: int, event: Event) -> bytes:
    header = {
        "format": FORMAT,
        "sender": sender,
        "number": number,
        "event": event.name,
        "fields": event.header(),
        "at": event.published_at,
    }
    return orjson.dumps(header) + b"\n" + event.frame


def start_of(instance_id: str) -> bytes:
    """Return how each packet of an instance begins, so that it can drop its own ones without parsing them."""
    return b'{"format":%d,"sender":"%s' % (FORMAT, instance_id.encode())


def unpack(packed: bytes) -> Packet:
    """Return the parts of a packet. Raises UnknownFormat."""
    head, _, frame = packed.partition(b"\n")
    try:
        header = orjson.loads(head)
        if header["format"] != FORMAT:
            raise UnknownFormat
        event = EVENTS[header["event"]].restore(header["fields"], frame, header.get("at"))
        return Packet(header["sender"], header["number"], event)
    except (ValueError, KeyError, TypeError) as error:
        raise UnknownFormat from error
