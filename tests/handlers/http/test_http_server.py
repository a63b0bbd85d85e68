"""The HTTP server's own answers, its memory, and its behaviour without free file descriptors."""

import asyncio
import os
import re
import resource
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from tornado.platform.asyncio import BaseAsyncIOLoop

from db.packaged.servers import ServerUrls
from deploy.cluster import ROOT
from handlers.http import server as http_server
from handlers.http.server import MAX_HEADERS, ClientStream, PausingListener
from server import MAX_HEADER_BYTES, Instance
from tests.helpers.clients import Api, SocketClient
from tests.helpers.factories import People
from tests.helpers.processes import ServerProcess, server_process
from tests.helpers.raw_http import ANSWER_SECONDS, RawAnswer, exchange, read_answer, request

HEALTH = request("GET /health")
KIB, MIB = 2**10, 2**20

Connection = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[Connection]:
    async with asyncio.timeout(ANSWER_SECONDS * 3):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            yield reader, writer
        finally:
            writer.close()


# Malformed requests: tests/guards/test_odd_requests.py sends many kinds.


async def test_a_refusal_of_the_server_itself(instance: Instance):
    answer = await exchange(instance.port, b"HELLO\r\n\r\n")
    assert answer.status == 400
    assert answer.headers["connection"] == "close"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.json == {
        "error": "The request is malformed; please correct it",
        "message": "The request is malformed; please correct it",
        "code": "BAD_REQUEST",
        "requestId": answer.headers["x-request-id"],
    }


async def test_headers_beyond_the_bound(instance: Instance):
    fit = request("GET /health", f"A: {'x' * (MAX_HEADER_BYTES - 100)}")
    assert (await exchange(instance.port, fit)).status == 200
    for headers in ([f"A: {'x' * MAX_HEADER_BYTES}"], ["A: x"] * MAX_HEADERS):
        answer = await exchange(instance.port, request("GET /health", *headers))
        assert (answer.status, answer.json["code"]) == (431, "HEADERS_TOO_LARGE")


def test_the_bound_of_headers_is_above_that_of_nginx():
    conf = (ROOT / "deploy" / "nginx.conf").read_text()
    buffers = re.search(r"large_client_header_buffers (\d+) (\d+)k;", conf)
    assert buffers
    first_buffer = added_by_nginx = 4 * KIB
    assert int(buffers[1]) * int(buffers[2]) * KIB + first_buffer + added_by_nginx < MAX_HEADER_BYTES


@pytest.mark.parametrize("form", ["http://localhost", "HTTPS://other.example:8080"])
async def test_the_absolute_form_of_a_target_is_served(instance: Instance, form: str):
    answer = await exchange(instance.port, request(f"GET {form}/health"))
    assert (answer.status, answer.json["status"]) == (200, "ok")
    assert (await exchange(instance.port, request(f"GET {form}/api/v1/profile/me"))).status == 401
    assert (await exchange(instance.port, request(f"GET /{form}/health"))).status == 404


async def test_a_refused_client_may_go_on_sending(instance: Instance):
    """Most clients read no answer before they have sent everything, and a reset connection ends their sending."""
    async with connected(instance.port) as (reader, writer):
        writer.write(b"HELLO\r\n\r\n")
        assert (await read_answer(reader)).status == 400
        assert await reader.read() == b""
        for _ in range(8):
            writer.write(b"x" * 64 * KIB)
            await writer.drain()


async def test_a_refused_client_that_never_stops_is_cut_off(instance: Instance, monkeypatch):
    monkeypatch.setattr(http_server, "LINGERING_BYTES", 64 * KIB)
    async with connected(instance.port) as (_, writer):
        writer.write(b"HELLO\r\n\r\n")
        with pytest.raises(ConnectionError):
            while True:
                writer.write(b"x" * 64 * KIB)
                await writer.drain()


@pytest.mark.parametrize(
    ("name", "sent"),
    [
        ("header_timeout", b"GET /health HTTP/1.1\r\nHost: x\r\n"),
        ("body_timeout", request("POST /api/v1/auth/login", "Content-Length: 10", body=b"{")),
    ],
)
async def test_a_request_that_arrives_too_slowly(instance: Instance, monkeypatch, name: str, sent: bytes):
    monkeypatch.setattr(instance.http.conn_params, name, 0.1)
    answer = await exchange(instance.port, sent)
    assert (answer.status, answer.json["code"]) == (408, "REQUEST_TIMEOUT")


async def test_a_socket_outlives_the_time_of_a_body(instance: Instance, api: Api, people: People, monkeypatch):
    """Its request announces a body, so the server expects one."""
    monkeypatch.setattr(instance.http.conn_params, "body_timeout", 0.1)
    user = await people.salon()
    socket = await SocketClient.open(
        api, {"Authorization": f"Bearer {user.token}", "Content-Type": "text/plain", "Content-Length": "0"}
    )
    answer = await exchange(instance.port, request("POST /api/v1/auth/login", "Content-Length: 10", body=b"{"))
    assert answer.status == 408  # so the time has passed
    assert (await socket.ask("ping"))["event"] == "pong"
    await socket.close()


async def test_an_idle_connection_is_closed_without_an_answer(instance: Instance, monkeypatch):
    """There is no request, so a client would read an answer as that of its next request."""
    monkeypatch.setattr(instance.http.conn_params, "header_timeout", 0.5)
    async with connected(instance.port) as (reader, writer):
        writer.write(HEALTH)
        assert (await read_answer(reader)).status == 200
        assert await reader.read() == b""


async def test_a_request_right_after_an_answer_leaves_the_socket_in_the_event_loop(instance: Instance, monkeypatch):
    """It arrives before Tornado begins to read the next request."""
    client = await asyncio.to_thread(socket.create_connection, ("127.0.0.1", instance.port))
    changes: list[int] = []
    update, write = BaseAsyncIOLoop.update_handler, ClientStream.write

    def count(loop: BaseAsyncIOLoop, fd: Any, events: int) -> None:
        changes.append(events)
        update(loop, fd, events)

    def answer(stream: ClientStream, data: bytes) -> Any:
        try:
            return write(stream, data)
        finally:
            client.sendall(HEALTH)

    with client:
        client.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=client.dup())
        client.sendall(HEALTH)
        assert (await read_answer(reader)).status == 200
        monkeypatch.setattr(BaseAsyncIOLoop, "update_handler", count)
        monkeypatch.setattr(ClientStream, "write", answer)
        client.sendall(HEALTH)
        for _ in range(3):
            assert (await read_answer(reader)).status == 200
        monkeypatch.undo()
        writer.close()
    assert changes == []


async def test_requests_that_a_client_sent_before_its_end_are_all_answered(instance: Instance):
    """The end stays readable while the earlier requests are handled."""
    async with connected(instance.port) as (reader, writer):
        writer.write(request("GET /nothing") * 10)
        writer.write_eof()
        for _ in range(10):
            assert (await read_answer(reader)).status == 404


async def test_a_request_has_one_answer(instance: Instance):
    """Its handler refuses it, and then Tornado finds it malformed too."""
    async with connected(instance.port) as (reader, writer):
        writer.write(request("POST /api/v1/auth/login", "Content-Length: x"))
        assert (await read_answer(reader)).status == 400
        assert await reader.read() == b""


# Memory of a body before the caller is known


def resident_bytes(server: ServerProcess) -> int:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found
    return int(found[1]) * KIB


UPGRADE = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: abc")
FORM = ("Content-Type: multipart/form-data; boundary=x",)


@pytest.mark.parametrize(
    ("line", "headers", "size", "status"),
    [("GET /ws", UPGRADE, 16 * MIB, 426), ("POST /api/v1/profile/upload-picture", FORM, 5 * MIB, 401)],
    ids=["an upgrade", "an upload"],
)
async def test_bodies_of_anonymous_requests_take_no_memory(
    servers: ServerUrls, data_dir: Path, line, headers, size, status
):
    connections = 100
    piece = memoryview(b"x" * MIB)
    all_sent = asyncio.Barrier(connections + 1)

    async def upload(port: int) -> RawAnswer:
        async with connected(port) as (reader, writer):
            writer.write(request(line, f"Content-Length: {size}", *headers))
            for _ in range(size // MIB - 1):
                writer.write(piece)
                await writer.drain()
            writer.write(piece[1:])
            await writer.drain()
            await all_sent.wait()
            await all_sent.wait()
            writer.write(b"x")
            return await read_answer(reader)

    with server_process(servers, data_dir, LIMIT_UPLOAD="off") as server:
        await asyncio.gather(*(exchange(server.port, HEALTH) for _ in range(connections)))
        before = resident_bytes(server)
        async with asyncio.TaskGroup() as group:
            uploads = [group.create_task(upload(server.port)) for _ in range(connections)]
            async with asyncio.timeout(ANSWER_SECONDS * 3):
                await all_sent.wait()
            assert resident_bytes(server) - before < 20 * MIB
            await all_sent.wait()
        assert {answer.result().status for answer in uploads} == {status}


# Without file descriptors


def limit_files(server: ServerProcess, free: int) -> None:
    """Let the process open this many more files; the limit is on the highest descriptor, not on their number."""
    highest = max(int(entry.name) for entry in Path(f"/proc/{server.process.pid}/fd").iterdir())
    _, hard = resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (highest + 1 + free, hard))


def cpu_seconds(server: ServerProcess) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")  # user and system time


async def test_without_file_descriptors_it_pauses(servers: ServerUrls, data_dir: Path):
    answered: list[int] = []
    enough = asyncio.Event()

    async def come_late() -> None:
        async with connected(server.port) as (reader, writer):
            writer.write(HEALTH)
            answered.append((await read_answer(reader)).status)
            await enough.wait()

    with server_process(servers, data_dir) as server:
        async with connected(server.port) as (reader, writer), asyncio.TaskGroup() as group:
            writer.write(HEALTH)
            assert (await read_answer(reader)).status == 200
            limit_files(server, 3)
            started, busy = time.monotonic(), cpu_seconds(server)
            for _ in range(100):
                group.create_task(come_late())
            asked = 0
            while time.monotonic() - started < 2.5:  # several pauses; an open connection works meanwhile
                writer.write(HEALTH)
                assert (await read_answer(reader)).status == 200
                asked += 1
                await asyncio.sleep(0.05)
            assert asked >= 3
            assert len(answered) < 100, "no file descriptor was short"
            assert cpu_seconds(server) - busy < 1.5, "accept is called in a busy loop"
            limit_files(server, 200)
            enough.set()
        assert answered == [200] * 100
        server.process.terminate()
        assert server.process.stdout
        log = server.process.stdout.read().decode()
        assert log.count("no new connection can be accepted") == 1, log
        assert len(log) < 10_000, log


def test_a_listener_that_is_closed_during_its_pause():
    listener = PausingListener.of(socket.create_server(("127.0.0.1", 0)))
    listener.close()
    listener.resume()
