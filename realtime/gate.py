"""Holds what comes while nobody can say who is still signed in: PostgreSQL does not answer, or has not yet.

An instance that is cut off from the database, or was frozen, goes on hearing Redis. What it hears may not be for those
whose sessions have ended meanwhile, so it waits until the sessions' feed has answered and closed their sockets.
"""

from collections import deque
from collections.abc import Callable

from realtime.events import Envelope

HELD_BYTES = 8 * 1024 * 1024  # some seconds of a busy instance; over it, listeners are told to resync


class Gate:
    """`fresh` tells whether whoever is not known to have left is still signed in."""

    def __init__(
        self, fresh: Callable[[], bool], deliver: Callable[[Envelope], None], on_overflow: Callable[[], None]
    ) -> None:
        self.fresh = fresh
        self.deliver = deliver
        self.on_overflow = on_overflow
        self.held: deque[Envelope] = deque()
        self.held_bytes = 0
        self.overflowed = False

    def take(self, envelope: Envelope) -> None:
        """Deliver it, now or later; in the order in which they came."""
        if self.fresh() and not self.held and not self.overflowed:
            self.deliver(envelope)
            return
        self.held.append(envelope)
        self.held_bytes += len(envelope.frame)
        if self.held_bytes > HELD_BYTES:
            self._empty()
            self.overflowed = True

    def open(self) -> None:
        """Sessions that have ended are closed by now: the others hear what was held."""
        held, overflowed = self.held, self.overflowed
        self._empty()
        self.overflowed = False
        for envelope in held:
            self.deliver(envelope)
        if overflowed:
            self.on_overflow()

    def _empty(self) -> None:
        self.held = deque()
        self.held_bytes = 0
