"""Shared by the measurements for docs/scale.md: real servers, and figures with their spread.

A floor that is measured in turns (the same bytes through a bare server) separates the machine from the code.
"""

import argparse
import asyncio
import json
import statistics
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import websockets
from redis import Redis

from db.packaged.servers import EmbeddedServers, free_port
from deploy.cluster import Cluster
from services.security.tokens import Tokens
from settings import load_settings
from tests.drills.environment import (
    ADD_INFLUENCER,
    ADD_SALON,
    ADD_SESSION,
    ADD_USER,
    CONNECT,
    OPEN_CONVERSATION,
)

TEXT = "message " * 12  # about a hundred characters, as real messages
# Limits are counted, as in production, but no user reaches them.
ENVIRONMENT = {
    "LIMIT_GENERAL": "100000000/1d",
    "LIMIT_MESSAGE": "100000000/1s+100000000",
    "LIMIT_SOCKET_FRAMES": "100000000/1s+100000000",
    "LOG_FORMAT": "json",
    "JOBS_ENABLED": "false",
}


def read_rounds(description: str | None, default: int = 5) -> int:
    """Return the value of the option `--rounds`."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--rounds", type=int, default=default)
    rounds: int = parser.parse_args().rounds
    return rounds


def report(what: str, values: Sequence[float], unit: str, floor: Sequence[float] = (), of: str = "") -> None:
    """Print a line: median (lowest–highest), and its ratio to the floor of the same round."""
    line = f"{what:<62} {show(values)} {unit}"
    if floor:
        line += f"; {show([value / least for value, least in zip(values, floor, strict=True)])} × {of}"
    print(line, flush=True)


def show(values: Sequence[float]) -> str:
    if len(values) == 1:
        return digits(values[0])
    return f"{digits(statistics.median(values))} ({digits(min(values))}–{digits(max(values))})"


def digits(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Floor:
    """bench/scale/floor.py in a separate process: what Tornado itself costs."""

    async def __aenter__(self) -> "Floor":
        self.port = free_port()
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.scale.floor", str(self.port), stdout=asyncio.subprocess.PIPE
        )
        assert self.process.stdout
        await self.process.stdout.readline()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.process.terminate()
        await self.process.wait()

    @property
    def pid(self) -> int:
        return self.process.pid


class BenchServers:
    """PostgreSQL, Redis and `instances` servers as processes, without nginx."""

    def __init__(self, folder: Path, instances: int) -> None:
        self.servers = EmbeddedServers(folder / "data")
        self.folder = folder
        self.count = instances
        self.users = 0

    async def __aenter__(self) -> "BenchServers":
        self.urls = await asyncio.to_thread(self.servers.start)
        ports = [free_port() for _ in range(self.count)]
        self.cluster = Cluster(self.folder, ports, None, self.urls, **ENVIRONMENT)
        await asyncio.to_thread(self.cluster.start)
        self.ports = ports
        self.pids = [instance.process.pid for instance in self.cluster.instances if instance.process]
        self.postgres_pid = int((self.servers.pgdata / "postmaster.pid").read_text().split()[0])
        self.redis = Redis.from_url(self.urls.redis_url)
        self.redis_pid = int(self.redis.info("server")["process_id"])
        self.tokens = Tokens(load_settings(data_dir=self.folder / "data"))
        self.db = await asyncpg.connect(self.urls.database_url)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.db.close()
        await asyncio.to_thread(self.cluster.stop)
        await asyncio.to_thread(self.servers.stop)

    async def user(self, role: str) -> tuple[str, str]:
        """Return the id and a token."""
        self.users += 1
        user_id = await self.db.fetchval(ADD_USER, f"User {self.users}", f"user{self.users}@example.com", role)
        await self.db.execute(*((ADD_SALON, user_id, "Salon") if role == "SALON" else (ADD_INFLUENCER, user_id)))
        return user_id, self.tokens.access(user_id, role, await self.db.fetchval(ADD_SESSION, user_id))

    async def pair(self) -> "Pair":
        one, one_token = await self.user("INFLUENCER")
        other, other_token = await self.user("SALON")
        await self.db.execute(CONNECT, one, other)
        return Pair(await self.db.fetchval(OPEN_CONVERSATION, one, other), one_token, other_token)


class Pair:
    """Two connected users with their tokens."""

    def __init__(self, conversation_id: str, *tokens: str) -> None:
        self.conversation_id = conversation_id
        self.tokens = tokens


class Socket:
    """Counts frames, and parses as little of them as possible."""

    def __init__(self, ws: websockets.ClientConnection) -> None:
        self.ws = ws
        self.frames = 0
        self.answered = asyncio.Event()
        self.task = asyncio.create_task(self._drain())

    @classmethod
    async def open(cls, port: int, token: str = "") -> "Socket":
        ws = await websockets.connect(
            f"ws://127.0.0.1:{port}/ws",
            additional_headers={"Authorization": f"Bearer {token}"} if token else {},
            compression=None,
            proxy=None,
            ping_interval=None,
            open_timeout=60,
        )
        await ws.recv()  # ready
        return cls(ws)

    async def _drain(self) -> None:
        with suppress(websockets.ConnectionClosed):
            async for frame in self.ws:
                self.frames += 1
                if '"id":' in str(frame)[-24:]:  # an answer ends with the number of its request
                    self.answered.set()

    async def ask(self, event: str, data: Any) -> None:
        self.answered.clear()
        await self.ws.send(json.dumps({"event": event, "data": data, "id": 7}))
        async with asyncio.timeout(10):
            await self.answered.wait()

    async def send(self, event: str, data: Any) -> None:
        await self.ws.send(json.dumps({"event": event, "data": data}))

    async def close(self) -> None:
        self.ws.transport.abort()
        await asyncio.gather(self.task, return_exceptions=True)


class Http:
    """One keep-alive connection, as nginx opens them."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    @classmethod
    async def open(cls, port: int) -> "Http":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def post(self, path: str, body: Any, token: str = "") -> None:
        payload = json.dumps(body).encode()
        head = (
            f"POST {path} HTTP/1.1\r\nHost: bench\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token}\r\nContent-Length: {len(payload)}\r\n\r\n"
        )
        self.writer.write(head.encode() + payload)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
        assert head[9:12] in ("200", "201"), head
        await self.reader.readexactly(int(head.partition("content-length: ")[2].partition("\r")[0]))

    def close(self) -> None:
        self.writer.close()
