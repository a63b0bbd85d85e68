"""The program of the Python client: runs the commands of the runner on stdin (README.md)."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "python"))

from encer import Encer, EncerError, MemoryTokens


class User:
    def __init__(self, base: str, tokens: Any, conversation: str) -> None:
        self.base, self.conversation = base, conversation
        self.store = MemoryTokens(tokens)
        self.rev = 0
        self.events: list[tuple[str, int, int]] = []
        self.view: dict[int, str | None] = {}
        self.sent: dict[str, str] = {}  # key -> message id
        self.connect()

    def connect(self) -> None:
        self.encer = Encer(self.base, tokens=self.store)
        self.chat = self.encer.conversation(self.conversation, after=self.rev)
        self.chat.on("message", lambda message: self.record("message", message, message["content"]))
        self.chat.on("edited", lambda message: self.record("edited", message, message["content"]))
        self.chat.on("deleted", lambda deletion: self.record("deleted", deletion, None))

    def record(self, name: str, change: Any, content: str | None) -> None:
        self.events.append((name, change["seq"], change["rev"]))
        self.view[change["seq"]] = content

    async def reconnect(self) -> None:
        self.connect()

    async def disconnect(self) -> None:
        self.rev = self.chat.rev
        await self.encer.close()

    async def send(self, text: str, key: str) -> int:
        message = await self.chat.send(text, client_message_id=key)
        self.sent[key] = message["id"]
        return message["seq"]

    async def edit(self, key: str, text: str) -> int:
        return (await self.chat.edit(self.sent[key], text))["rev"]

    async def delete(self, key: str) -> None:
        await self.chat.delete(self.sent[key])

    async def state(self) -> Any:
        return {"rev": self.chat.rev, "state": self.encer.state, "error": str(self.encer.error or "") or None}

    async def report(self) -> Any:
        return {"events": self.events, "view": [*self.view.items()]}


users: dict[str, User] = {}


async def run_command(line: dict[str, Any]) -> None:
    id, act, who = line.pop("id"), line.pop("do"), line.pop("who")
    answer: dict[str, Any]
    try:
        if act == "open":
            users[who] = User(**line)
            answer = {"result": None}
        else:
            answer = {"result": await getattr(users[who], act)(**line)}
    except EncerError as error:
        answer = {"error": error.code, "sentence": str(error)}
    except Exception as error:
        answer = {"error": "BUG", "sentence": repr(error)}
    print(json.dumps({"id": id, **answer}), flush=True)


async def main() -> None:
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    tasks: set[asyncio.Task[None]] = set()
    while line := await reader.readline():
        order = json.loads(line)
        if order["do"] == "quit":
            return
        task = asyncio.create_task(run_command(order))
        tasks.add(task)
        task.add_done_callback(tasks.discard)


asyncio.run(main())
