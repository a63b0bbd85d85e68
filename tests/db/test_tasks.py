"""`tasks.end` ends a task, also if a library loses the cancellation."""

import asyncio
import gc

from db import tasks


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
