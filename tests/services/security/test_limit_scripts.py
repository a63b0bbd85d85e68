"""The scripts in Redis and the counters in memory follow one algorithm: any sequence of calls has the same answers."""

import time
from types import SimpleNamespace

import pytest
import redis
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.security import local_limits
from services.security.local_limits import LocalAttempts, LocalCounters
from services.security.rate_limit import attempt_script, parameters
from services.security.rate_limit_scripts import MEASURE, RESERVE, SETTLE, TAKE
from settings import Limit

# Redis cannot be given a time, so the scripts read the test's clock. Its steps are long, so that the real time between
# two calls changes no answer.
REAL_TIME = MEASURE.strip().splitlines()[:2]
TEST_TIME = ["local now = redis.call('GET', 'test clock')", "now = tonumber(now)"]
STEP = 100.0
BEGIN = 1_800_000_000.0
LEASE = 10_000_000  # no reservation expires, because memory keeps those of a running process

LIMITS = st.builds(Limit, st.integers(1, 5), st.integers(1, 9).map(lambda n: n * STEP), st.none() | st.integers(1, 4))
CALLS = st.one_of(
    st.tuples(st.just("take"), st.sampled_from([1, 1, 1, -1])),
    st.tuples(st.just("reserve"), st.integers(0, 5)),
    st.tuples(st.just("settle"), st.integers(0, 5), st.booleans()),
    st.tuples(st.just("wait"), st.integers(1, 6)),
)


def with_test_time(script: str) -> str:
    for real, test in zip(REAL_TIME, TEST_TIME, strict=True):
        assert script.count(real) == 1
        script = script.replace(real, test)
    return script


class InRedis:
    def __init__(self, server: redis.Redis, counted) -> None:
        self.server, self.counted = server, counted
        self.scripts = {script: server.register_script(with_test_time(script)) for script in (TAKE, RESERVE, SETTLE)}
        self.keys = [key for counter, _ in counted for key in (counter, f"{counter}:in-flight")]
        server.delete(*self.keys)
        self.now = BEGIN
        self.wait(0)

    def wait(self, steps: int) -> None:
        self.now += steps * STEP
        self.server.set("test clock", self.now)
        for key, _ in self.counted:
            left = self.server.pttl(key) - int(steps * STEP * 1000)
            if left > 0:
                self.server.pexpire(key, left)
            else:
                self.server.delete(key)

    def take(self, hits: int):
        keys = [key for key, _ in self.counted]
        allowed, answers = self.scripts[TAKE](keys, [*parameters(self.counted), *[hits] * len(keys)])
        assert [taken for *_, taken in answers] == [hits] * len(keys)
        return allowed, [answer for *answer, _ in answers]

    def reserve(self, attempt: int):
        return self.scripts[RESERVE](*attempt_script(self.counted, str(attempt), LEASE))

    def settle(self, attempt: int, failed: bool) -> None:
        self.scripts[SETTLE](*attempt_script(self.counted, str(attempt), int(failed)))


class InMemory:
    def __init__(self, counted) -> None:
        self.counted = counted
        self.counters = LocalCounters()
        self.attempts = LocalAttempts(self.counters)

    def take(self, hits: int):
        return self.counters.count(self.counted, hits)

    def reserve(self, attempt: int):
        return self.attempts.reserve(str(attempt), self.counted)

    def settle(self, attempt: int, failed: bool) -> None:
        self.attempts.release(str(attempt), self.counted)
        if failed:
            self.counters.add(self.counted)


@pytest.fixture(scope="module")
def server(servers):
    with redis.Redis.from_url(servers.redis_url) as server:
        yield server


@settings(max_examples=80, deadline=None)
@example(limits=[Limit(3, 200.0, 3)], calls=[("take", 1)] * 3)  # values with many digits
@given(limits=st.lists(LIMITS, min_size=1, max_size=3), calls=st.lists(CALLS, max_size=25))
def test_redis_and_memory_answer_alike(server, limits, calls):
    counted = [(f"test limit {number}", limit) for number, limit in enumerate(limits)]
    in_redis, in_memory = InRedis(server, counted), InMemory(counted)
    in_flight: set[int] = set()  # a client settles only granted reservations, and reserves an id once
    began = time.monotonic()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(local_limits, "time", SimpleNamespace(time=lambda: in_redis.now))
        for call, *arguments in calls:
            if call == "wait":
                in_redis.wait(*arguments)
            elif call == "settle":
                if arguments[0] in in_flight:
                    in_flight.discard(arguments[0])
                    in_redis.settle(*arguments)
                    in_memory.settle(*arguments)
            elif call == "take" or arguments[0] not in in_flight:
                there, here = (getattr(side, call)(*arguments) for side in (in_redis, in_memory))
                if call == "reserve" and here[0] == 1:
                    in_flight.add(arguments[0])
                assert there[0] == here[0], (call, there, here)
                late = 1000 * (time.monotonic() - began) + 2  # keys expire by real time
                for (left, reset, wait), (left_here, reset_here, wait_here) in zip(there[1], here[1], strict=True):
                    assert left == left_here, (call, there, here)
                    assert abs(reset - reset_here) <= late and abs(wait - wait_here) <= late, (call, there, here)
    server.delete(*in_redis.keys, "test clock")
