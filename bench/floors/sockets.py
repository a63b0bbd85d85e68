"""The floor of the socket cases: a bare Tornado WebSocket with pings. It answers every frame that has an id.

`send_message` runs the statement that sends, `join_conversation` the one that reads missed changes.
"""

import asyncio
import sys

import asyncpg
import orjson
import uvloop
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from bench.floors.database import connect
from db.queries.conversations import FETCH_CHANGES, SEND_MESSAGE

PING_SECONDS = 25.0
READY = orjson.dumps({"event": "ready", "data": {"userId": "x" * 36, "sessionId": "x" * 36, "heartbeatMs": 25_000}})
NO_LIMIT = 2**62


class Health(RequestHandler):
    def get(self) -> None:
        self.finish(b"{}")


class Socket(WebSocketHandler):
    sockets: dict["Socket", None] = {}  # in the order of their opening

    def initialize(self, pool: asyncpg.Pool) -> None:
        self.pool = pool

    async def open(self, *_: str) -> None:
        self.sockets[self] = None
        await self.write_message(READY)

    async def on_message(self, message: str | bytes) -> None:
        frame = orjson.loads(message)
        data, number = frame["data"], b"%d" % frame["id"]
        if frame["event"] == "join_conversation":
            answer = await self.join(data["conversationId"], data.get("after"))
        elif frame["event"] == "send_message":
            answer = await self.send_message(data)
        else:
            answer = b"{}"
        await self.write_message(b'{"event":"ack","data":' + answer + b',"id":' + number + b"}")

    async def join(self, conversation_id: str, after: int | None) -> bytes:
        rows = await self.pool.fetch(
            FETCH_CHANGES, conversation_id, None, NO_LIMIT if after is None else after, NO_LIMIT
        )
        for row in rows:
            if row["message"]:
                await self.write_message(b'{"event":"message_sent","data":' + row["message"] + b"}")
        return orjson.dumps({"conversationId": conversation_id, "lastRev": rows[0]["last_rev"]})

    async def send_message(self, data: dict[str, str]) -> bytes:
        content = data["content"]
        sent = await self.pool.fetchrow(
            SEND_MESSAGE, data["conversationId"], data["senderId"], None, content, "TEXT", None, content
        )
        if data.get("toAll"):  # sockets of the sender and of the receiver, in turn
            message = b'{"event":"message_sent","data":' + sent["message"] + b"}"
            notice = b'{"event":"notification_received","data":' + sent["notification"] + b"}"
            for number, socket in enumerate(self.sockets):
                socket.write_message(message)
                if number % 2:
                    socket.write_message(notice)
        return b"".join((b'{"message":', sent["message"], b"}"))

    def on_close(self) -> None:
        del self.sockets[self]


async def serve(port: int, url: str) -> None:
    pool = await connect(url)
    application = Application(
        [("/health", Health), ("/ws", Socket, {"pool": pool})],
        log_function=lambda handler: None,
        websocket_ping_interval=PING_SECONDS,
        websocket_ping_timeout=PING_SECONDS,
    )
    HTTPServer(application).listen(port, "127.0.0.1", backlog=1024)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2]))
