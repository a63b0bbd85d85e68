"""Random histories of a conversation with cuts and refusals: each client's view equals the server's messages."""

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.clients.fakes import FakeServer, FakeSocket, message, page, run_virtually
from tests.helpers.programs import whole_suite
from tools.node.packages import run_node

REPLAYED = 5  # changes that a join replays; more are fetched
PAGE = 4
STEPS = 120
NODE_SECONDS = 120.0
SEEDS = range(8, 28) if whole_suite() else (8, 11, 18)


class Model(FakeServer):
    """A server with one conversation, which changes while clients join and fetch."""

    def __init__(self, monkeypatch: Any, seed: int) -> None:
        super().__init__(monkeypatch)
        self.rng = random.Random(seed)
        self.messages: dict[int, dict[str, Any]] = {}  # by seq
        self.keys: dict[str, dict[str, Any]] = {}
        self.rev = 0
        self.joined: set[FakeSocket] = set()

    def change(self) -> None:
        """Add, edit or delete a message."""
        living = [seq for seq, one in self.messages.items() if not one["isDeleted"]]
        act = self.rng.choice(["add", "add", "edit", "delete"]) if living else "add"
        if act == "add":
            self.add(f"line {self.rev + 1}")
            return
        self.rev += 1
        one = self.messages[self.rng.choice(living)]
        one.update({"rev": self.rev, "isDeleted": act == "delete"})
        one["content"] = f"{one['content']}, edited" if act == "edit" else ""
        self.publish("message_edited" if act == "edit" else "message_deleted", one)

    def add(self, content: str) -> dict[str, Any]:
        self.rev += 1
        self.messages[self.rev] = one = message(self.rev, content=content)
        self.publish("message_sent", one)
        return one

    def publish(self, name: str, one: dict[str, Any]) -> None:
        data = {**one, "messageId": one["id"]} if name == "message_deleted" else one
        for socket in self.joined:
            socket.emit(name, data)

    def reply(self, socket: FakeSocket, name: str, data: Any) -> Any:
        if self.rng.random() < 0.1:
            self.change()  # meanwhile
        if self.rng.random() < 0.05:
            self.cut(socket)
            return None
        if self.rng.random() < 0.05 and name in ("send_message", "mark_read"):
            return {"error": "Not ready", "code": "NOT_READY", "retryAfter": 1}
        if name == "leave_conversation":
            self.joined.discard(socket)
        if name == "send_message":
            one = self.keys.get(data["clientMessageId"]) or self.add(data["content"])
            self.keys[data["clientMessageId"]] = one
            if self.rng.random() < 0.2:  # stored, but the answer is lost
                self.cut(socket)
                return None
            return {"message": one}
        return self.join(socket, data["after"]) if name == "join_conversation" else self.usual(name, data)

    def join(self, socket: FakeSocket, after: int) -> Any:
        missed = sorted((one for one in self.messages.values() if one["rev"] > after), key=lambda one: one["rev"])
        self.joined.add(socket)
        if len(missed) > REPLAYED:
            return {"lastRev": self.rev, "replayed": 0, "complete": False}
        for one in missed:
            name = "message_sent" if one["seq"] > after else "message_edited"
            socket.emit("message_deleted" if name == "message_edited" and one["isDeleted"] else name, dict(one))
        return {"lastRev": self.rev, "replayed": len(missed), "complete": True}

    def cut(self, socket: FakeSocket) -> None:
        self.joined.discard(socket)
        socket.end(self.rng.choice([1006, 1006, 1001, 1013]))

    async def fetch(self, request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/messages"):
            return await super().fetch(request)
        if self.rng.random() < 0.2:
            self.change()
        await asyncio.sleep(self.rng.random())
        if self.rng.random() < 0.05:
            return httpx.Response(503, content="<html>")
        after = int(request.url.params.get("after", 0))
        found = [one for seq, one in sorted(self.messages.items()) if seq > after]
        return httpx.Response(200, json=page(found[:PAGE], len(found) > PAGE))


async def chat(server: Model) -> None:
    view: dict[int, str] = {}
    seen: list[tuple[int, int]] = []

    def note(data: Any, content: str) -> None:
        assert (data["seq"], data["rev"]) not in seen, "repeated"
        assert all(rev < data["rev"] for seq, rev in seen if seq == data["seq"]), "an older state after a newer one"
        seen.append((data["seq"], data["rev"]))
        view[data["seq"]] = content

    def note_new(data: Any) -> None:
        assert data["seq"] not in view, "new twice"
        note(data, data["content"])

    encer = server.client()
    here = encer.conversation("c", after=0)
    faults: list[Exception] = []

    def listen(name: str, listener: Any) -> None:
        def checked(data: Any) -> None:
            try:
                listener(data)
            except AssertionError as fault:
                faults.append(fault)

        here.on(name, checked)

    listen("message", note_new)
    listen("edited", lambda data: note(data, data["content"]))
    listen("deleted", lambda data: note(data, ""))
    sending: list[asyncio.Task[Any]] = []
    for number in range(STEPS):
        match server.rng.choice(["change", "change", "change", "send", "cut", "resync", "read", "wait", "wait"]):
            case "change":
                server.change()
            case "send":
                sending.append(asyncio.create_task(here.send(f"sent {number}")))
            case "cut" if server.sockets:
                server.cut(server.socket)
            case "resync" if server.sockets and server.socket in server.joined:
                server.socket.emit("resync", {"conversationId": "c", "reason": "behind"})
            case "read":
                here.read()
            case _:
                await asyncio.sleep(server.rng.choice([0.01, 0.3, 3.0]))
    stored = await asyncio.wait_for(asyncio.gather(*sending), 3600)
    assert len({one["seq"] for one in stored}) == len(sending) == len(server.keys)
    seqs = [one["seq"] for one in stored]
    assert seqs == sorted(seqs), "stored in another order"
    async with asyncio.timeout(3600):
        while here.rev < server.rev or encer.state != "live":
            await asyncio.sleep(1)
    assert faults == []
    assert view == {seq: one["content"] for seq, one in server.messages.items()}
    await encer.close()


def test_the_view_of_the_typescript_client_equals_the_server():
    tested = run_node(Path(__file__).with_name("histories.mjs"), *map(str, SEEDS), seconds=NODE_SECONDS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("seed", SEEDS)
def test_the_view_of_the_python_client_equals_the_server(seed, monkeypatch):
    server = Model(monkeypatch, seed)

    async def run() -> None:
        await chat(server)

    run_virtually(run)
