"""One supervised connection to one Redis server that listens, and never does anything but listen.

It is held by nobody's request: callers say what they want to hear, a writer asks Redis for it in batches, a reader
hands on what comes. Pings are answered in their order behind everything that was published before; when they are not,
the connection is made anew and `on_resume` told, for whatever was missed meanwhile stands in the database.
(redis-py's own PubSub connects again by itself without a word, so that nobody would know that something was missed.)
"""

import asyncio
import random
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from itertools import islice
from typing import Any

import structlog
from redis.exceptions import ResponseError

from db import tasks
from db.outage import Outage
from services.redis_client import FAILURES

log = structlog.get_logger()

CONNECT_SECONDS = 1.0
PING_SECONDS = 0.5
SILENCE_SECONDS = 2.0  # without an answer the connection is taken for dead
RETRY_SECONDS = (0.1, 0.5)  # convergence within 2 s leaves no room for more
BATCH_CHANNELS = 500  # in one command, so that asking anew for 100,000 does not hold up Redis at a stroke


class Subscriber:
    """`connect` makes a connection that is not yet open; `sharded` speaks SSUBSCRIBE, for a node of a Redis cluster.

    `on_astray` is told when what is wanted here may live on another node by now."""

    def __init__(
        self,
        connect: Callable[[], Any],
        on_message: Callable[[str, bytes], None],
        on_resume: Callable[[str], None],
        on_astray: Callable[[], None] = lambda: None,
        sharded: bool = False,
        server: str = "",
    ) -> None:
        self.connect = connect
        self.on_message = on_message
        self.on_resume = on_resume
        self.on_astray = on_astray
        self.sharded = sharded
        self.outage = Outage("Redis is not heard", "Redis is heard again", server=server)
        self.refusals = Outage("Redis refuses subscriptions", "Redis takes subscriptions again", server=server)
        self.wanted: dict[str, asyncio.Event] = {}  # channel -> set once Redis has confirmed it
        self.asked: dict[str, bool] = {}  # on the present connection: channel -> confirmed
        self.changed: dict[str, None] = {}  # channels to ask for or to give up; in order
        self.missing: set[str] = set()  # must be heard again before nothing can be missed any more
        self.regained = False  # some of it is heard again
        self.broken = False  # a connection has failed
        self.refused = False  # Redis has turned down something that was asked for
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

    def want_again(self, channels: Iterable[str]) -> None:
        """As `want`, for what was heard elsewhere so far: `on_resume` is told once all of it is heard here."""
        for channel in channels:
            if not self.want(channel).is_set():
                self.missing.add(channel)

    def unwant(self, channel: str) -> None:
        self.missing.discard(channel)
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
        while True:
            try:
                await self._converse()
            except FAILURES as error:
                self.outage.begin(error)
            except Exception:
                log.exception("subscriber failed")
            self.broken = True
            self.on_astray()
            await asyncio.sleep(random.uniform(*RETRY_SECONDS))

    async def _converse(self) -> None:
        connection = self.connect()
        writer: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()
            self.asked = {}
            self.changed = dict.fromkeys(self.wanted)
            if self.broken:
                self.missing = set(self.wanted)
            for confirmed in self.wanted.values():
                confirmed.clear()
            writer = asyncio.create_task(self._write(connection), name="subscriber writer")
            await self._read(connection)
        finally:
            await tasks.end(writer)
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    async def _read(self, connection: Any) -> None:
        """Until the connection fails."""
        silences = 0  # in a row: a loop that was held up counts one, whatever waits to be read by then
        while True:
            try:
                answer = await connection.read_response(timeout=PING_SECONDS, disconnect_on_error=False)
            except ResponseError as error:
                self.refusals.begin(error)  # thousands may be on their way
                self._astray()
                continue
            if answer is None:
                silences += 1
                if silences * PING_SECONDS >= SILENCE_SECONDS:
                    raise TimeoutError("Redis is silent")
                continue
            silences = 0
            self.heard_at = time.monotonic()
            self.outage.end()
            self._take(answer)
            if self.regained and not self.missing:
                self.regained = False
                self.on_resume("redis")

    def _take(self, answer: list[Any]) -> None:
        kind = answer[0]
        if kind in (b"message", b"smessage"):
            self.on_message(answer[1].decode(), answer[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            channel = answer[1].decode()
            if channel in self.missing:
                self.missing.discard(channel)
                self.regained = True
            if channel in self.asked:
                self.asked[channel] = True
            if channel in self.wanted:
                self.wanted[channel].set()
        elif kind == b"sunsubscribe":
            self._taken_away(answer[1].decode())

    def _taken_away(self, channel: str) -> None:
        """The word that a channel is given up: unless that was asked for, its slot went to another node."""
        if self.asked.get(channel) and channel in self.wanted:
            self.asked[channel] = False
            self.wanted[channel].clear()
            self.missing.add(channel)
            self._astray()

    def _astray(self) -> None:
        self.refused = True
        self.on_astray()

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
                await self._send(connection, [("PING",)])
                self._ask_again()

    def _ask_again(self) -> None:
        """What was refused and is still wanted here, now and then: the cluster may agree by now."""
        if not self.refused:
            self.refusals.end()
            return
        self.refused = False
        for channel in [channel for channel, confirmed in self.asked.items() if not confirmed]:
            del self.asked[channel]
            self._change(channel)

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
        commands: list[tuple[str, ...]] = []
        for command, names in ((f"{prefix}UNSUBSCRIBE", less), (f"{prefix}SUBSCRIBE", more)):
            if self.sharded:  # the channels of one command would have to share a slot
                commands += [(command, name) for name in names]
            elif names:
                commands.append((command, *names))
        await self._send(connection, commands)

    async def _send(self, connection: Any, commands: list[tuple[str, ...]]) -> None:
        if not connection.is_connected:  # else redis-py would connect again by itself
            raise OSError("the connection is closed")
        if commands:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
