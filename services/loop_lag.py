"""Measure how late the event loop runs timers. Every request, frame and timeout is delayed by as much."""

import asyncio

from services.metrics import LOOP_LAG_SECONDS

INTERVAL_SECONDS = 0.5


async def measure_loop_lag() -> None:
    """Measure once; db.tasks.supervise repeats it."""
    loop = asyncio.get_running_loop()
    due = loop.time() + INTERVAL_SECONDS
    await asyncio.sleep(INTERVAL_SECONDS)
    LOOP_LAG_SECONDS.observe(max(0.0, loop.time() - due))
