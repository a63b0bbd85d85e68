"""A stand-in for Resend's HTTP API (https://resend.com/docs/api-reference/emails/send-email), with its failures.

It serves `POST /emails` with `Idempotency-Key`: the same key with the same body is answered again and sent once,
with another body it is a 409.
"""

import asyncio
import json
import uuid
from typing import Any

from tornado.httpserver import HTTPServer
from tornado.netutil import bind_sockets
from tornado.web import Application, RequestHandler

API_KEY = "re_test_key"


class Resend:
    """`sent` has one entry per mail that was sent, `requests` every call; `failures` are answered first, in turn."""

    def __init__(self) -> None:
        self.sent: list[dict[str, Any]] = []
        self.requests: list[dict[str, Any]] = []
        self.failures: list[tuple[int, str]] = []  # (status, error name)
        self.lose_answers = 0  # this many mails are sent, but the connection breaks before the answer
        self.delay = asyncio.Event()  # `hang()` clears it; calls wait until it is set
        self.delay.set()
        self.by_key: dict[str, tuple[Any, str]] = {}
        self.server = HTTPServer(Application([("/emails", Emails, {"resend": self})]))

    def listen(self, port: int = 0) -> None:
        sockets = bind_sockets(port, "127.0.0.1")
        self.server.add_sockets(sockets)
        self.url = f"http://127.0.0.1:{sockets[0].getsockname()[1]}"

    async def __aenter__(self) -> "Resend":
        self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        self.delay.set()
        self.server.stop()
        await self.server.close_all_connections()

    def hang(self) -> None:
        self.delay.clear()


class Emails(RequestHandler):
    def initialize(self, resend: Resend) -> None:
        self.resend = resend

    def refuse(self, status: int, name: str) -> None:
        self.set_status(status)
        self.finish({"statusCode": status, "name": name, "message": f"refused: {name}"})

    async def post(self) -> None:
        resend, headers = self.resend, self.request.headers
        body = json.loads(self.request.body)
        resend.requests.append({"headers": dict(headers), "body": body})
        await resend.delay.wait()
        key = headers.get("Idempotency-Key") or str(uuid.uuid4())
        if headers.get("Authorization") != f"Bearer {API_KEY}":
            self.refuse(403, "invalid_api_key")
        elif resend.failures:
            self.refuse(*resend.failures.pop(0))
        elif missing := [field for field in ("from", "to", "subject") if not body.get(field)]:
            self.refuse(422, f"missing_required_field {missing}")
        elif key in resend.by_key and resend.by_key[key][0] != body:
            self.refuse(409, "invalid_idempotent_request")
        else:
            self.accept(key, body)

    def accept(self, key: str, body: dict[str, Any]) -> None:
        resend = self.resend
        if key not in resend.by_key:
            resend.by_key[key] = (body, str(uuid.uuid4()))
            resend.sent.append(body)
        if resend.lose_answers:
            resend.lose_answers -= 1
            self.detach().close()
        else:
            self.finish({"id": resend.by_key[key][1]})
