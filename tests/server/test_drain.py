"""Stopping an instance: running requests end, waiting ones are served, and sockets are asked to reconnect."""

import asyncio
import contextlib
import json
import os
import socket as sockets
import time
from unittest.mock import Mock

import pytest
import websockets
from tornado.httpclient import AsyncHTTPClient

import services.draining
from handlers.health import ShowLiveness
from server import Instance
from tests.helpers.clients import Api, SocketClient


@pytest.fixture
def draining(io_loop, settings, servers, instance) -> Instance:
    draining = Instance(settings, servers)
    io_loop.run_sync(draining.start)
    return draining


@pytest.fixture
def gate(monkeypatch) -> asyncio.Event:
    """Return an event: requests to `/health/live` wait until the test sets it."""
    gate = asyncio.Event()
    ready = ShowLiveness.get

    async def wait(self: ShowLiveness) -> None:
        await gate.wait()
        await ready(self)

    wait.endpoint = ready.endpoint  # type: ignore[attr-defined]
    monkeypatch.setattr(ShowLiveness, "get", wait)
    return gate


async def wait_until(condition) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.01)


async def test_a_drain_in_its_order(draining, api, people, gate):
    going = Api(draining)
    hanako = await people.influencer()
    socket = await going.socket(hanako)
    running = asyncio.ensure_future(going.http.fetch(f"{going.base}/health/live"))
    await wait_until(lambda: len(draining.app.running) == 1)
    stopping = asyncio.create_task(draining.stop(notice=0.3))
    await wait_until(lambda: draining.app.draining)
    ready = await going.http.fetch(f"{going.base}/health/ready", raise_error=False)
    assert (ready.code, json.loads(ready.body)["status"]) == (503, "draining")
    assert ready.headers["Connection"] == "close"
    received = await socket.expect("going_away")
    assert 500 <= received["reconnectAfterMs"] <= 5_000
    await wait_until(lambda: draining.http._stopped)
    with pytest.raises(OSError):
        await SocketClient.open(going, {"Authorization": f"Bearer {hanako.token}"})
    assert not running.done()
    assert (await socket.ask("ping"))["event"] == "pong"  # open until running requests have ended
    gate.set()
    assert (await running).code == 200
    assert await socket.close_code() == 1001
    await stopping
    assert (await api.get("/health/live")).status == 200


async def test_a_new_socket_is_sent_to_the_next_instance(draining, people):
    """After a 503 nginx tries the next instance; a close code would reach the client."""
    going = Api(draining)
    hanako = await people.influencer()
    draining.realtime.sockets.announce_drain()
    with pytest.raises(websockets.InvalidStatus) as refused:
        await SocketClient.open(going, {"Authorization": f"Bearer {hanako.token}"})
    assert refused.value.response.status_code == 503
    assert json.loads(refused.value.response.body)["code"] == "NOT_READY"
    await draining.stop()


async def test_connections_that_wait_to_be_accepted_are_served(draining, monkeypatch):
    """Closing the listening socket would reset them with their requests, also if the loop reads them late."""
    monkeypatch.setattr("services.draining.UNREAD_SECONDS", 0)
    waiting = [
        sockets.create_connection(("127.0.0.1", draining.port)) for _ in range(50)
    ]  # the event loop does not run here
    for sock in waiting:
        sock.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    await draining.stop()
    for sock in waiting:
        sock.settimeout(1)
        assert sock.recv(100).startswith(b"HTTP/1.1 200")
        sock.close()


async def test_a_connection_in_use_is_not_cut_but_closed_after_its_answer(draining):
    reader, writer = await asyncio.open_connection("127.0.0.1", draining.port)
    ask = b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n"
    writer.write(ask)
    assert b"Connection: close" not in await reader.readuntil(b"}")
    stopping = asyncio.create_task(draining.stop(notice=0.1, proxy_idle=2.0))
    await wait_until(lambda: draining.http._stopped)
    writer.write(ask)  # a proxy with an open connection
    answer = await reader.read()  # the server closes it
    assert answer.startswith(b"HTTP/1.1 200") and b"Connection: close" in answer
    writer.close()
    began = time.monotonic()
    await stopping
    assert time.monotonic() - began < 1.5  # no other client is connected


async def test_a_request_that_never_ends_is_cut_off_at_the_deadline(draining, gate, monkeypatch):
    monkeypatch.setattr("server.REQUESTS_SECONDS", 0.3)
    http = AsyncHTTPClient(force_instance=True)
    running = asyncio.ensure_future(http.fetch(f"http://127.0.0.1:{draining.port}/health/live", raise_error=False))
    await wait_until(lambda: len(draining.app.running) == 1)
    began = time.monotonic()
    await draining.stop()
    assert time.monotonic() - began < 3
    with contextlib.suppress(Exception):
        assert (await running).code == 599
    assert running.done()


async def test_new_connections_are_ignored_until_the_socket_is_closed():
    with sockets.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        ignored = services.draining.drop_new_connections(listening)
        assert ignored or os.geteuid() != 0  # some kernels allow this filter only to root
        with pytest.raises(TimeoutError) if ignored else contextlib.nullcontext():
            sockets.create_connection(listening.getsockname(), timeout=0.2).close()


async def test_an_instance_stops_where_the_kernel_does_not_drop_new_connections(draining, monkeypatch):
    monkeypatch.setattr(services.draining, "SO_ATTACH_FILTER", 0x7FFF)  # no such option
    waiting = sockets.create_connection(("127.0.0.1", draining.port))
    waiting.sendall(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
    await draining.stop()
    waiting.settimeout(1)
    assert waiting.recv(100).startswith(b"HTTP/1.1 200")
    waiting.close()


async def test_more_sockets_reconnect_over_a_longer_time(draining, monkeypatch):
    received: list[int] = []
    sockets = [
        Mock(send=lambda frame: received.append(json.loads(frame)["data"]["reconnectAfterMs"])) for _ in range(8_000)
    ]
    monkeypatch.setattr(draining.realtime.sockets, "clients", set(sockets))
    draining.realtime.sockets.announce_drain()
    draining.realtime.sockets.clients.clear()
    assert min(received) >= 500
    assert 10_000 < max(received) <= 8_000 / 0.7
    await draining.stop()
