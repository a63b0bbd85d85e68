"""The processes of a measurement: servers on one core, clients on the other one."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

from bench.setup.machine import MEASURED, on_core

ROOT = Path(__file__).parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 45.0
POLL_SECONDS = 0.02
ORDER_SECONDS = 150.0  # the longest order: 5,000 sockets return to a busy machine
MOST = 100_000  # requests that one order sends in its time
PART = 5_000  # requests of one order, so that a busy machine does not need longer than an order may take
ANSWER_BYTES = 2**22  # delays of all messages of a round


class Measured:
    """A server whose CPU is measured: this one, that of another checkout, or a floor."""

    def __init__(
        self, command: list[str], port: int, log: Path, cwd: Path = ROOT, ready: str = "/health", **environment: str
    ) -> None:
        self.port = port
        with log.open("ab") as out, on_core(MEASURED):
            self.process = subprocess.Popen(
                command,
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
            with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2):
                return
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{self.process.args!r} does not start:\n{self.log.read_text()[-2000:]}")
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class ClientProcess:
    """A program of bench/clients, which carries out orders."""

    process: asyncio.subprocess.Process | None = None

    async def start(self, name: str) -> "ClientProcess":
        self.process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            f"bench.clients.{name}",
            cwd=ROOT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=ANSWER_BYTES,
        )
        return self

    async def order(self, **order: Any) -> dict[str, Any]:
        assert self.process and self.process.stdin and self.process.stdout
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(ORDER_SECONDS):
            line = await self.process.stdout.readline()
        answer: dict[str, Any] = json.loads(line) if line else {"failed": "the client process has ended"}
        if "failed" in answer:
            raise SystemExit(f"a client failed: {answer['failed']}")
        return answer

    async def stop(self) -> None:
        if self.process and self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self.process.terminate()
            await self.process.wait()


class Load(ClientProcess):
    """bench/clients/http.py."""

    async def run(self, port: int, file: Path, count: int, connections: int) -> None:
        for done in range(0, count, PART):
            part = min(PART, count - done)
            await self.send(port=port, file=str(file), count=part, connections=connections)

    async def run_for(self, port: int, file: Path, seconds: float, connections: int) -> int:
        """Send requests for some seconds; return their number."""
        return await self.send(port=port, file=str(file), count=MOST, connections=connections, seconds=seconds)

    async def send(self, **order: Any) -> int:
        answer = await self.order(**order)
        answered: int = answer["answered"]
        if answer["errors"] or not answered:
            raise SystemExit(f"{answer['errors']} of {answered} requests failed; the last one: {answer['error']}")
        return answered
