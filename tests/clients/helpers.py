"""A client of `clients/python` for a person of a test, and what it saw."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from encer import Encer, MemoryTokens
from encer.conversation import Conversation
from server import Instance
from tests.helpers.factories import Person

SECONDS = 30.0  # a busy machine is no fault


def tokens_of(instance: Instance, person: Person, access_seconds: int | None = None) -> MemoryTokens:
    tokens = instance.services.tokens
    access = (
        tokens.access(person.id, person.role, person.session_id, access_seconds) if access_seconds else person.token
    )
    return MemoryTokens({"accessToken": access, "refreshToken": tokens.refresh(person.session_id, 1)})


class Seen:
    """All events of a conversation; `wait` waits until enough of one name came."""

    def __init__(self, chat: Conversation) -> None:
        self.events: list[tuple[str, Any]] = []
        self.changed = asyncio.Event()
        for name in ("message", "edited", "deleted", "read", "typing", "unread", "joined", "gap", "closed", "error"):
            chat.on(name, lambda data, name=name: self.note(name, data))

    def note(self, name: str, data: Any) -> None:
        self.events.append((name, data))
        self.changed.set()

    def all(self, *names: str) -> list[Any]:
        return [data for name, data in self.events if name in names]

    async def wait(self, name: str, count: int = 1) -> Any:
        """Return the latest one."""
        async with asyncio.timeout(SECONDS):
            while len(found := self.all(name)) < count:
                self.changed.clear()
                await self.changed.wait()
        return found[-1]


@asynccontextmanager
async def client(base: str, tokens: Any, **options: Any) -> AsyncIterator[Encer]:
    async with Encer(base, tokens=tokens, **options) as encer:
        yield encer
