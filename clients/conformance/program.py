"""One process with a client of one language, which the runner commands by lines of JSON."""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

from tools.node.packages import NODE

FOLDER = Path(__file__).parent
COMMANDS = {
    "python": (sys.executable, str(FOLDER / "client.py")),
    "typescript": (str(NODE), str(FOLDER / "client.mjs")),
}
ANSWER_SECONDS = 120.0  # for a message that waits through cuts and restarts
LINE_BYTES = 2**24  # a report of thousands of events


class Refused(Exception):
    """The client answered with an error."""


class Program:
    def __init__(self, language: str) -> None:
        self.language = language
        self.numbers = itertools.count()
        self.waiting: dict[int, asyncio.Future[Any]] = {}

    async def start(self) -> "Program":
        pipe = asyncio.subprocess.PIPE
        self.process = await asyncio.create_subprocess_exec(
            *COMMANDS[self.language], stdin=pipe, stdout=pipe, limit=LINE_BYTES
        )
        self.reading = asyncio.create_task(self._read())
        return self

    async def ask(self, act: str, who: str, **data: Any) -> Any:
        assert self.process.stdin
        if self.reading.done():
            raise Refused(f"The {self.language} program has ended.")
        number = next(self.numbers)
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        self.process.stdin.write(json.dumps({"id": number, "do": act, "who": who, **data}).encode() + b"\n")
        async with asyncio.timeout(ANSWER_SECONDS):
            return await future

    async def stop(self) -> None:
        if self.process.returncode is None:
            assert self.process.stdin
            self.process.stdin.write(b'{"do": "quit"}\n')
            try:
                async with asyncio.timeout(5):
                    await self.process.wait()
            except TimeoutError:
                self.process.kill()
                await self.process.wait()
        self.reading.cancel()

    async def _read(self) -> None:
        assert self.process.stdout
        while line := await self.process.stdout.readline():
            answer = json.loads(line)
            future = self.waiting.pop(answer["id"])
            if future.done():
                continue
            if "error" in answer:
                future.set_exception(Refused(f"{self.language}: {answer['error']} {answer['sentence']}"))
            else:
                future.set_result(answer["result"])
        for future in self.waiting.values():
            if not future.done():
                future.set_exception(Refused(f"The {self.language} program ended."))
