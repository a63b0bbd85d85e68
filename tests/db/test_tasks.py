"""`tasks.end` ends a task, also if a library loses the cancellation. Periodic tasks wake up together."""

import asyncio
import gc
import time

from db import tasks


def test_periodic_tasks_wait_for_the_same_moments(monkeypatch):
    """However late each one begins to wait, so that an idle process wakes up once for all of them."""
    monkeypatch.setattr(tasks, "PHASE_MS", 300)

    def wakes_at(now_ms: float, period: float) -> int:
        monkeypatch.setattr(time, "monotonic_ns", lambda: int(now_ms * 1_000_000))
        return int(now_ms) + round(tasks.until_next(period) * 1000)  # as uvloop computes it

    assert {wakes_at(now_ms, 1.0) for now_ms in (5_700, 5_700.9, 6_000.5, 6_699.9)} == {6_700}
    assert {wakes_at(now_ms, 2.0) for now_ms in (5_700, 5_701.2, 7_699.9)} == {7_700}
    assert wakes_at(5_700, 1.5) == 7_200
    assert wakes_at(7_200.4, 1.5) == 8_700


async def test_a_lost_cancellation_is_repeated(monkeypatch):
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    swallowed = asyncio.Event()

    async def ignores_the_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(ignores_the_first())
    await asyncio.sleep(0)
    await tasks.end(task, None)
    assert swallowed.is_set()
    assert task.cancelled()


async def test_exceptions_of_ended_tasks_are_ignored(io_loop):
    errors: list[object] = []
    io_loop.asyncio_loop.set_exception_handler(lambda loop, context: errors.append(context))

    async def fails() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise ValueError from None

    one, other = asyncio.create_task(fails()), asyncio.create_task(fails())
    await asyncio.sleep(0)
    await tasks.end(one)
    ending = asyncio.create_task(tasks.end(other))
    await asyncio.sleep(0)
    ending.cancel()  # the caller that waits for the end may be cancelled
    await asyncio.wait({ending, other})
    del one, other, ending
    gc.collect()
    io_loop.asyncio_loop.set_exception_handler(None)
    assert not errors
