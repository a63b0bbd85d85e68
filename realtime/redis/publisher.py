"""One queue of what is to be said to one Redis server, in order. Who speaks waits for nothing."""

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog
from redis.exceptions import ResponseError

from db import tasks
from realtime.events import Envelope
from realtime.redis.subscriber import RETRY_SECONDS
from services.redis_client import FAILURES

log = structlog.get_logger()

QUEUE_BYTES = 16 * 1024 * 1024  # some seconds of a busy instance; over it, listeners are told to resync
ENVELOPE_BYTES = 200  # of an envelope beside its frame, roughly
BATCH_ENVELOPES = 200
SEND_SECONDS = 1.0

Batch = list[tuple[str, bytes]]  # channel and packed envelope


class Speaker:
    """`name` is this speaker's alone, over all instances: listeners remember up to which number they have heard it.

    `publish` says a batch and answers with the indexes of what Redis has turned down. `passed_on` is asked of each
    envelope before it is said: whether somebody else has taken it."""

    def __init__(self, name: str, publish: Callable[[Batch], Awaitable[list[int]]], on_overflow: Callable[[], None]):
        self.name = name
        self.publish = publish
        self.on_overflow = on_overflow
        self.on_astray: Callable[[], None] = lambda: None
        self.passed_on: Callable[[Envelope], bool] = lambda envelope: False
        self.queue: deque[Envelope] = deque()
        self.queued_bytes = 0
        self.in_hand: list[tuple[Envelope, bytes]] = []  # said, and perhaps not heard: said again as it is
        self.number = 0
        self.spoken = asyncio.Event()  # something is queued
        self.silent = asyncio.Event()  # nothing is
        self.silent.set()
        self.task: asyncio.Task[None] | None = None

    def say(self, envelope: Envelope) -> None:
        """Queue it. What does not fit is dropped, and listeners are told that something is missing."""
        if self.queued_bytes + size(envelope) > QUEUE_BYTES:
            self.queue.clear()
            self.queued_bytes = 0
            self.on_overflow()
        self.queue.append(envelope)
        self.queued_bytes += size(envelope)
        self.spoken.set()
        self.silent.clear()

    def start(self) -> None:
        self.task = asyncio.create_task(self._speak_for_ever(), name="speaker")

    async def stop(self) -> None:
        await tasks.end(self.task)

    async def finish(self) -> None:
        """Wait, within bounds, until all is said."""
        with suppress(TimeoutError):
            async with asyncio.timeout(SEND_SECONDS):
                await self.silent.wait()

    def unsaid(self) -> list[Envelope]:
        return [*(envelope for envelope, _ in self.in_hand), *self.queue]

    async def _speak_for_ever(self) -> None:
        while True:
            await self.spoken.wait()
            try:
                await self._say_batch()
                continue
            except FAILURES as error:
                log.debug("Redis was not told", reason=type(error).__name__)  # the subscriber warns, and ready tells
            except Exception:
                log.exception("speaker failed")
            self.on_astray()
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))

    async def _say_batch(self) -> None:
        self._take_in_hand()
        if self.in_hand:
            refused = await self.publish([(envelope.channel, packed) for envelope, packed in self.in_hand])
            # Surely not heard, so they get new numbers; first in the queue, so that their channels keep their order.
            back = [self.in_hand[index][0] for index in refused]
            self.queue.extendleft(reversed(back))
            self.queued_bytes += sum(map(size, back))
            self.in_hand = []
            if back:
                raise ResponseError("refused")
        if not self.queue:
            self.spoken.clear()
            self.silent.set()
        await asyncio.sleep(0)

    def _take_in_hand(self) -> None:
        self.in_hand = [said for said in self.in_hand if not self.passed_on(said[0])]
        for _ in range(min(len(self.queue), BATCH_ENVELOPES - len(self.in_hand))):
            envelope = self.queue.popleft()
            self.queued_bytes -= size(envelope)
            if not self.passed_on(envelope):
                self.number += 1
                self.in_hand.append((envelope, envelope.pack(self.name, self.number)))


def size(envelope: Envelope) -> int:
    return len(envelope.frame) + ENVELOPE_BYTES
