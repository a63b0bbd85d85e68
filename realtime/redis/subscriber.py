"""One supervised connection to one Redis server that only subscribes.

Callers state the channels that they need, a writer requests them in batches, and a reader passes on what is published.
Redis answers a ping after everything that was published before it. If the answer is missing, the connection is
replaced and the receiver is notified that events may be missing. (redis-py's own PubSub reconnects silently, without
such a notification.)
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Protocol

from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ResponseError

from db import tasks
from db.outage import Outage
from services.redis_client import FAILURES

CONNECT_SECONDS = 1.0
PING_SECONDS = 1.0
SILENCE_SECONDS = 2.0  # without an answer the connection counts as dead
READ_SECONDS = (1.5, 0.5)  # of the reads in that time: the first is longer than the time between two pings
RENEW_SECONDS = 0.1  # the wait for an answer may end so much earlier
RETRY_SECONDS = (0.1, 0.5)  # events must be complete again within 2 s
BATCH_CHANNELS = 500  # in one command: 100,000 at once would block Redis


CONFIRMED = asyncio.Event()  # shared by all confirmed channels, because an event for each takes 760 bytes
CONFIRMED.set()


class PacketReceiver(Protocol):
    """Takes what is published (realtime/redis/receiver.py)."""

    def receive(self, channel: str, packed: bytes) -> None: ...

    def resubscribed(self) -> None:
        """Handle missing events: some channels were not subscribed for some time and are subscribed again."""


class TopologyObserver(Protocol):
    def changed(self) -> None:
        """Handle a change of slots: channels that are subscribed here may belong to another node now."""


class RedisSubscriber:
    """`make_connection` returns a connection that is not open yet; `sharded` uses SSUBSCRIBE, for a cluster's node."""

    def __init__(
        self, make_connection: Callable[[], AbstractConnection], topology: TopologyObserver, sharded: bool, server: str
    ) -> None:
        self.make_connection = make_connection
        self.topology = topology
        self.sharded = sharded
        self.outage = Outage("Redis does not answer", "Redis answers again", server=server)
        self.refusals = Outage("Redis refuses subscriptions", "Redis accepts subscriptions again", server=server)
        self.subscriptions: dict[str, asyncio.Event] = {}  # channel -> set once Redis has confirmed it
        self.requested: dict[str, bool] = {}  # on the present connection: channel -> confirmed
        self.dirty: dict[str, None] = {}  # channels to subscribe or unsubscribe, in order
        self.missing: set[str] = set()  # channels that must be subscribed again before delivery is complete
        self.regained = False  # some of them are subscribed again
        self.had_failure = False
        self.was_refused = False
        self.wake = asyncio.Event()
        self.received_at = float("-inf")
        self.running: asyncio.Task[None] | None = None

    @property
    def healthy(self) -> bool:
        return time.monotonic() - self.received_at < SILENCE_SECONDS

    def subscribe(self, channel: str) -> asyncio.Event:
        """Subscribe to `channel`; the event is set once Redis has confirmed it."""
        confirmed = self.subscriptions.get(channel)
        if confirmed is None:
            confirmed = self.subscriptions[channel] = asyncio.Event()
            self._mark_dirty(channel)
        return confirmed

    def take_over(self, channels: Iterable[str]) -> None:
        """Subscribe to channels that another node had; clients resync once all of them are confirmed here."""
        for channel in channels:
            if not self.subscribe(channel).is_set():
                self.missing.add(channel)

    def unsubscribe(self, channel: str) -> None:
        self.missing.discard(channel)
        if self.subscriptions.pop(channel, None) is not None:
            self._mark_dirty(channel)

    def _confirm(self, channel: str) -> None:
        self.subscriptions[channel].set()
        self.subscriptions[channel] = CONFIRMED

    def _await_confirmation(self, channel: str) -> None:
        if self.subscriptions[channel] is CONFIRMED:
            self.subscriptions[channel] = asyncio.Event()

    def _mark_dirty(self, channel: str) -> None:
        self.dirty[channel] = None
        self.wake.set()

    def start(self, receiver: PacketReceiver) -> None:
        work = tasks.supervise("Redis subscriber", partial(self._run, receiver), FAILURES, RETRY_SECONDS)
        self.running = asyncio.create_task(work, name="Redis subscriber")

    async def stop(self) -> None:
        await tasks.end(self.running)

    # -- the connection ----------------------------------------------------------------------------------------------

    async def _run(self, receiver: PacketReceiver) -> None:
        try:
            await self._use_connection(receiver)
        except Exception as error:
            if isinstance(error, FAILURES):
                self.outage.begin(error)
            self.had_failure = True
            self.topology.changed()
            raise

    async def _use_connection(self, receiver: PacketReceiver) -> None:
        connection = self.make_connection()
        connection.socket_timeout = None  # redis-py makes a task and a timer for each send; `_read` bounds all of them
        running: list[asyncio.Task[None]] = []
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]  # redis-py declares no types here
            self.requested = {}
            self.dirty = dict.fromkeys(self.subscriptions)
            if self.had_failure:
                self.missing = set(self.subscriptions)
            for channel in self.subscriptions:
                self._await_confirmation(channel)
            running = [
                asyncio.create_task(self._read(connection, receiver), name="subscriber reader"),
                asyncio.create_task(self._write(connection), name="subscriber writer"),
                asyncio.create_task(self._ping(connection), name="subscriber ping"),
            ]
            ended, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()  # raises
        finally:
            await tasks.end(*running)
            with suppress(*FAILURES):
                await connection.disconnect(nowait=True)

    async def _read(self, connection: AbstractConnection, receiver: PacketReceiver) -> None:
        """Pass on answers until the connection fails. One timer serves many of them, because thousands may follow one
        another, and a timer costs more than an answer."""
        loop = asyncio.get_running_loop()
        silences = 0  # in a row; a blocked event loop counts as one, even if data waits to be read
        while silences < len(READ_SECONDS):
            with suppress(TimeoutError):
                async with asyncio.timeout(READ_SECONDS[silences]) as silence:
                    while True:
                        await self._read_answer(connection, receiver)
                        silences, due = 0, loop.time() + READ_SECONDS[0]
                        if due - (silence.when() or 0.0) > RENEW_SECONDS:
                            silence.reschedule(due)
            silences += 1
        raise TimeoutError("Redis is silent")

    async def _read_answer(self, connection: AbstractConnection, receiver: PacketReceiver) -> None:
        try:
            answer = await connection.read_response(timeout=math.inf, disconnect_on_error=False)
        except ResponseError as error:
            self.refusals.begin(error)  # one line for all, because thousands may follow
            self._refuse()
            return
        if answer is None:  # redis-py's answer to ETIMEDOUT
            raise TimeoutError("the connection has timed out")
        self.received_at = time.monotonic()
        self.outage.end()
        self._handle(answer, receiver)
        if self.regained and not self.missing:
            self.regained = False
            receiver.resubscribed()

    def _handle(self, answer: list[Any], receiver: PacketReceiver) -> None:
        kind = answer[0]
        if kind in (b"message", b"smessage"):
            receiver.receive(answer[1].decode(), answer[2])
        elif kind in (b"subscribe", b"ssubscribe"):
            channel = answer[1].decode()
            if channel in self.missing:
                self.missing.discard(channel)
                self.regained = True
            if channel in self.requested:
                self.requested[channel] = True
            if channel in self.subscriptions:
                self._confirm(channel)
        elif kind == b"sunsubscribe":
            self._cancelled(answer[1].decode())

    def _cancelled(self, channel: str) -> None:
        """Handle a cancelled subscription. If it was not requested, the channel's slot moved to another node."""
        if self.requested.get(channel) and channel in self.subscriptions:
            self.requested[channel] = False
            self._await_confirmation(channel)
            self.missing.add(channel)
            self._refuse()

    def _refuse(self) -> None:
        self.was_refused = True
        self.topology.changed()

    async def _write(self, connection: AbstractConnection) -> None:
        """Subscribe and unsubscribe what has changed."""
        while True:
            while self.dirty:
                await self._request(connection, list(islice(self.dirty, BATCH_CHANNELS)))
            self.wake.clear()
            await self.wake.wait()

    async def _ping(self, connection: AbstractConnection) -> None:
        while True:
            await self._send(connection, [("PING",)])
            self._request_again()
            await asyncio.sleep(tasks.until_next(PING_SECONDS))

    def _request_again(self) -> None:
        """Request again what was refused, because the cluster may have changed since."""
        if not self.was_refused:
            self.refusals.end()
            return
        self.was_refused = False
        for channel in [channel for channel, confirmed in self.requested.items() if not confirmed]:
            del self.requested[channel]
            self._mark_dirty(channel)

    async def _request(self, connection: AbstractConnection, channels: list[str]) -> None:
        to_subscribe, to_unsubscribe = [], []
        for channel in channels:
            del self.dirty[channel]
            if channel in self.subscriptions:
                if channel not in self.requested:
                    self.requested[channel] = False
                    to_subscribe.append(channel)
                elif self.requested[channel]:  # unsubscribed and subscribed again before Redis was asked
                    self._confirm(channel)
            elif self.requested.pop(channel, None) is not None:
                to_unsubscribe.append(channel)
        prefix = "S" if self.sharded else ""
        commands: list[tuple[str, ...]] = []
        for command, names in ((f"{prefix}UNSUBSCRIBE", to_unsubscribe), (f"{prefix}SUBSCRIBE", to_subscribe)):
            if self.sharded:  # the channels of one command must share a slot
                commands += [(command, name) for name in names]
            elif names:
                commands.append((command, *names))
        await self._send(connection, commands)

    async def _send(self, connection: AbstractConnection, commands: list[tuple[str, ...]]) -> None:
        if not connection.is_connected:  # redis-py would reconnect silently
            raise OSError("the connection is closed")
        if commands:
            await connection.send_packed_command(connection.pack_commands(commands), check_health=False)
