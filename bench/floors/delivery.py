"""The floor of delivery over two instances: the statement that stores a message, PUBLISH, and a bare WebSocket.

Two of these processes run: one receives the POST, the other one has the sockets and subscribes to their conversations.
"""

import asyncio
import sys
from collections import defaultdict
from urllib.parse import urlsplit

import asyncpg
import hiredis
import orjson
import uvloop
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from bench.floors.database import connect
from db.queries.conversations import SEND_MESSAGE


class Redis(asyncio.Protocol):
    """One connection that publishes, or one that subscribes."""

    def __init__(self) -> None:
        self.reader = hiredis.Reader()
        self.sockets: dict[bytes, list[Socket]] = defaultdict(list)  # by conversation

    @classmethod
    async def connect(cls, url: str) -> "Redis":
        address = urlsplit(url)
        _, redis = await asyncio.get_running_loop().create_connection(cls, address.hostname or "", address.port or 6379)
        if address.password:
            redis.send(b"AUTH", address.password.encode())
        return redis

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def send(self, *command: bytes) -> None:
        self.transport.write(hiredis.pack_command(command))  # type: ignore[attr-defined,arg-type]

    def data_received(self, data: bytes) -> None:
        self.reader.feed(data)
        while (reply := self.reader.gets()) is not False:
            if isinstance(reply, list) and reply[0] == b"message":
                for socket in self.sockets[reply[1]]:
                    socket.write_message(reply[2])


class Health(RequestHandler):
    def get(self) -> None:
        self.finish(b"{}")


class Post(RequestHandler):
    def initialize(self, pool: asyncpg.Pool, redis: Redis) -> None:
        self.pool, self.redis = pool, redis

    async def post(self) -> None:
        arguments = orjson.loads(self.request.headers["X-Arguments"])
        content = orjson.loads(self.request.body)["content"]
        sent = await self.pool.fetchrow(SEND_MESSAGE, *arguments, None, content, "TEXT", None, content)
        frame = b'{"event":"message_sent","data":' + sent["message"] + b"}"
        self.redis.send(b"PUBLISH", arguments[0].encode(), frame)
        self.set_header("Content-Type", "application/json")
        self.finish(b'{"success":true,"data":' + sent["message"] + b"}")


class Socket(WebSocketHandler):
    def initialize(self, redis: Redis) -> None:
        self.redis = redis

    async def open(self, *_: str) -> None:
        await self.write_message(b'{"event":"ready","data":{}}')

    async def on_message(self, message: str | bytes) -> None:
        frame = orjson.loads(message)
        channel = frame["data"]["conversationId"].encode()
        self.redis.sockets[channel].append(self)
        self.redis.send(b"SUBSCRIBE", channel)
        await self.write_message(b'{"event":"ack","data":{},"id":7}')


async def serve(port: int, url: str, redis_url: str) -> None:
    pool, publisher, subscriber = await connect(url), await Redis.connect(redis_url), await Redis.connect(redis_url)
    routes = [
        ("/health", Health),
        ("/post", Post, {"pool": pool, "redis": publisher}),
        ("/ws", Socket, {"redis": subscriber}),
    ]
    HTTPServer(Application(routes, log_function=lambda handler: None)).listen(port, "127.0.0.1")  # type: ignore[arg-type]
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), sys.argv[2], sys.argv[3]))
