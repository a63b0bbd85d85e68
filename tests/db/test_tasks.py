"""A task ends when it is told to, also when a library on its way swallows the word."""

import asyncio
import gc

from db import tasks


async def test_a_cancellation_that_is_swallowed_is_repeated(monkeypatch):
    monkeypatch.setattr(tasks, "CANCEL_AGAIN_SECONDS", 0.01)
    swallowed = asyncio.Event()

    async def deaf_at_first() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            swallowed.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(deaf_at_first())
    await asyncio.sleep(0)
    await tasks.end(task, None)
    assert swallowed.is_set()
    assert task.cancelled()


async def test_what_a_task_raised_is_nobody_s_concern(io_loop):
    told: list[object] = []
    io_loop.asyncio_loop.set_exception_handler(lambda loop, context: told.append(context))

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
    ending.cancel()  # who waits for the end may have to go first
    await asyncio.wait({ending, other})
    del one, other, ending
    gc.collect()
    io_loop.asyncio_loop.set_exception_handler(None)
    assert not told
