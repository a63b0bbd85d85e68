"""Hits of the general limit that Redis has counted in advance, so that most requests need no round trip (contract §1).

An instance takes a lease of at most 2 % of a limit and counts requests on it. Near the limit each hit is taken alone,
so a limit is never exceeded. What is left of a lease at the end of its window is lost.
"""

import time
from collections import OrderedDict
from dataclasses import dataclass

from settings import Limit

LEASED = "limit_general"  # the only limit that may be inexact
SHARE = 50  # a lease is one fiftieth of the limit
MAX_LEASES = 20_000  # about 6 MB; a dropped lease counts at most 2 % of the limit too much


@dataclass(slots=True)
class Lease:
    limit: Limit
    left: int
    beyond: int  # hits that Redis still had when it granted the lease
    ends: float  # time.monotonic()

    @property
    def answer(self) -> tuple[int, int, int]:
        """Return the state of the counter in the form of the scripts in Redis."""
        return self.left + self.beyond, max(0, int((self.ends - time.monotonic()) * 1000)), 0


class Leases:
    def __init__(self) -> None:
        self.held: OrderedDict[str, Lease] = OrderedDict()
        self.asked: set[str] = set()  # counters whose next lease was requested; at most one per running request

    def use(self, key: str, limit: Limit) -> Lease | None:
        """Count a hit on the lease of this counter, if there is one."""
        lease = self.held.get(key)
        if lease is None or lease.left <= 0 or lease.limit != limit or time.monotonic() >= lease.ends:
            return None
        lease.left -= 1
        return lease

    def ask(self, key: str, limit: Limit) -> int:
        """Return how many hits to take: a lease, or one while another request asks for it. A bucket has no lease:
        its hits become free one by one."""
        if limit.burst or not key.endswith(LEASED) or key in self.asked:
            return 1
        size = limit.hits // SHARE
        if size <= 1:
            return 1
        self.asked.add(key)
        return size

    def keep(self, key: str, limit: Limit, left: int, beyond: int, milliseconds: int) -> None:
        """Keep a lease that Redis has granted."""
        self.held[key] = Lease(limit, left, beyond, time.monotonic() + milliseconds / 1000)
        self.held.move_to_end(key)
        if len(self.held) > MAX_LEASES:
            self.held.popitem(last=False)
