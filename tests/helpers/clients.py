"""Clients for tests: HTTP with JSON, and a WebSocket of another library."""

import asyncio
import json
from fnmatch import fnmatch
from functools import cache
from typing import Any

import websockets
from pydantic import TypeAdapter
from tornado.httpclient import AsyncHTTPClient, HTTPRequest, HTTPResponse

from db.error_codes import ERROR_CODES
from db.schemas.shape import Shape
from handlers.http.description.errors import MEANINGS, error_codes, error_name, error_schemas
from handlers.http.router import Route
from realtime.events import EVENTS
from realtime.sockets.commands import COMMANDS
from server import Instance
from tests.helpers.factories import Person

EVENT_SECONDS = 5.0
ROOT_PATHS = ("/ws", "/health", "/metrics", "/media", "/docs", "/openapi", "/asyncapi")
ERRORS = error_schemas()
# Statuses that any request can get, also one that no client of the API description sends.
ANYWHERE = (405, 413, 415, 431, 500)
UNCOUNTED = ("ack", "pong", "ready", "user_online", "user_offline")


@cache
def shape_of(name: str) -> type[Shape]:
    return EVENTS[name].shape()


class Answer:
    def __init__(self, response: HTTPResponse) -> None:
        self.status = response.code
        self.headers = response.headers
        self.raw = response.body or b""

    @property
    def body(self) -> Any:
        return json.loads(self.raw)

    @property
    def data(self) -> Any:
        assert self.status < 300, (self.status, self.raw[:500])
        return self.body["data"]

    @property
    def code(self) -> str:
        return self.body["code"]

    @property
    def fields(self) -> set[str]:
        return {detail["field"] for detail in self.body["details"]}

    def __repr__(self) -> str:
        return f"<{self.status} {self.raw[:300]!r}>"


class Api:
    """`await api.post("/auth/login", {...}, user)`: JSON in and out; `base` is the instance's address."""

    def __init__(self, instance: Instance) -> None:
        self.instance = instance
        self.base = f"http://127.0.0.1:{instance.port}"
        self.http = AsyncHTTPClient(force_instance=True, max_clients=200)

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        user: Person | None = None,
        *,
        raw: bytes | None = None,
        headers: dict[str, str] | None = None,
    ) -> Answer:
        url = self.base + (path if path == "/" or path.startswith(ROOT_PATHS) else f"/api/v1{path}")
        sent = raw if raw is not None else json.dumps(body).encode() if body is not None else None
        given = {"Content-Type": "application/json"} if sent is not None else {}
        if user:
            given["Authorization"] = f"Bearer {user.token}"
        request = HTTPRequest(
            url,
            method,
            {**given, **(headers or {})},
            sent,
            follow_redirects=False,
            request_timeout=20,
            allow_nonstandard_methods=True,
            decompress_response=False,
        )
        answer = Answer(await self.http.fetch(request, raise_error=False))
        self.check(method, url.removeprefix(self.base).partition("?")[0], answer)
        return answer

    def check(self, method: str, path: str, answer: Answer) -> None:
        """Check that an error has the error form, and a success the shape that its endpoint declares."""
        assert answer.headers.get("X-Request-Id") or answer.status in (204, 400), answer
        if method == "HEAD":
            assert answer.raw == b""
            return
        if answer.status >= 400:
            body = answer.body
            assert {"error", "message", "code", "requestId"} <= body.keys(), body
            assert isinstance(body["error"], str) and isinstance(body["message"], str), body
            assert body["code"] in ERROR_CODES, body
            self.check_error(method, path, answer.status, body)
            return
        routes, _ = self.instance.app.table.root.find(path.strip("/").split("/"), [])
        route: Route | None = routes.get(method)
        if route is None or answer.status == 204:
            return
        declared = route.endpoint
        assert answer.status in declared.statuses, (answer.status, route)
        if not answer.raw:
            return
        content_type = answer.headers.get("Content-Type", "").partition(";")[0]
        assert fnmatch(content_type, declared.produces), (content_type, route)
        if content_type != "application/json":
            return
        body = answer.body
        for name in declared.top:
            assert body[name] == body["data"][name], name
        if declared.data_as:
            assert body[declared.data_as] == body["data"]
        if not declared.bare:
            alike = {"success", "data", "message", "pageInfo", "pagination", declared.data_as, *declared.top}
            assert body.keys() <= alike | declared.beside.keys(), (body.keys(), route)
            for name in declared.beside.keys() & body.keys():
                TypeAdapter(declared.beside[name]).validate_json(json.dumps(body[name]), strict=True)
        data = body if declared.bare else body["data"]
        if declared.returns is None:
            assert data is None, f"{route.path} does not declare what it returns"
        else:
            TypeAdapter(declared.returns).validate_json(json.dumps(data), strict=True)

    def check_error(self, method: str, path: str, status: int, body: dict[str, Any]) -> None:
        """Check that an error has the fields of its code, and that the API description lists it for the route."""
        known = ERRORS.get(error_name(body["code"])) or ERRORS["GeneralError"]
        assert set(known["required"]) <= body.keys() <= known["properties"].keys(), body
        routes, _ = self.instance.app.table.root.find(path.strip("/").split("/"), [])
        route: Route | None = routes.get(method)
        if route is None or status in ANYWHERE:
            return
        assert MEANINGS[body["code"]].status == status, (status, body)
        listed = error_codes(route.endpoint, route.path).get(status, [])
        assert body["code"] in listed, f"{method} {route.path} does not declare {status} {body['code']}"

    async def get(self, path: str, user: Person | None = None, **kwargs: Any) -> Answer:
        return await self.call("GET", path, None, user, **kwargs)

    async def post(self, path: str, body: Any = None, user: Person | None = None, **kwargs: Any) -> Answer:
        return await self.call("POST", path, body, user, **kwargs)

    async def put(self, path: str, body: Any = None, user: Person | None = None, **kwargs: Any) -> Answer:
        return await self.call("PUT", path, body, user, **kwargs)

    async def patch(self, path: str, body: Any = None, user: Person | None = None, **kwargs: Any) -> Answer:
        return await self.call("PATCH", path, body, user, **kwargs)

    async def delete(self, path: str, user: Person | None = None, body: Any = None, **kwargs: Any) -> Answer:
        return await self.call("DELETE", path, body, user, **kwargs)

    async def socket(self, user: Person) -> "SocketClient":
        """Return a signed-in socket of this instance that has received `ready`."""
        socket = await SocketClient.open(self, {"Authorization": f"Bearer {user.token}"})
        socket.ready = await socket.expect("ready")
        return socket


class SocketClient:
    """A WebSocket that collects all events in order; `expect` waits for the next one with a name."""

    def __init__(self, ws: websockets.ClientConnection) -> None:
        self.ws = ws
        self.events: list[dict[str, Any]] = []
        self.taken = 0
        self.numbers = 0
        self.ready: dict[str, Any] = {}

    @classmethod
    async def open(cls, api: Api, headers: dict[str, str] | None = None, **kwargs: Any) -> "SocketClient":
        url = api.base.replace("http", "ws") + "/ws"
        return cls(await websockets.connect(url, additional_headers=headers, compression=None, proxy=None, **kwargs))

    async def receive(self) -> dict[str, Any]:
        async with asyncio.timeout(EVENT_SECONDS):
            frame = await self.ws.recv()
        event = json.loads(frame)
        shape_of(event["event"]).model_validate_json(json.dumps(event["data"]), strict=True)
        self.events.append(event)
        return event

    async def expect(self, name: str) -> dict[str, Any]:
        """Return the data of the next event with this name; earlier events stay in `events`."""
        while True:
            while self.taken < len(self.events):
                event = self.events[self.taken]
                self.taken += 1
                if event["event"] == name:
                    return event["data"]
            await self.receive()

    async def send(self, event: str, data: Any = None, **more: Any) -> None:
        await self.ws.send(json.dumps({"event": event, **({} if data is None else {"data": data}), **more}))

    async def ask(self, event: str, data: Any = None) -> dict[str, Any]:
        """Send a command with an id; return the frame that answers it: `ack`, `pong` or `error`."""
        self.numbers += 1
        await self.send(event, data, id=self.numbers)
        while True:
            for frame in self.events:
                if frame.get("id") == self.numbers:
                    if frame["event"] == "ack":
                        ack = COMMANDS[event].ack
                        assert ack, event
                        ack.model_validate_json(json.dumps(frame["data"]), strict=True)
                    return frame
            await self.receive()

    async def join(self, conversation_id: str, after: int | None = None) -> dict[str, Any]:
        data = {"conversationId": conversation_id, **({} if after is None else {"after": after})}
        frame = await self.ask("join_conversation", data)
        assert frame["event"] == "ack", frame
        return frame["data"]

    async def received_names(self) -> list[str]:
        """Return the names of all events so far except presence, whose time is not fixed.

        A ping is answered after everything that was sent to the socket before it.
        """
        await self.ask("ping")
        return [event["event"] for event in self.events if event["event"] not in UNCOUNTED]

    async def close_code(self) -> int:
        """Wait until the server closes; return the code."""
        async with asyncio.timeout(EVENT_SECONDS * 2):
            while True:
                try:
                    self.events.append(json.loads(await self.ws.recv()))
                except websockets.ConnectionClosed as closed:
                    return closed.rcvd.code if closed.rcvd else 1006

    async def close(self) -> None:
        await self.ws.close()


async def ask_readiness(api: Api) -> tuple[int, str]:
    """Return the status code and the word of /health/ready."""
    answer = await api.http.fetch(f"{api.base}/health/ready", raise_error=False)
    return answer.code, json.loads(answer.body)["status"]
