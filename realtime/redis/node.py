"""One Redis server as the relay uses it: a connection that listens, one queue to speak. Nothing waits for Redis."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from redis import asyncio as aioredis
from redis.exceptions import ResponseError

from realtime.events import Envelope
from realtime.redis.publisher import SEND_SECONDS, Batch, Speaker
from realtime.redis.subscriber import CONNECT_SECONDS, Subscriber
from services.redis_client import FAILURES

TIMEOUTS: dict[str, Any] = {"socket_connect_timeout": CONNECT_SECONDS, "socket_timeout": SEND_SECONDS, "retry": None}


class Link:
    """`sharded`: the server is a node of a Redis cluster and carries the channels of its own slots alone."""

    def __init__(
        self,
        redis_url: str,
        name: str,
        on_message: Callable[[str, bytes], None],
        on_resume: Callable[[str], None],
        on_overflow: Callable[[], None],
        sharded: bool = False,
    ) -> None:
        self.command = "SPUBLISH" if sharded else "PUBLISH"
        self.redis = aioredis.Redis.from_url(redis_url, max_connections=8, protocol=2, **TIMEOUTS)
        connect = self.redis.connection_pool.make_connection
        server = urlsplit(redis_url).netloc.rpartition("@")[2]
        self.subscriber = Subscriber(connect, on_message, on_resume, sharded=sharded, server=server)
        self.speaker = Speaker(name, self._publish, on_overflow)

    @property
    def healthy(self) -> bool:
        return self.subscriber.healthy

    def hears(self, channel: str) -> bool:
        """Whether a confirmation for this channel can be expected."""
        return self.healthy

    def start(self) -> None:
        self.subscriber.start()
        self.speaker.start()

    async def stop(self) -> None:
        """Say what is queued, within bounds, then close."""
        if self.healthy:
            await self.speaker.finish()
        await self.speaker.stop()
        await self.subscriber.stop()
        with suppress(*FAILURES):
            async with asyncio.timeout(SEND_SECONDS):
                await self.redis.aclose()

    def want(self, channel: str) -> asyncio.Event:
        return self.subscriber.want(channel)

    def unwant(self, channel: str) -> None:
        self.subscriber.unwant(channel)

    def say(self, envelope: Envelope) -> None:
        self.speaker.say(envelope)

    async def _publish(self, batch: Batch) -> list[int]:
        async with asyncio.timeout(SEND_SECONDS):
            async with self.redis.pipeline(transaction=False) as pipeline:
                for channel, packed in batch:
                    pipeline.execute_command(self.command, channel, packed)
                answers = await pipeline.execute(raise_on_error=False)
        return [index for index, answer in enumerate(answers) if isinstance(answer, ResponseError)]
