"""Measure how late the event loop runs timers. Every request, frame and timeout is delayed by as much."""

import asyncio

from db.tasks import until_next
from services.metrics import LOOP_LAG_SECONDS

INTERVAL_SECONDS = 1.0


async def measure_loop_lag() -> None:
    """Measure once; db.tasks.supervise repeats it."""
    loop = asyncio.get_running_loop()
    seconds = until_next(INTERVAL_SECONDS)
    due = loop.time() + seconds
    await asyncio.sleep(seconds)
    LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - due))
