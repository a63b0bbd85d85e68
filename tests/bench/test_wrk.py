"""wrk as the load client: it sends the whole requests of a file in turn, and counts those that failed."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from tornado.httpserver import HTTPServer
from tornado.web import Application, RequestHandler

from bench.clients.http import SEPARATOR
from bench.setup.wrk import run_wrk
from db.packaged.servers import free_port
from tests.helpers.programs import find_program, needs_program
from tests.helpers.raw_http import request

pytestmark = needs_program("wrk", package="wrk")

REQUESTS = [
    request("GET /", "X-Name: first"),
    request("POST /", "X-Name: second", "Content-Length: 4", body=b"\r\n\r\n"),
    request("GET /", "X-Name: third"),
]


async def send(folder: Path, status: int) -> tuple[int, Counter[str]]:
    served: Counter[str] = Counter()

    class Answer(RequestHandler):
        def get(self) -> None:
            served[f"{self.request.headers['X-Name']} {len(self.request.body)}"] += 1
            self.set_status(status)

        post = get

    file, port = folder / "requests", free_port()
    file.write_bytes(SEPARATOR.join(REQUESTS))
    server = HTTPServer(Application([("/", Answer)], log_function=lambda _: None))
    server.listen(port, "127.0.0.1")
    try:
        answered = await run_wrk(find_program("wrk") or "", port, file, seconds=1, connections=2)
    finally:
        server.stop()
        await asyncio.shield(server.close_all_connections())
    return answered, served


async def test_it_sends_all_requests_in_turn(tmp_path: Path):
    answered, served = await send(tmp_path, 200)
    assert set(served) == {"first 0", "second 4", "third 0"}
    assert max(served.values()) - min(served.values()) <= 1 + 2  # of the two connections
    assert 0 <= served.total() - answered <= 2  # those that were on their way at the end


async def test_a_refused_request_ends_the_measurement(tmp_path: Path):
    with pytest.raises(SystemExit, match="requests failed"):
        await send(tmp_path, 429)
