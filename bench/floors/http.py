"""The floor of the HTTP cases: a bare Tornado handler that runs this project's SQL and sends what PostgreSQL built.

No sign-in, limit, log or metric. The header `X-Arguments` holds the statement's arguments as a JSON list.
"""

import asyncio
import sys
from typing import Any

import orjson
import uvloop
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bench.floors.database import connect
from db.queries.conversations import SEND_MESSAGE
from db.queries.listings import COUNT_LISTINGS
from handlers.chat.conversations import LIST_CONTACTS, LIST_CONVERSATIONS
from handlers.chat.messages import LIST_MESSAGES
from handlers.discovery import LIST_RECENT
from handlers.http.paging import with_total
from handlers.notifications import LIST_NOTIFICATIONS
from handlers.profile.profile import GET_PROFILE

HEALTH = {"status": "ok", "message": "The floor is running", "version": "1.0.0", "timestamp": "2026", "uptime": 1.5}


class Bare(RequestHandler):
    def compute_etag(self) -> None:
        return None

    def answer(self, body: bytes) -> None:
        self.set_header("Content-Type", "application/json")
        self.finish(body)


class Health(Bare):
    def get(self) -> None:
        self.answer(orjson.dumps(HEALTH))


class Statement(Bare):
    def initialize(self, sql: str) -> None:
        self.sql = sql

    async def get(self) -> None:
        arguments = orjson.loads(self.request.headers["X-Arguments"])
        rows = await self.application.pool.fetch(self.sql, *arguments)  # type: ignore[attr-defined]
        self.answer(b'{"success":true,"data":[' + b",".join([row[0] for row in rows]) + b"]}")

    async def post(self) -> None:
        arguments = orjson.loads(self.request.headers["X-Arguments"])
        content = orjson.loads(self.request.body)["content"]
        row = await self.application.pool.fetchrow(  # type: ignore[attr-defined]
            self.sql, *arguments, None, content, "TEXT", None, content
        )
        self.answer(b'{"success":true,"data":' + row[0] + b"}")


STATEMENTS = {
    "/profile": GET_PROFILE,
    "/discovery": LIST_RECENT,
    "/discovery-total": with_total(LIST_RECENT, COUNT_LISTINGS),
    "/notifications": LIST_NOTIFICATIONS,
    "/conversations": LIST_CONVERSATIONS,
    "/contacts": LIST_CONTACTS,
    "/messages": LIST_MESSAGES,
    "/send": SEND_MESSAGE,
}


async def serve(port: int, url: str) -> None:
    routes: list[Any] = [("/health", Health), *((path, Statement, {"sql": sql}) for path, sql in STATEMENTS.items())]
    application = Application(routes, log_function=lambda handler: None)
    application.pool = await connect(url)  # type: ignore[attr-defined]
    HTTPServer(application).listen(port, "127.0.0.1")
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
