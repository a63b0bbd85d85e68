"""The processes of `make bench`: PostgreSQL, Redis and the load client on one core, the measured process on another."""

import asyncio
import contextlib
import json
import os
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg

from bench.data import Pair, fill, sign_in
from db.connect import SERVER_SETTINGS
from db.migrate import migrate
from db.packaged.servers import EmbeddedServers, free_port
from services.security.tokens import Tokens
from settings import load_settings

ROOT = Path(__file__).parents[1]
START_SECONDS = 60.0
STOP_SECONDS = 45.0
ORDER_SECONDS = 90.0
# Every limit is counted, as in production. Those of messages are raised; no user reaches the general default.
ENVIRONMENT = {
    "LIMIT_MESSAGE": "100000/1m+100000",
    "LIMIT_SOCKET_FRAMES": "100000/1s+100000",
    "LOG_FORMAT": "json",
    "JOBS_ENABLED": "false",
}


def cores() -> tuple[int, int]:
    """Return the core of the measured process, and the core of everything else."""
    usable = sorted(os.sched_getaffinity(0))
    return usable[0], usable[-1]


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """Run processes that are started in the block on this core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Measured:
    """A server whose CPU is measured: this one, that of another checkout, or a floor."""

    def __init__(
        self, arguments: list[str], port: int, log: Path, cwd: Path = ROOT, ready: str = "/health", **environment: str
    ) -> None:
        self.port = port
        with log.open("ab") as out, on_core(cores()[0]):
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                env={**os.environ, **environment},
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.log = log
        self._wait_ready(f"http://127.0.0.1:{port}{ready}")

    def _wait_ready(self, url: str) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):  # noqa: S310
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.process.args!r} does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(0.05)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Load:
    """bench/load.py in a separate process."""

    async def start(self) -> None:
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bench.load", cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
        )

    async def run(self, port: int, file: Path, count: int, connections: int) -> dict[str, Any]:
        assert self.process.stdin and self.process.stdout
        order = {"port": port, "file": str(file), "count": count, "connections": connections}
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(ORDER_SECONDS):
            answer = json.loads(await self.process.stdout.readline())
        if answer["errors"] or answer["answered"] != count:
            raise SystemExit(f"{answer['errors']} of {count} requests failed; the last one: {answer['error']}")
        value: dict[str, Any] = answer
        return value

    async def stop(self) -> None:
        self.process.terminate()
        await self.process.wait()


class Size(NamedTuple):
    """The amount of data and of measurements."""

    people: int
    pairs: int
    long_conversation: int
    requests: int  # in a turn
    rounds: int


FULL = Size(100_000, 2_500, 100_000, 4_000, 5)  # 2,500 pairs, so that 5,000 people can open a socket each
QUICK = Size(4_000, 600, 5_000, 1_000, 3)


class Stage:
    def __init__(self, folder: Path, size: Size, old: Path | None) -> None:
        self.folder = folder
        self.size = size
        self.old_checkout = old
        self.packaged = EmbeddedServers(folder / "data")
        self.servers: list[Measured] = []
        self.load = Load()

    async def __aenter__(self) -> "Stage":
        os.sched_setaffinity(0, {cores()[1]})
        self.urls = self.packaged.start()
        migrate(self.urls.database_url)
        self.secrets = {
            name: secrets.token_hex(32) for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY")
        }
        self.db = await asyncpg.connect(
            self.urls.database_url, server_settings={**SERVER_SETTINGS, "statement_timeout": "0"}
        )
        await fill(self.db, *self.size[:3])
        own = {name.lower(): value for name, value in self.secrets.items()}
        tokens = Tokens(load_settings(data_dir=self.folder / "data", **own))
        self.pairs: list[Pair] = await sign_in(self.db, tokens, self.size.pairs)
        await self.load.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.load.stop()
        await self.db.close()
        for server in self.servers:
            server.stop()
        self.packaged.stop()

    def start_server(self, checkout: Path = ROOT, **environment: str) -> Measured:
        port = free_port()
        own = {
            **ENVIRONMENT,
            **self.secrets,
            "DATABASE_URL": self.urls.database_url,
            "REDIS_URL": self.urls.redis_url,
            "DATA_DIR": str(self.folder / "data"),
            "PORT": str(port),
            "HOST": "127.0.0.1",
        }
        log = self.folder / f"server-{port}.log"
        server = Measured(["server.py"], port, log, checkout, "/health/ready", **{**own, **environment})
        self.servers.append(server)
        return server

    def start_floor(self, name: str, *arguments: str) -> Measured:
        port = free_port()
        log = self.folder / f"floor-{name}-{port}.log"
        floor = Measured(["-m", f"bench.floors.{name}", str(port), *arguments], port, log)
        self.servers.append(floor)
        return floor
