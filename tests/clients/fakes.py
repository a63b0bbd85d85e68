"""A clock, a REST API and sockets without a network, for the cases that both clients run (cases.json)."""

import asyncio
import base64
import json
import selectors
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import httpx
import websockets

from encer import Encer, MemoryTokens
from encer.backoff import Backoff
from tests.clients.helpers import health

TURNS = 60  # of the loop, so that promises and callbacks that are due have run
LIVED_SECONDS = 0.02  # by a socket that is dropped soon
FRAMES = 10_000  # that wait in a fake socket


class VirtualLoop(asyncio.SelectorEventLoop):
    """Its time passes at once when nothing else is to do."""

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self.now


class JumpingSelector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self.loop = loop

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise AssertionError("nothing would ever happen")
        self.loop.now += max(0.0, timeout)
        return super().select(0)


async def settle() -> None:
    for _ in range(TURNS):
        await asyncio.sleep(0)


def token_of(number: object, user: str = "me", expires: int = 4_000_000_000) -> str:
    claims = base64.urlsafe_b64encode(json.dumps({"userId": user, "iat": 0, "exp": expires}).encode())
    return f"a.{claims.decode().rstrip('=')}.{number}"


class FakeServer:
    def __init__(self, monkeypatch: Any) -> None:
        self.sockets: list[FakeSocket] = []
        self.queries: list[dict[str, str]] = []  # of GET …/messages
        self.pages: list[Any] = []
        self.refreshes = self.last_rev = 0
        self.held: asyncio.Event | None = None  # GET …/messages waits for it
        self.queued: dict[str, list[Any]] = {}  # answers to commands, in turn; None is no answer
        self.always: dict[str, Any] = {}
        self.heartbeat_ms = 25_000
        self.user = "me"
        self.version = "0.1.0"
        self.refused: int | None = None  # the code that closes new sockets before they are ready
        self.calls = 0  # of /profile/me
        self.rest_answer: tuple[int, Any] = (200, {"data": {}})  # of /profile/me: status and data, or None for a page
        self.refresh_held: asyncio.Event | None = None  # a refresh waits for it
        self.first_frame: str | None = None  # of new sockets, instead of `ready`; "" is no frame
        self.drop: int | None = None  # the code that closes new sockets soon after they are ready
        self.answer_all: Any = None  # of the API
        self.listing: tuple[int, Any] = (200, {"data": [], "pageInfo": {"nextCursor": None}})
        clock = SimpleNamespace(monotonic=lambda: asyncio.get_running_loop().time(), time=lambda: 1_000_000_000.0)
        for module in ("socket", "tokens", "outbox"):
            monkeypatch.setattr(f"encer.{module}.time", clock)
        for module in ("outbox", "conversation", "rest", "client"):  # the shortest pauses
            monkeypatch.setattr(f"encer.{module}.random", SimpleNamespace(random=lambda: 0.0))
        monkeypatch.setattr("encer.client.Backoff", partial(Backoff, lambda: 0.0))
        monkeypatch.setattr("encer.socket.connect", self.connect)
        make = partial(httpx.AsyncClient, transport=httpx.MockTransport(self.fetch))
        monkeypatch.setattr("encer.rest.httpx.AsyncClient", lambda **_: make())

    def client(self, expired: bool = False, tokens: Any = None, expires_at: Any = None, **options: Any) -> Encer:
        access = token_of(0, expires=1) if expired else token_of(0)
        pair: Any = tokens or {"accessToken": access, "refreshToken": "refresh-0"}
        if expires_at:
            pair["expiresAt"] = expires_at
        return Encer("http://api.test", tokens=MemoryTokens(pair), pace=(1e6, 1_000_000), **options)

    @property
    def socket(self) -> "FakeSocket":
        return self.sockets[-1]

    def commands(self, name: str) -> list[Any]:
        """Return the data of all commands of this name, on all sockets."""
        return [data for socket in self.sockets for event, data in socket.frames if event == name]

    async def connect(self, _: str, **__: Any) -> "FakeSocket":
        socket = FakeSocket(self)
        self.sockets.append(socket)
        if self.refused:
            socket.end(self.refused)
        if self.first_frame:
            socket.incoming.put_nowait(self.first_frame)
        elif self.first_frame is None:
            self.ready(socket, self.user)
        if self.drop:
            asyncio.get_running_loop().call_later(LIVED_SECONDS, socket.end, self.drop)
        return socket

    def ready(self, socket: "FakeSocket", user: str) -> None:
        counts = {"unreadNotifications": 0, "unreadMessages": 0}
        socket.emit("ready", {"userId": user, "heartbeatMs": self.heartbeat_ms, **counts})

    def reply(self, socket: "FakeSocket", name: str, data: Any) -> Any:
        """Return the data of the answer to a command, or None for no answer."""
        if self.queued.get(name):
            return self.queued[name].pop(0)
        if self.always.get(name):
            return self.always[name]
        return self.usual(name, data)

    def usual(self, name: str, data: Any) -> Any:
        if name == "join_conversation":
            return {"lastRev": self.last_rev, "replayed": 0, "complete": True}
        if name == "mark_read":
            return {"unreadCount": 0}
        if name == "send_message":
            self.last_rev += 1
            return {"message": message(self.last_rev, content=data["content"])}
        return {}

    async def fetch(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if path == "/health":
            return httpx.Response(200, content=health(self.version)[1])
        if self.answer_all:
            return httpx.Response(200, json=self.answer_all)
        if path.endswith("/auth/refresh"):
            self.refreshes += 1
            if self.refresh_held:
                await self.refresh_held.wait()
            pair = {"accessToken": token_of(self.refreshes, self.user), "refreshToken": f"refresh-{self.refreshes}"}
            return httpx.Response(200, json={"data": {**pair, "expiresIn": 900}})
        if path.endswith("/auth/login"):
            pair = {"accessToken": token_of(f"of-{self.user}", self.user), "refreshToken": "refresh"}
            return httpx.Response(200, json={"data": {**pair, "expiresIn": 900, "user": {"id": self.user}}})
        if path.endswith("/profile/me"):
            self.calls += 1
            status, data = self.rest_answer
            return httpx.Response(status, content=json.dumps(data) if data else "<html>")
        if path.endswith("/messages"):
            self.queries.append(dict(request.url.params))
            if self.held:
                await self.held.wait()
            return httpx.Response(200, json=self.pages.pop(0) if self.pages else page([]))
        return httpx.Response(self.listing[0], json=self.listing[1])


class FakeSocket:
    """What the client uses of a connection of `websockets`."""

    def __init__(self, server: FakeServer) -> None:
        self.server = server
        self.frames: list[tuple[str, Any]] = []
        self.incoming: asyncio.Queue[str | None] = asyncio.Queue(FRAMES)
        self.close_code: int | None = None
        self.transport = SimpleNamespace(abort=partial(self.end, 1006))

    async def send(self, text: str) -> None:
        frame = json.loads(text)
        self.frames.append((frame["event"], frame["data"]))
        answer = self.server.reply(self, frame["event"], frame["data"])
        if "id" in frame and answer is not None:
            self.emit("error" if answer.get("code") else "ack", answer, frame["id"])

    async def recv(self) -> str:
        text = await self.incoming.get()
        if text is None:
            raise websockets.ConnectionClosedOK(None, None)
        return text

    async def close(self) -> None:
        self.end(1000)

    def end(self, code: int) -> None:
        """The server closes it; with 1006, the network does."""
        if self.close_code is None:
            self.close_code = code
            self.incoming.put_nowait(None)

    def emit(self, event: str, data: Any, id: int | None = None) -> None:
        self.incoming.put_nowait(json.dumps({"event": event, "data": data, **({} if id is None else {"id": id})}))


def message(seq: int, **fields: Any) -> dict[str, Any]:
    person = {"id": f"m{seq}", "conversationId": "c", "senderId": "other"}
    return {**person, "seq": seq, "rev": seq, "content": f"line {seq}", "isDeleted": False, **fields}


def page(messages: list[Any], has_more: bool = False) -> dict[str, Any]:
    return {"data": messages, "pageInfo": {"hasMore": has_more}}


def run_virtually(work: Callable[[], Any]) -> None:
    """Run a coroutine function on a virtual clock."""
    loop = VirtualLoop()
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()
