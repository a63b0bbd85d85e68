"""The environment of `make bench`: PostgreSQL, Redis and the clients on one core, the measured server on another."""

import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import asyncpg
from redis import Redis

from bench.data import Pair, Person, fill, list_socket_people, sign_in
from bench.setup.machine import OTHERS, Watch, on_all_cores
from bench.setup.processes import ROOT, ClientProcess, Load, Measured
from db.connect import SERVER_SETTINGS
from db.migrate import migrate
from db.packaged.servers import EmbeddedServers, free_port
from services.security.tokens import Tokens
from settings import load_settings

# Every limit is counted, as in production. Those of messages are raised; no user reaches the general default.
ENVIRONMENT = {
    "LIMIT_MESSAGE": "100000/1m+100000",
    "LIMIT_SOCKET_FRAMES": "100000/1s+100000",
    "LOG_FORMAT": "json",
    "JOBS_ENABLED": "false",
}


NO_LIMIT = "100000000/1d"  # of LIMIT_GENERAL, where few users send many requests


# Vacuums and checkpoints would delay the messages of some rounds.
POSTGRES = "-c autovacuum=off -c checkpoint_timeout=1d -c max_wal_size=8GB"


class Size(NamedTuple):
    """The amount of data and of measurements."""

    people: int
    pairs: int  # of the HTTP cases
    socket_pairs: int
    long_conversation: int
    users: int  # who send the requests of the HTTP cases in turn; each of them has sent one before the first round
    rounds: int
    turns: int  # of each server in a round of the HTTP cases
    turn_seconds: float  # of HTTP requests
    wrk_seconds: int  # the same if wrk sends them, for at least a second; 0: without wrk
    seconds: float  # of a turn of the cases that measure delays
    delay_turns: int  # of both sides in a round of the delivery cases
    step_seconds: float  # of one rate of deliveries
    messages: int  # that are sent by socket in a round
    many_requests: int  # over which the memory must not grow
    idle_seconds: float  # of a turn of the idle process; 10 is the longest interval of its tasks


FULL = Size(
    people=100_000,
    pairs=2_000,
    socket_pairs=2_500,
    long_conversation=100_000,
    users=500,
    rounds=5,
    turns=2,
    turn_seconds=0.7,
    wrk_seconds=1,
    seconds=3.0,
    delay_turns=3,
    step_seconds=1.2,
    messages=1_000,
    many_requests=200_000,
    idle_seconds=10.0,
)
QUICK = Size(
    people=6_000,
    pairs=600,
    socket_pairs=250,
    long_conversation=5_000,
    users=100,
    rounds=2,
    turns=1,
    turn_seconds=0.3,
    wrk_seconds=0,
    seconds=1.5,
    delay_turns=1,
    step_seconds=0.5,
    messages=160,
    many_requests=2_000,
    idle_seconds=4.0,
)


def print_progress(text: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Environment:
    """`pairs` are the people of the HTTP cases, `socket_people` those of the socket cases, by pairs too."""

    def __init__(
        self,
        folder: Path,
        size: Size,
        old: Path | None,
        settings: dict[str, str] | None = None,
        runner: tuple[str, ...] = (),
    ) -> None:
        self.folder = folder
        self.runner = runner  # a program that runs the servers, such as valgrind with its options
        self.size = size
        self.old_checkout = old
        self.settings = settings or {}  # of the measured server, beside ENVIRONMENT
        self.packaged = EmbeddedServers(folder / "data", POSTGRES)
        self.servers: list[Measured] = []
        self.clients: list[ClientProcess] = []
        self.load = Load()
        self.db: Any = None  # asyncpg has no types
        self.redis: Redis | None = None

    async def __aenter__(self) -> "Environment":
        os.sched_setaffinity(0, {OTHERS})
        try:
            await self.prepare()
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def prepare(self) -> None:
        self.urls = self.packaged.start()
        migrate(self.urls.database_url)
        self.secrets = {
            name: secrets.token_hex(32) for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY")
        }
        self.db = await self.connect(self.urls.database_url)
        size = self.size
        print_progress(
            f"filling the database: {size.people:,} people, a conversation of {size.long_conversation:,} messages"
        )
        self.postgres_pid = int((self.packaged.pgdata / "postmaster.pid").read_text().split()[0])
        with on_all_cores(self.postgres_pid):
            await fill(self.db, size.people, size.pairs, size.socket_pairs, size.long_conversation)
        own = {name.lower(): value for name, value in self.secrets.items()}
        tokens = Tokens(load_settings(data_dir=self.folder / "data", **own))
        self.pairs: list[Pair] = await sign_in(self.db, tokens, size.pairs)
        self.socket_people: list[Person] = await list_socket_people(self.db, tokens, size.pairs, size.socket_pairs)
        self.redis = Redis.from_url(self.urls.redis_url)
        self.redis_pid: int = self.redis.info("server")["process_id"]
        await self.load.start("http")

    async def __aexit__(self, *_: object) -> None:
        await self.end_case()
        await self.load.stop()
        if self.db:
            await self.db.close()
        if self.redis:
            self.redis.close()
        self.packaged.stop()

    async def connect(self, url: str) -> asyncpg.Connection:
        return await asyncpg.connect(url, server_settings={**SERVER_SETTINGS, "statement_timeout": "0"})

    async def end_case(self) -> None:
        """Stop the servers and clients of the last cases."""
        for client in self.clients:
            await client.stop()
        for server in self.servers:
            server.stop()
        self.clients, self.servers = [], []
        if self.redis:
            self.redis.flushall()  # the next cases start with limits at zero

    def watch(self, servers: Sequence[Measured]) -> Watch:
        return Watch([server.pid for server in servers], self.redis_pid)

    async def start_client(self, name: str) -> ClientProcess:
        client = ClientProcess()
        self.clients.append(client)
        return await client.start(name)

    def environment(self, **more: str) -> dict[str, str]:
        """Return the settings of a server."""
        urls = {"DATABASE_URL": self.urls.database_url, "REDIS_URL": self.urls.redis_url}
        own = {**ENVIRONMENT, **self.secrets, **urls, "DATA_DIR": str(self.folder / "data")}
        return {**os.environ, **own, **self.settings, **more}

    def start_server(self, checkout: Path = ROOT, **more: str) -> Measured:
        port = free_port()
        own = self.environment(**{"PORT": str(port), "HOST": "127.0.0.1", **more})
        log = self.folder / f"server-{port}.log"
        server = Measured([*self.runner, sys.executable, "server.py"], port, log, checkout, "/health/ready", **own)
        self.servers.append(server)
        return server

    def start_floor(self, name: str, *arguments: str) -> Measured:
        port = free_port()
        log = self.folder / f"floor-{name}-{port}.log"
        floor = Measured([*self.runner, sys.executable, "-m", f"bench.floors.{name}", str(port), *arguments], port, log)
        self.servers.append(floor)
        return floor
