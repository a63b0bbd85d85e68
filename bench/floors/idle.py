"""The floor of an idle process: a bare event loop that wakes as often as an idle instance, and does nothing then."""

import asyncio
import sys

import uvloop
from tornado.httpserver import HTTPServer
from tornado.web import Application

from bench.floors.http import Health

WAKES = 2.4  # a second, by /proc/PID/status of an idle instance: periodic tasks, and answers that arrive later


async def serve(port: int) -> None:
    HTTPServer(Application([("/health", Health)], log_function=lambda handler: None)).listen(port, "127.0.0.1")
    while True:
        await asyncio.sleep(1 / WAKES)


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
