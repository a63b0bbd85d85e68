"""Ending background tasks for certain."""

import asyncio
from typing import Any

AGAIN_SECONDS = 0.5


async def end(*tasks: "asyncio.Task[Any] | None") -> None:
    """Cancel and wait until all have ended; what they raised meanwhile is nobody's concern any more.

    Cancels again while one lives on: before Python 3.12 `asyncio.wait_for` (redis-py writes through it) swallows a
    cancellation that arrives together with its result, and the task would go on for ever.
    """
    living = {task for task in tasks if task is not None}
    for task in living:
        task.add_done_callback(see)
    while living:
        for task in living:
            task.cancel()
        _, living = await asyncio.wait(living, timeout=AGAIN_SECONDS)


def see(task: "asyncio.Task[Any]") -> None:
    """Take note of what a task raised: else it is reported when the task is collected."""
    if not task.cancelled():
        task.exception()
