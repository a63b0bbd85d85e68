"""Clients of `clients/python` for tests, the events that they received, and other servers."""

import asyncio
import base64
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from encer import Encer, MemoryTokens
from encer.conversation import Conversation
from encer.tokens import TokenStore
from encer.types import Tokens
from server import Instance
from tests.helpers.factories import Person
from tools.node.packages import NODE

SECONDS = 30.0  # a busy machine must not fail a test
NODE_SECONDS = 120.0
PROGRAM = Path(__file__).with_name("typescript.mjs")


def tokens_of(instance: Instance, person: Person, access_seconds: int | None = None) -> MemoryTokens:
    tokens = instance.services.tokens
    access = (
        tokens.access(person.id, person.role, person.session_id, access_seconds) if access_seconds else person.token
    )
    return MemoryTokens({"accessToken": access, "refreshToken": tokens.refresh(person.session_id, 1)})


def loaded(store: TokenStore) -> Tokens:
    tokens = store.load()
    assert tokens, "the store has no tokens"
    return tokens


class EventLog:
    """All events of a conversation; `wait` waits until enough events of one name have arrived."""

    def __init__(self, chat: Conversation) -> None:
        self.events: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()
        for name in ("message", "edited", "deleted", "read", "typing", "unread", "joined", "gap", "closed", "error"):
            chat.on(name, partial(self.note, name))

    def note(self, name: str, data: Any) -> None:
        self.events.append((name, data))
        self.changed.set()

    def all(self, *names: str) -> list[Any]:
        return [data for name, data in self.events if name in names]

    async def wait(self, name: str, count: int = 1) -> Any:
        """Return the latest event."""
        async with asyncio.timeout(SECONDS):
            while len(found := self.all(name)) < count:
                self.changed.clear()
                await self.changed.wait()
        return found[-1]


@asynccontextmanager
async def client(base: str, tokens: Any, **options: Any) -> AsyncIterator[Encer]:
    async with Encer(base, tokens=tokens, **options) as encer:
        yield encer


async def node(act: str, base: str, given: object = None, more: str = "", **environment: str):
    """Run one act of typescript.mjs and return its outcome."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        NODE,
        PROGRAM,
        act,
        base,
        json.dumps(given or {}),
        more,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(NODE_SECONDS):
        output, failed = await process.communicate()
    assert process.returncode == 0, failed.decode()
    return json.loads(output)


SUSPEND = "update users set status = 'SUSPENDED' where id = $1"
LIVES_LONG = base64.urlsafe_b64encode(json.dumps({"iat": 0, "exp": 4_000_000_000}).encode()).decode().rstrip("=")


@asynccontextmanager
async def answering(*answers: tuple[str, str], tls=None):
    """Start a server that sends these answers (status line, body) in turn, and repeats the last one."""
    asked: list[bytes] = []

    async def answer(reader, writer):
        while (head := await reader.readuntil(b"\r\n\r\n")) and not reader.at_eof():
            status, body = answers[min(len(asked), len(answers) - 1)]
            asked.append(head)
            writer.write(f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
            if b"Upgrade: websocket" in head:
                break
        writer.close()

    async def ignore_disconnects(reader, writer):
        try:
            await answer(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()

    server = await asyncio.start_server(ignore_disconnects, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{port}", asked
    finally:
        server.close()


def health(version: str) -> tuple[str, str]:
    return "200 OK", json.dumps({"status": "ok", "version": version})


async def pair(people):
    """Return an influencer, a salon that is connected to them, and their conversation."""
    one, other = await people.influencer(), await people.salon()
    return one, other, await people.connect(one, other)
