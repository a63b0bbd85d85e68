"""Servers in separate processes, which tests kill and freeze."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.packaged.servers import ServerUrls, free_port
from tests.helpers.clients import Api

ROOT = Path(__file__).parents[2]
START_SECONDS = 40.0


class ServerProcess:
    """`server.py` on a free port, with these variables in addition to the usual ones."""

    def __init__(self, urls: ServerUrls, data_dir: Path, **variables: str) -> None:
        self.port = free_port()
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG")}
        environment = {
            **kept,
            "PORT": str(self.port),
            "DATA_DIR": str(data_dir),
            "DATABASE_URL": urls.database_url,
            "REDIS_URL": urls.redis_url,
            "JOBS_ENABLED": "false",
            "LOG_LEVEL": "WARNING",
            "LIMIT_GENERAL": "off",
            **variables,
        }
        self.process = subprocess.Popen(
            [sys.executable, "server.py"], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )

    def wait_until_it_listens(self) -> None:
        assert self.process.stdout
        deadline = time.monotonic() + START_SECONDS
        output = b""
        while b"listens on" not in output:
            line = self.process.stdout.readline()
            output += line
            assert line and time.monotonic() < deadline, output.decode()

    def api(self, like: Api) -> "Remote":
        return Remote(like, self.port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def freeze(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.process.send_signal(signal.SIGCONT)


class Remote(Api):
    """A client of a separate process; answers are checked against this process' table of routes."""

    def __init__(self, like: Api, port: int) -> None:
        self.instance = like.instance
        self.base = f"http://127.0.0.1:{port}"
        self.http = like.http


@contextmanager
def server_process(urls: ServerUrls, data_dir: Path, **variables: str) -> Iterator[ServerProcess]:
    server = ServerProcess(urls, data_dir, **variables)
    try:
        server.wait_until_it_listens()
        yield server
    finally:
        server.kill()
        assert server.process.stdout
        server.process.stdout.close()
