"""Background tasks: repeat their steps after failures, and end them reliably."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import structlog

log = structlog.get_logger()

CANCEL_AGAIN_SECONDS = 0.5
PHASE_MS = random.randrange(60_000)  # instances do not all poll at the same moment


def until_next(period: float) -> float:
    """Return the seconds until the next multiple of `period` on a clock that all tasks of this process share.

    So periodic tasks wake up together: each time that an idle process wakes up costs more than most of them.
    """
    now = time.monotonic_ns() // 1_000_000 + PHASE_MS  # in whole milliseconds, like uvloop's timers
    period_ms = round(period * 1000)
    return (period_ms - now % period_ms) / 1000


async def supervise(
    name: str,
    step: Callable[[], Awaitable[None]],
    expected: tuple[type[BaseException], ...] = (),
    pause_seconds: tuple[float, float] = (0.5, 0.5),
) -> NoReturn:
    """Repeat `step`, which waits until it has work. Pause after a failure, so that a permanent failure costs little.

    `expected` failures (an unavailable server) are reported elsewhere; others are logged as defects.
    """
    while True:
        try:
            await step()
            continue
        except expected:
            pass
        except Exception:
            log.exception("task failed", task=name)
        await asyncio.sleep(random.uniform(*pause_seconds))


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel the tasks and wait until all have ended. Their exceptions are ignored.

    A task that has not ended is cancelled again: before Python 3.12 `asyncio.wait_for` (used by redis-py to write)
    loses a cancellation that arrives together with its result, and the task would never end.
    """
    living = {task for task in tasks if task is not None}
    for task in living:
        task.add_done_callback(retrieve)
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=CANCEL_AGAIN_SECONDS)


def retrieve(task: "asyncio.Task[Any]") -> None:
    """Retrieve the exception of a task, because asyncio logs exceptions that are not retrieved."""
    if not task.cancelled():
        task.exception()
