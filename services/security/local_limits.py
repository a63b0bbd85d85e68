"""Rate limits in memory: for sockets, and for requests while Redis is unavailable."""

import math
import time
from collections import Counter, OrderedDict
from collections.abc import Sequence
from typing import Any, NamedTuple

from settings import Limit

LOCAL_KEYS = 20_000  # about 4 MB; the least recently used counter is dropped


class Measured(NamedTuple):
    """A counter after more hits; `answer` has the form of the scripts in Redis."""

    remaining: float
    value: float
    end: float
    answer: tuple[int, int, int]


def measure(value: float, end: float, limit: Limit, hits: int, now: float) -> Measured:
    """Return a counter after more hits. `value` and `end` are those of the last counter that was kept, or 0."""
    if limit.burst:
        cost = limit.period / limit.hits
        value = max(value, now) + hits * cost
        reset = max(value - now, 0.0)
        remaining = math.floor((limit.burst * cost - reset) / cost + 1e-6)
        wait, end = reset - limit.burst * cost, value
    else:
        value, end = (value, end) if end > now else (0.0, now + limit.period)
        value = max(value + hits, 0)
        remaining, reset, wait = int(limit.hits - value), end - now, end - now
    wait = 0 if remaining >= 0 else wait
    return Measured(remaining, value, end, (max(remaining, 0), math.ceil(reset * 1000), math.ceil(wait * 1000)))


class LocalCounter:
    """The counter of one limit, without a key: each socket has one for its frames."""

    __slots__ = ("end", "value")

    def __init__(self) -> None:
        self.value = self.end = 0.0

    def take(self, limit: Limit) -> bool:
        """Count a hit, unless the limit is exhausted. Return whether it was counted."""
        counter = measure(self.value, self.end, limit, 1, time.time())
        if counter.remaining < 0:
            return False
        self.value, self.end = counter.value, counter.end
        return True


class LocalCounters:
    def __init__(self) -> None:
        self.counters: OrderedDict[str, tuple[float, float]] = OrderedDict()  # key -> (value, end)

    def count(self, counted: Sequence[tuple[str, Limit]], hits: int) -> tuple[bool, list[Any]]:
        """Count hits on all limits or, if one is exhausted, on none."""
        now = time.time()
        measured = {key: self.measure(key, limit, hits, now) for key, limit in counted}
        allowed = all(counter.remaining >= 0 for counter in measured.values())
        if allowed:
            self._keep(measured)
        return allowed, [counter.answer for counter in measured.values()]

    def add(self, counted: Sequence[tuple[str, Limit]]) -> None:
        """Count a hit on all limits, exhausted or not."""
        now = time.time()
        self._keep({key: self.measure(key, limit, 1, now) for key, limit in counted})

    def measure(self, key: str, limit: Limit, hits: int, now: float) -> Measured:
        return measure(*self.counters.get(key, (0.0, 0.0)), limit, hits, now)

    def _keep(self, measured: dict[str, Measured]) -> None:
        for key, counter in measured.items():
            self.counters[key] = (counter.value, counter.end)
            self.counters.move_to_end(key)
        while len(self.counters) > LOCAL_KEYS:
            self.counters.popitem(last=False)


class LocalAttempts:
    """The attempts in flight whose places were reserved here."""

    def __init__(self, failures: LocalCounters) -> None:
        self.failures = failures
        self.in_flight: Counter[str] = Counter()  # key -> attempts; one per running request, each is released
        self.reserved: set[tuple[str, str]] = set()  # (attempt, key)

    def reserve(self, attempt: str, counted: Sequence[tuple[str, Limit]]) -> tuple[int, list[Any]]:
        """Do what the script RESERVE does."""
        now, state, answer = time.time(), 1, []
        for key, limit in counted:
            alone = self.failures.measure(key, limit, 1, now)
            together = self.failures.measure(key, limit, 1 + self.in_flight[key], now)
            if alone.remaining < 0:
                state = 0
                answer.append(alone.answer)
            else:
                answer.append((*together.answer[:2], 0))
                state = 2 if together.remaining < 0 and state == 1 else state
        if state == 1:
            for key, _ in counted:
                self.in_flight[key] += 1
                self.reserved.add((attempt, key))
        return state, answer

    def release(self, attempt: str, counted: Sequence[tuple[str, Limit]]) -> None:
        """Release the places that an attempt has reserved here, if any."""
        for key, _ in counted:
            if (attempt, key) in self.reserved:
                self.reserved.discard((attempt, key))
                self.in_flight[key] -= 1
                if not self.in_flight[key]:
                    del self.in_flight[key]
