"""The frame of a client process: it reads orders from stdin, one JSON object a line, and answers each one on stdout."""

import asyncio
import json
import sys
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

LINE_BYTES = 2**20


async def serve(act: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    reader = asyncio.StreamReader(limit=LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        try:
            answer = await act(json.loads(line))
        except Exception as error:
            traceback.print_exc()
            answer = {"failed": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


def run(act: Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]) -> None:
    uvloop.run(serve(act))
