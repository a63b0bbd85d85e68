"""One supervised connection to one Redis server that listens, and never does anything but listen.

It is held by nobody's request: callers say what they want to hear, a writer asks Redis for it in batches, a reader
hands on what comes. Pings are answered in their order behind everything that was published before; when they are not,
the connection is made anew and `on_resume` told, for whatever was missed meanwhile stands in the database.
(redis-py's own PubSub connects again by itself without a word, so that nobody would know that something was missed.)
"""

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from typing import Any

import structlog
from redis.exceptions import RedisError, ResponseError

from db import tasks

log = structlog.get_logger()

CONNECT_SECONDS = 1.0
PING_SECONDS = 0.5
SILENCE_SECONDS = 2.0  # without an answer the connection is taken for dead
RETRY_SECONDS = (0.1, 0.5)  # convergence within 2 s leaves no room for more
BATCH_CHANNELS = 500  # in one command, so that asking anew for 100,000 does not hold up Redis at a stroke

FAILURES = (RedisError, OSError, TimeoutError)


class Subscriber:
    """`connect` makes a connection that is not yet open; `sharded` speaks SSUBSCRIBE, for a node of a Redis cluster."""

    def __init__(
        self,
        connect: Callable[[], Any],
        on_message: Callable[[str, bytes], None],
        on_resume: Callable[[str], None],
        on_moved: Callable[[], None] = lambda: None,
        sharded: bool = False,
    ) -> None:
        self.connect = connect
        self.on_message = on_message
        self.on_resume = on_resume
        self.on_moved = on_moved
        self.sharded = sharded
        self.wanted: dict[str, asyncio.Event] = {}  # channel -> set once Redis has confirmed it
        self.asked: dict[str, bool] = {}  # on the present connection: channel -> confirmed
        self.changed: dict[str, None] = {}  # channels to ask for or to give up; in order
        self.wake = asyncio.Event()
        self.heard_at = float("-inf")
        self.task: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return time.monotonic() - self.heard_at < SILENCE_SECONDS

    def want(self, channel: str) -> asyncio.Event:
        """Hear `channel` from now on; the event is set once Redis has confirmed it."""
        confirmed = self.wanted.get(channel)
        if confirmed is None:
            confirmed = self.wanted[channel] = asyncio.Event()
            self._change(channel)
        return confirmed

    def unwant(self, channel: str) -> None:
        if self.wanted.pop(channel, None) is not None:
            self._change(channel)

    def _change(self, channel: str) -> None:
        self.changed[channel] = None
        self.wake.set()

    def start(self) -> None:
        self.task = asyncio.create_task(self._run(), name="subscriber")

    async def stop(self) -> None:
        await tasks.end(self.task)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        first = True
        while True:
            try:
                await self._converse(first)
            except FAILURES as error:
                log.warning("Redis is not heard", reason=type(error).__name__)
            except Exception:
                log.exception("subscriber failed")
            first = False
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))

    async def _converse(self, first: bool) -> None:
        connection = self.connect()
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
            self.asked = {}
            self.changed = dict.fromkeys(self.wanted)
            for confirmed in self.wanted.values():
                confirmed.clear()
            writer = asyncio.create_task(self._write(connection), name="subscriber writer")
            await self._read(connection, set(self.wanted), first)
        finally:
            await tasks.end(writer)
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    async def _read(self, connection: Any, missing: set[str], first: bool) -> None:
        """Until the connection fails. `missing` is what it must hear again before nothing can be missed any more."""
        resumed = False
        silences = 0  # in a row: a loop that was held up counts one, whatever waits to be read by then
        while True:
            try:
                answer = await connection.read_response(timeout=PING_SECONDS, disconnect_on_error=False)
            except ResponseError as error:
                log.warning("Redis refuses", reason=type(error).__name__)  # MOVED: the channel lives on another node
                self.on_moved()
                continue
            if answer is None:
                silences += 1
                if silences * PING_SECONDS >= SILENCE_SECONDS:
                    raise TimeoutError("Redis is silent")
                continue
            silences = 0
            self.heard_at = time.monotonic()
            channel = self._take(answer)
            missing.discard(channel)
            missing &= self.wanted.keys()
            if not resumed and not missing:
                resumed = True
                if not first:
                    self.on_resume("redis")

    def _take(self, answer: list[Any]) -> str:
        """Act on one answer; the channel that it confirms, or ''."""
        kind = answer[0]
        if kind in (b"message", b"smessage"):
            self.on_message(answer[1].decode(), answer[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            channel = answer[1].decode()
            if channel in self.asked:
                self.asked[channel] = True
            if channel in self.wanted:
                self.wanted[channel].set()
            return channel
        elif kind == b"sunsubscribe" and answer[1].decode() in self.asked:
            self.on_moved()  # nobody here gave it up: its slot went to another node
        return ""

    async def _write(self, connection: Any) -> None:
        """Ask for what has become wanted, give up what is no longer, and ping."""
        pinged_at = float("-inf")
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(max(0.0, pinged_at + PING_SECONDS - time.monotonic())):
                    await self.wake.wait()
            self.wake.clear()
            while self.changed:
                await self._ask(connection, list(islice(self.changed, BATCH_CHANNELS)))
            if time.monotonic() - pinged_at >= PING_SECONDS:
                pinged_at = time.monotonic()
                await self._send(connection, "PING")

    async def _ask(self, connection: Any, channels: list[str]) -> None:
        more, less = [], []
        for channel in channels:
            del self.changed[channel]
            if channel in self.wanted:
                if channel not in self.asked:
                    self.asked[channel] = False
                    more.append(channel)
                elif self.asked[channel]:  # given up and wanted again before Redis was told
                    self.wanted[channel].set()
            elif self.asked.pop(channel, None) is not None:
                less.append(channel)
        prefix = "S" if self.sharded else ""
        # In a cluster the channels of one command must share a slot: there, one command a channel.
        for command, names in ((f"{prefix}UNSUBSCRIBE", less), (f"{prefix}SUBSCRIBE", more)):
            for batch in [[name] for name in names] if self.sharded else [names] if names else []:
                await self._send(connection, command, *batch)

    async def _send(self, connection: Any, *command: str) -> None:
        if not connection.is_connected:  # else redis-py would connect again by itself
            raise OSError("the connection is closed")
        await connection.send_command(*command, check_health=False)
