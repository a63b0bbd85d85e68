"""A bare Tornado server for comparison: it receives and sends the same bytes as the server, and does nothing else."""

import asyncio
import json
import sys

import orjson
import uvloop
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler
from tornado.websocket import WebSocketHandler

from bench.scale.helpers import TEXT
from realtime.sockets.socket import TORNADO_SETTINGS

FRAME = orjson.dumps({"event": "message_sent", "data": {"content": TEXT, "more": "x" * 600}})
ANSWER = FRAME.ljust(900)


class Post(RequestHandler):
    def post(self) -> None:
        orjson.loads(self.request.body)
        self.set_header("Content-Type", "application/json")
        self.finish(ANSWER)


class Echo(WebSocketHandler):
    """`write {n}` sends a frame to n of the open sockets; every frame with an id is answered."""

    sockets: list["Echo"] = []

    async def open(self, *_: str) -> None:
        self.sockets.append(self)
        await self.write_message(b"ready")

    async def on_message(self, message: str | bytes) -> None:
        frame = orjson.loads(message)
        for socket in self.sockets[: frame["data"].get("n", 0)]:
            await socket.write_message(FRAME)
        if "id" in frame:
            await self.write_message(orjson.dumps({"event": "ack", "data": {"more": "x" * 700}, "id": frame["id"]}))

    def on_close(self) -> None:
        self.sockets.remove(self)


async def serve(port: int) -> None:
    HTTPServer(Application([("/post", Post), ("/ws", Echo)], **TORNADO_SETTINGS)).listen(port, "127.0.0.1")
    print(json.dumps({"port": port}), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
