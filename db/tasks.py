"""Background tasks: repeat their steps after failures, and end them reliably."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import structlog

log = structlog.get_logger()

CANCEL_AGAIN_SECONDS = 0.5


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
