"""The base of the vendors' stand-ins: a server on loopback, a record of calls, and failures on demand."""

import asyncio
import json
import re
from collections import deque
from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

MAX_CALLS_KEPT = 10_000  # because the stand-ins also run for hours in the demonstration

# Status, body and perhaps headers; a str or bytes body is sent unchanged, everything else as JSON.
Answer = tuple[int, Any] | tuple[int, Any, dict[str, str]]


class Call(NamedTuple):
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any  # parsed, if it was JSON or a form


class Failure:
    """One of the vendor's `failures` by name, a given answer, `hang` or `disconnect`.

    `lose_answer` and `keep_answer` process the request; then the first breaks the connection, the second never answers.
    """

    def __init__(self, what: str | Answer, where: str, times: int) -> None:
        self.what, self.where, self.times = what, where, times


class StandIn:
    """`async with Vendor() as vendor:` serves at `vendor.url`.

    While `fail_with` is not None, every call fails; `fail()` fails some calls.
    """

    failures: dict[str, Answer] = {}
    routes: list[Any] = []

    def __init__(self) -> None:
        self.calls: deque[Call] = deque(maxlen=MAX_CALLS_KEPT)
        self.fail_with: str | Answer | None = None
        self.planned: list[Failure] = []
        self.release = asyncio.Event()
        routes = [(pattern, handler, {"vendor": self}) for pattern, handler in self.routes]
        routes.append(("/demo/fail", PlanFailure, {"vendor": self}))
        self.server = HTTPServer(Application(routes, log_function=lambda handler: None))

    def listen(self, port: int = 0) -> None:
        sockets = bind_sockets(port, "127.0.0.1")
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"
        self.server.add_sockets(sockets)

    async def close(self) -> None:
        self.release.set()
        self.server.stop()
        await self.server.close_all_connections()

    async def __aenter__(self) -> Any:
        self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def fail(self, what: str | Answer, where: str = "", times: int = 1) -> None:
        """Fail the next `times` calls whose `METHOD path` matches the regular expression `where`."""
        self.planned.append(Failure(what, where, times))

    def next_failure(self, method: str, path: str) -> str | Answer | None:
        for failure in self.planned:
            if failure.times > 0 and re.search(failure.where, f"{method} {path}"):
                failure.times -= 1
                return failure.what
        return self.fail_with

    def count(self, where: str) -> int:
        """Return the number of calls whose `METHOD path` contains `where`."""
        return sum(1 for call in self.calls if re.search(where, f"{call.method} {call.path}"))


class Handler(RequestHandler):
    vendor: Any

    def initialize(self, vendor: Any) -> None:
        self.vendor = vendor

    async def prepare(self) -> None:
        request = self.request
        query = dict(parse_qsl(request.query, keep_blank_values=True))
        self.body = read_body(request.headers.get("Content-Type", ""), request.body)
        self.vendor.calls.append(Call(request.method, request.path, query, dict(request.headers), self.body))
        what = self.vendor.next_failure(request.method, request.path)
        self.loses_answer = what == "lose_answer"
        self.keeps_answer = what == "keep_answer"
        if what == "hang":
            await self.vendor.release.wait()
        if what in ("hang", "disconnect"):
            self.disconnect()
        elif what is not None and not self.loses_answer and not self.keeps_answer:
            self.answer(*(self.vendor.failures[what] if isinstance(what, str) else what))

    def disconnect(self) -> None:
        self.detach().close()

    def answer(self, status: int, body: Any = None, headers: dict[str, str] | None = None) -> None:
        if self.loses_answer:
            return self.disconnect()
        if self.keeps_answer:
            self._auto_finish = False
            return None
        self.set_status(status)
        for name, value in (headers or {}).items():
            self.set_header(name, value)
        if isinstance(body, str | bytes):
            self.finish(body)
        else:
            self.set_header("Content-Type", "application/json; charset=utf-8")
            # Like vendors that use JavaScript, write lone surrogates as escapes.
            self.finish(json.dumps(body))
        return None


class PlanFailure(RequestHandler):
    """`POST /demo/fail {"what": "rate_limited", "where": "POST", "times": 1}`, for the stand-ins that run alone."""

    def initialize(self, vendor: StandIn) -> None:
        self.vendor = vendor

    def post(self) -> None:
        plan = json.loads(self.request.body)
        self.vendor.fail(plan["what"], plan.get("where", ""), plan.get("times", 1))
        self.set_status(204)


def read_body(content_type: str, body: bytes) -> Any:
    if "json" in content_type and body:
        return json.loads(body)
    if "x-www-form-urlencoded" in content_type:
        return dict(parse_qsl(body.decode(), keep_blank_values=True))
    return body
