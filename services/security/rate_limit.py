"""Rate limits shared by all instances: one atomic round trip to Redis, and per-instance limits without Redis.

A limit without burst allows `hits` in a window of `period` seconds that starts with the first hit. One with
burst is a bucket: it allows `burst` hits at once, and `hits / period` per second over time.

Where only failures count (sign-in), an attempt reserves its place before it is checked and settles it afterwards. While
the attempts in flight might use up the limit, further attempts wait for them. So parallel guesses gain nothing, and
parallel right passwords are all accepted.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from itertools import groupby
from typing import Any, NamedTuple
from uuid import uuid4

from db.outage import Outage
from services.metrics import REFUSALS
from services.redis_client import FAILURES
from services.redis_scripts import Scripts
from services.security.leases import Leases
from services.security.local_limits import LocalAttempts, LocalCounters
from services.security.rate_limit_scripts import RESERVE, SETTLE, TAKE
from settings import Limit

REST_SECONDS = 2.0  # pause after a failure of Redis, so that few requests wait during an outage
WAIT_SECONDS = 2  # how long an attempt waits for those in flight; checking a password takes 0.3 s
LEASE_SECONDS = 30  # how long the attempt of a dead instance keeps its place; longer than any attempt takes
POLL_SECONDS = 0.02
POLLS_PER_SECOND = 1000  # polls of all waiting attempts of an instance together; a poll takes 0.08 ms
MAX_WAITING = 1000  # so each waiting attempt asks at least once a second

GRANTED, REFUSED, CROWDED = 1, 0, 2  # the states that RESERVE answers


class Claim(NamedTuple):
    """One counter to take a hit from. `owner` is the user or network that is counted, `name` the kind of hit."""

    owner: str
    name: str
    limit: Limit | None  # None: switched off

    @classmethod
    def of_user(cls, user_id: str, name: str, limit: Limit | None) -> "Claim":
        """Return a counter of a signed-in user, which REST and sockets share."""
        return cls(f"user:{user_id}", name, limit)

    @property
    def key(self) -> str:
        # The braces keep one owner's counters on one node of a Redis cluster.
        return f"limit:{{{self.owner}}}:{self.name}"


Counted = tuple[str, Limit]  # a counter's key and its limit


def in_force(claims: Sequence[Claim]) -> list[Counted]:
    return [(claim.key, claim.limit) for claim in claims if claim.limit]


def by_owner(claims: Sequence[Claim]) -> list[list[Counted]]:
    """Return the counters of each owner: a script can use keys of one node of a Redis cluster only."""
    groups = [in_force(list(group)) for _, group in groupby(claims, key=lambda claim: claim.owner)]
    return [group for group in groups if group]


class Verdict(NamedTuple):
    allowed: bool
    limit: int
    remaining: int
    reset: int  # seconds until the counter is full again
    retry_after: int  # seconds; 0 when allowed


class Reservation(NamedTuple):
    """An attempt's place among the failures that are still allowed, if `state` is GRANTED."""

    id: str
    state: int
    verdicts: list[Verdict]
    groups: list[list[Counted]]


class RateLimits:
    def __init__(self, redis: Scripts) -> None:
        self.redis = redis
        self.local = LocalCounters()
        self.local_attempts = LocalAttempts(self.local)
        self.rest_until = 0.0
        self.outage = Outage("rate limits count on this instance alone", "rate limits count over all instances again")
        self.leases = Leases()
        self.waiting = 0  # attempts that wait for others in flight

    async def take(self, claims: Sequence[Claim]) -> list[Verdict]:
        """Count a hit on every claim, or on none if one is exhausted. Return verdicts of those that are on, in order.

        All claims must have one owner."""
        counted = in_force(claims)
        if len(counted) == 1 and (lease := self.leases.use(*counted[0])):  # most requests
            return to_verdicts(counted, [lease.answer], allowed=True)
        leased = {key: lease for key, limit in counted if (lease := self.leases.use(key, limit))}
        asked = [(key, limit) for key, limit in counted if key not in leased]
        allowed, counters = await self._take(asked) if asked else (True, [])
        answers = dict(zip((key for key, _ in asked), counters, strict=True))
        if not allowed:  # then none is counted
            for lease in leased.values():
                lease.left += 1
        answers |= {key: lease.answer for key, lease in leased.items()}
        verdicts = to_verdicts(counted, [answers[key] for key, _ in counted], allowed)
        if not allowed:
            count_refusals(claims, verdicts)
        return verdicts

    async def give_back(self, claims: Sequence[Claim]) -> None:
        """Undo one hit whose action did not happen."""
        counted = in_force(claims)
        if counted:
            await self._count(counted, [-1] * len(counted))

    async def reserve(self, claims: Sequence[Claim]) -> Reservation:
        """Reserve a place for an attempt that may fail. Wait up to WAIT_SECONDS while those in flight hold all places.

        A granted reservation must be settled. State CROWDED: they were still in flight at the end."""
        attempt, groups = uuid4().hex, by_owner(claims)
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            state, verdicts = await self._reserve(attempt, groups)
            left = deadline - time.monotonic()
            if state == REFUSED:
                count_refusals(claims, verdicts)
            if state != CROWDED or left <= 0 or self.waiting >= MAX_WAITING:
                return Reservation(attempt, state, verdicts, groups)
            self.waiting += 1
            try:
                await asyncio.sleep(min(max(POLL_SECONDS, self.waiting / POLLS_PER_SECOND), left))
            finally:
                self.waiting -= 1

    async def settle(self, reservation: Reservation, *, failed: bool) -> None:
        """Release the place, and count the attempt if it failed."""
        for counted in reservation.groups:
            keys, arguments = attempt_script(counted, reservation.id, int(failed))
            self.local_attempts.release(reservation.id, counted)
            if await self._ask(SETTLE, keys, arguments) is None and failed:
                self.local.add(counted)

    async def _reserve(self, attempt: str, groups: Sequence[Sequence[Counted]]) -> tuple[int, list[Verdict]]:
        """Reserve a place for every owner, or for none."""
        verdicts: list[Verdict] = []
        for number, counted in enumerate(groups):
            keys, arguments = attempt_script(counted, attempt, LEASE_SECONDS)
            answer = await self._ask(RESERVE, keys, arguments) or self.local_attempts.reserve(attempt, counted)
            state, counters = answer
            verdicts += to_verdicts(counted, counters, state == GRANTED)
            if state != GRANTED:
                await self.settle(Reservation(attempt, state, [], list(map(list, groups[:number]))), failed=False)
                return state, verdicts
        return GRANTED, verdicts

    async def _take(self, counted: Sequence[Counted]) -> tuple[bool, list[Any]]:
        """Take a hit of each limit in Redis, and with the general one a lease."""
        hits = [self.leases.ask(key, limit) for key, limit in counted]
        try:
            allowed, counters = await self._count(counted, hits)
        finally:
            self.leases.asked.difference_update(key for (key, _), size in zip(counted, hits, strict=True) if size > 1)
        answers = []
        for (key, limit), (remaining, reset, wait, *taken) in zip(counted, counters, strict=True):
            left = taken[0] - 1 if taken and allowed else 0
            if left:
                self.leases.keep(key, limit, left, remaining, reset)
            answers.append((remaining + left, reset, wait))
        return bool(allowed), answers

    async def _count(self, counted: Sequence[Counted], hits: Sequence[int]) -> tuple[bool, list[Any]]:
        answer = await self._ask(TAKE, [key for key, _ in counted], [*parameters(counted), *hits])
        return answer or self.local.count(counted, min(hits[0], 1))

    async def _ask(self, script: str, keys: Sequence[str], arguments: Sequence[float | str]) -> Any:
        """Run a script in Redis. Returns None while Redis is unavailable."""
        if time.monotonic() < self.rest_until:
            return None
        try:
            answer = await self.redis.eval(script, len(keys), *keys, *arguments)
        except FAILURES as error:
            self.rest_until = time.monotonic() + REST_SECONDS
            self.outage.begin(error)
            return None
        if time.monotonic() >= self.rest_until:  # otherwise a later request has failed
            self.outage.end()
        return answer


def count_refusals(claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> None:
    """Count the refusals of each limit. A claim's name may have an e-mail or network after a colon."""
    for claim, verdict in zip([claim for claim in claims if claim.limit], verdicts, strict=False):
        if not verdict.allowed:
            REFUSALS.labels(claim.name.partition(":")[0].removeprefix("limit_")).inc()


def parameters(counted: Sequence[Counted]) -> list[float]:
    return [number for _, limit in counted for number in (limit.period, limit.hits, limit.burst or 0)]


def attempt_script(counted: Sequence[Counted], attempt: str, number: int) -> tuple[list[str], list[float | str]]:
    keys = [key for counter, _ in counted for key in (counter, f"{counter}:in-flight")]
    return keys, [attempt, number, *parameters(counted)]


def to_verdicts(counted: Sequence[Counted], counters: Sequence[Any], allowed: bool) -> list[Verdict]:
    return [
        Verdict(
            allowed or wait == 0,
            limit.burst or limit.hits,
            int(remaining),
            math.ceil(reset / 1000),
            math.ceil(wait / 1000),
        )
        for (_, limit), (remaining, reset, wait) in zip(counted, counters, strict=True)
    ]
