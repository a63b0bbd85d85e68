"""Passwords are hashed and checked in threads: bounded by waiting time, checks before new hashes."""

import asyncio
import os
import sys
import threading
import time
from typing import Any

import pytest

from services.security.passwords import Passwords
from services.security.priority_threads import NICENESS, PriorityThreads, TooBusy
from tests.helpers.clients import Api
from tests.helpers.factories import PASSWORD


class Hasher:
    """Work that lasts until `go_on` is set, one item after the other; it records what has begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.go_on = threading.Semaphore(0)

    def work(self, name: str) -> str:
        self.begun.append(name)
        self.go_on.acquire()
        return name


async def wait_until(condition) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.005)


async def test_a_thread_has_a_lower_priority_than_the_event_loop():
    if sys.platform != "linux":  # elsewhere a thread has no priority of its own
        return
    threads = PriorityThreads("test", 1, wait_seconds=20, work_seconds=0.1)
    priority = await threads.run(lambda: os.getpriority(os.PRIO_PROCESS, threading.get_native_id()), urgent=True)
    threads.close()
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert priority == min(own + NICENESS, 19)


async def test_threads_work_where_their_priority_cannot_be_changed(monkeypatch):
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    threads = PriorityThreads("test", 1, wait_seconds=20, work_seconds=0.1)
    assert await threads.run(int, "7", urgent=True) == 7
    threads.close()


@pytest.fixture
def hasher():
    hasher = Hasher()
    yield hasher
    hasher.go_on.release(1000)


def start(threads: PriorityThreads, hasher: Hasher, name: str, *, urgent: bool = False) -> asyncio.Task[str]:
    return asyncio.ensure_future(threads.run(hasher.work, name, urgent=urgent))


async def finish(threads: PriorityThreads, *tasks: asyncio.Task[str]) -> None:
    await asyncio.gather(*tasks, return_exceptions=True)
    assert (len(threads.urgent), len(threads.normal)) == (0, 0)
    threads.close()
    for thread in threads.threads:
        await asyncio.to_thread(thread.join)


async def test_urgent_work_goes_first(hasher):
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=0.001)
    tasks = [start(threads, hasher, "first")]
    await wait_until(lambda: hasher.begun == ["first"])
    for number in range(20):
        tasks.append(start(threads, hasher, f"sign-up {number}"))
    for number in range(3):
        tasks.append(start(threads, hasher, f"login {number}", urgent=True))
    await wait_until(lambda: len(threads.urgent) + len(threads.normal) == 23)
    hasher.go_on.release(100)
    await finish(threads, *tasks)
    assert hasher.begun == ["first", *(f"login {n}" for n in range(3)), *(f"sign-up {n}" for n in range(20))]


async def test_work_that_would_wait_too_long_is_refused_at_once(hasher):
    threads = PriorityThreads("test", threads=2, wait_seconds=2, work_seconds=0.3)
    tasks = [start(threads, hasher, f"running {number}") for number in range(2)]
    await wait_until(lambda: len(hasher.begun) == 2)
    sign_ups = [start(threads, hasher, f"sign-up {number}") for number in range(200)]
    await wait_until(lambda: sum(task.done() for task in sign_ups) == 186)  # 13 × 0.3 s / 2 threads are within 2 s
    logins = [start(threads, hasher, f"login {number}", urgent=True) for number in range(200)]
    await wait_until(lambda: sum(task.done() for task in logins) == 186)  # the sign-ups do not count for them
    assert {type(task.exception()) for task in [*sign_ups, *logins] if task.done()} == {TooBusy}
    hasher.go_on.release(100)
    await finish(threads, *tasks, *sign_ups, *logins)
    assert len(hasher.begun) == 30


async def test_work_that_others_overtake_is_refused_in_time(hasher):
    threads = PriorityThreads("test", threads=1, wait_seconds=0.05, work_seconds=0.001)
    first = start(threads, hasher, "first")
    await wait_until(lambda: hasher.begun == ["first"])
    with pytest.raises(TooBusy):
        await threads.run(hasher.work, "sign-up", urgent=False)
    hasher.go_on.release()
    await finish(threads, first)
    assert hasher.begun == ["first"]


async def test_the_estimate_follows_the_work():
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=100)
    for _ in range(100):
        await threads.run(lambda: None, urgent=True)
    assert threads.work_seconds < 1
    threads.close()


async def test_slow_work_is_not_refused_while_a_thread_is_free():
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=1e6)
    assert await threads.run(lambda: "done", urgent=False) == "done"
    threads.close()


async def test_the_threads_do_not_wait_for_the_event_loop(hasher):
    """All items are done while the event loop is blocked; none is refused, although the loop checks too late."""
    threads = PriorityThreads("test", threads=2, wait_seconds=0.01, work_seconds=0.000_001)
    hasher.go_on.release(1000)
    tasks = [start(threads, hasher, f"{number}", urgent=number % 2 == 0) for number in range(20)]
    await asyncio.sleep(0)  # each is queued now
    deadline = time.monotonic() + 20
    while len(hasher.begun) < 20:
        assert time.monotonic() < deadline
        time.sleep(0.001)  # blocks the event loop
    assert await asyncio.gather(*tasks) == [f"{number}" for number in range(20)]
    await finish(threads)


async def test_a_cancelled_wait_leaves_no_gap(hasher):
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=0.001)
    first = start(threads, hasher, "first")
    await wait_until(lambda: hasher.begun == ["first"])
    cancelled, last = start(threads, hasher, "cancelled"), start(threads, hasher, "last")
    await wait_until(lambda: len(threads.normal) == 2)
    cancelled.cancel()
    await wait_until(cancelled.done)
    assert len(threads.normal) == 1
    hasher.go_on.release(10)
    await finish(threads, first, last)
    assert hasher.begun == ["first", "last"]


async def test_what_waits_is_refused_when_the_server_stops(hasher):
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=0.001)
    first = start(threads, hasher, "first")
    await wait_until(lambda: hasher.begun == ["first"])
    waiting = start(threads, hasher, "waiting")
    await wait_until(lambda: len(threads.normal) == 1)
    threads.close()
    await asyncio.wait({waiting})
    hasher.go_on.release(10)
    await finish(threads, first)
    assert hasher.begun == ["first"]


async def test_work_that_fails_gives_its_thread_back():
    threads = PriorityThreads("test", threads=1, wait_seconds=60, work_seconds=0.001)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0, urgent=False)
    await finish(threads)


async def test_logins_pass_while_sign_ups_fill_the_queue(instance, api: Api, people, hasher, monkeypatch):
    """Sign-ups fill both threads and the queue. Logins run next; further sign-ups are asked to try again."""
    person = await people.influencer()
    threads = PriorityThreads("test", threads=2, wait_seconds=60, work_seconds=10)  # room for 13
    monkeypatch.setattr(instance.services.passwords, "threads", threads)
    run, order = threads.run, hasher.begun

    async def noted(work: Any, *args: Any, urgent: bool) -> Any:
        def step() -> Any:
            if urgent:
                order.append("login")
            else:
                hasher.work("sign-up")
            return work(*args)

        return await run(step, urgent=urgent)

    monkeypatch.setattr(threads, "run", noted)

    async def sign_up(number: int):
        body = {"name": "Hanako", "email": f"new{number}@example.com", "password": PASSWORD, "termsAccepted": True}
        return await api.post("/auth/signup/salon", body)

    sign_ups = [asyncio.create_task(sign_up(number)) for number in range(2)]
    await wait_until(lambda: order == ["sign-up"] * 2)
    sign_ups += [asyncio.create_task(sign_up(number)) for number in range(2, 20)]
    await wait_until(lambda: sum(task.done() for task in sign_ups) == 5)
    busy = next(task.result() for task in sign_ups if task.done())
    assert (busy.status, busy.code, busy.headers["Retry-After"]) == (503, "BUSY", "2")
    logins = [
        asyncio.create_task(api.post("/auth/login", {"email": person.email, "password": PASSWORD})) for _ in range(5)
    ]
    await wait_until(lambda: len(threads.urgent) == 5)
    hasher.go_on.release()
    assert [answer.status for answer in await asyncio.gather(*logins)] == [200] * 5
    assert order[:7] == ["sign-up"] * 2 + ["login"] * 5
    hasher.go_on.release(100)
    answers = await asyncio.gather(*sign_ups)
    assert sorted(answer.status for answer in answers) == [201] * 15 + [503] * 5
    threads.close()


def test_the_first_estimate_is_measured():
    cheap = Passwords(4)
    assert 0 < cheap.threads.work_seconds < 60
    assert cheap.threads.wait_seconds == 2
    cheap.close()
