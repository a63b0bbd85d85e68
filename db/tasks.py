"""Background tasks: run them for ever, and end them for certain."""

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
    """Repeat `step`, which waits for its own work. After a failure pause, so that a lasting failure costs little.

    `expected` failures (a server that is unavailable) are reported elsewhere; others are logged as defects.
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
    """Cancel the tasks and wait until all have ended. What they raised meanwhile is ignored.

    Cancel again while one continues: before Python 3.12 `asyncio.wait_for` (redis-py writes through it) swallows a
    cancellation that arrives together with its result, and the task would continue for ever.
    """
    living = {task for task in tasks if task is not None}
    for task in living:
        task.add_done_callback(retrieve)
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=CANCEL_AGAIN_SECONDS)


def retrieve(task: "asyncio.Task[Any]") -> None:
    """Retrieve the exception of a task; asyncio reports one that nobody retrieves."""
    if not task.cancelled():
        task.exception()
