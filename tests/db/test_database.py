"""PostgreSQL unreachable or frozen: 503 with Retry-After, sockets stay open, and no restart is needed afterwards."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from unittest.mock import Mock

import pytest
from structlog.testing import capture_logs

from db.packaged.servers import ServerUrls
from db.pool import DatabaseUnavailable
from db.queries.sessions import end_sessions
from realtime.events import Resync
from realtime.gate import DeliveryGate
from server import Instance
from tests.conftest import stop
from tests.drills.proxy import TcpProxy
from tests.helpers.clients import Api, ask_readiness

ANSWER_SECONDS = 3.0  # with the bounds below; 9 s with those of production, less than nginx waits
HEAL_SECONDS = 3.0


@pytest.fixture
def proxy(io_loop, servers) -> Iterator[TcpProxy]:
    proxy = TcpProxy(servers.database_url.partition("host=")[2] + "/.s.PGSQL.5432")
    io_loop.run_sync(proxy.start)
    yield proxy
    proxy.restore()
    io_loop.run_sync(proxy.stop)


@pytest.fixture
def proxied(io_loop, settings, servers, proxy, instance, monkeypatch) -> Iterator[Instance]:
    """Start an instance whose PostgreSQL is behind the proxy, with shorter bounds."""
    monkeypatch.setattr("db.pool.ACQUIRE_SECONDS", 0.5)
    monkeypatch.setattr("db.pool.COMMAND_SECONDS", 0.8)
    proxied = Instance(settings, ServerUrls(f"postgresql://encer@127.0.0.1:{proxy.port}/encer", servers.redis_url))
    io_loop.run_sync(proxied.start)
    yield proxied
    proxy.restore()
    stop(io_loop, proxied)


@pytest.mark.parametrize("fail", [TcpProxy.freeze, TcpProxy.refuse], ids=["frozen", "away"])
async def test_postgresql_fails(proxied, proxy, other_api, people, fail):
    api = Api(proxied)
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    here = await api.socket(hanako)
    await here.join(conversation_id)
    fail(proxy)
    began = time.monotonic()
    sent = [api.post(path, {"content": "lost?", "clientMessageId": f"c{n}"}, hanako) for n in range(15)]
    answers, ready = await asyncio.gather(asyncio.gather(*sent), ask_readiness(api))
    assert time.monotonic() - began < ANSWER_SECONDS
    for answer in answers:
        assert (answer.status, answer.code, answer.headers["Retry-After"]) == (503, "NOT_READY", "2")
    assert ready == (503, "not_ready")
    refused = await here.ask("send_message", {"conversationId": conversation_id, "content": "lost?"})
    assert refused["data"]["code"] == "NOT_READY"
    assert await here.received_names() == ["error"]  # the socket is still open
    # The message of the other instance is delivered when PostgreSQL is reachable again.
    await other_api.post(path, {"content": "meanwhile"}, sakura)
    proxy.restore()
    healed = time.monotonic()
    for n in range(15):
        while (answer := await api.post(path, {"content": "again", "clientMessageId": f"c{n}"}, hanako)).status == 503:
            assert time.monotonic() - healed < HEAL_SECONDS
    assert answer.status in (200, 201)
    assert (await here.expect("message_sent"))["content"] == "meanwhile"
    assert await ask_readiness(api) == (200, "ok")


@pytest.mark.parametrize("fail", [TcpProxy.freeze, TcpProxy.refuse], ids=["frozen", "away"])
async def test_an_outage_of_any_length_is_two_log_lines(proxied, proxy, people, fail, monkeypatch):
    monkeypatch.setattr("db.pool.CONNECT_SECONDS", 0.2)
    monkeypatch.setattr("db.pool.WATCH_SECONDS", 0.05)
    api, hanako, looks = Api(proxied), await people.influencer(), [0]
    look = proxied.db._try_to_write

    async def counting():
        looks[0] += 1
        return await look()

    monkeypatch.setattr(proxied.db, "_try_to_write", counting)
    with capture_logs() as logs:
        fail(proxy)
        async with asyncio.timeout(30):
            while looks[0] < 3:
                await api.get("/notifications", hanako)
        proxy.restore()
        async with asyncio.timeout(30):
            while proxied.db.is_unavailable:
                await api.get("/notifications", hanako)
    gone, back = [entry for entry in logs if entry["event"] != "request"]
    assert (gone["log_level"], back["log_level"]) == ("warning", "info")
    assert (gone["event"], back["event"]) == ("PostgreSQL is not available", "PostgreSQL is available again")
    assert gone["reason"] and back["seconds"] > 0


async def test_a_busy_pool_is_no_outage(proxied, db):
    """PostgreSQL works, but all connections of this instance are in use."""
    async with AsyncExitStack() as taken:
        for _ in range(proxied.settings.database_pool_size):
            await taken.enter_async_context(proxied.db.connection())
        with capture_logs() as logs:
            with pytest.raises(DatabaseUnavailable):
                await proxied.db.fetchval("select 1")
            async with asyncio.timeout(10):
                while proxied.db.failed.is_set():
                    await asyncio.sleep(0.01)
            assert await proxied.db._try_to_write() is None
    assert [entry for entry in logs if entry["log_level"] != "info"] == []


async def test_the_pool_recovers_after_its_connections_are_cut(proxied, proxy, people, monkeypatch):
    monkeypatch.setattr("db.pool.ACQUIRE_SECONDS", 30.0)  # a busy machine may need longer for 30 requests at once
    api = Api(proxied)
    hanako = await people.influencer()
    for _ in range(3):
        await asyncio.gather(*(api.get("/notifications", hanako) for _ in range(20)))  # fills the pool
        proxy.cut()
        healed = time.monotonic()
        while (await api.get("/notifications", hanako)).status != 200:
            assert time.monotonic() - healed < HEAL_SECONDS
    statuses = {
        answer.status for answer in await asyncio.gather(*(api.get("/notifications", hanako) for _ in range(30)))
    }
    assert statuses == {200}


async def test_a_user_suspended_during_an_outage_receives_nothing(proxied, instance, proxy, api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    there, watching = await Api(proxied).socket(sakura), await Api(proxied).socket(hanako)
    for socket in (there, watching):
        await socket.join(conversation_id)
    proxy.freeze()
    await end_sessions(db, sakura.id, "SUSPENDED")
    async with asyncio.timeout(5):
        while proxied.sessions.fresh:
            await asyncio.sleep(0.01)
    # Her commands fail, also those that need no database.
    typed = await there.ask("typing_start", {"conversationId": conversation_id})
    assert typed["data"]["code"] == "NOT_READY"
    received = proxied.realtime.receiver.received
    count_before = received.get(instance.realtime.instance_id, 0)
    await api.post(f"/chat/conversations/{conversation_id}/messages", {"content": "not for her"}, hanako)
    async with asyncio.timeout(5):
        while received.get(instance.realtime.instance_id, 0) < count_before + 2:  # for the message and the notification
            await asyncio.sleep(0.01)
    assert "message_sent" not in await there.received_names()
    proxy.restore()
    assert (await watching.expect("message_sent"))["content"] == "not for her"
    assert await there.close_code() == 4403
    assert {"message_sent", "notification_received"}.isdisjoint(event["event"] for event in there.events)


async def test_an_idle_instance_checks_no_sessions_until_it_is_used(people, db, settings, servers, monkeypatch):
    monkeypatch.setattr("db.queries.sessions.IDLE_SECONDS", 0.05)
    idle = Instance(settings, servers)  # its own: the shared instances may have sockets of other tests
    await idle.start()
    try:
        sakura, sessions, api = await people.salon(), idle.sessions, Api(idle)
        assert (await api.get("/notifications", sakura)).status == 200
        async with asyncio.timeout(60):
            while not sessions.paused:
                await asyncio.sleep(0.01)
        await end_sessions(db, sakura.id, "SUSPENDED")
        assert (await api.get("/notifications", sakura)).status == 401
        hanako = await people.influencer()
        socket = await api.socket(hanako)
        async with asyncio.timeout(60):
            while not sessions.fresh:
                await asyncio.sleep(0.01)
        await end_sessions(db, hanako.id, "SUSPENDED")
        assert await socket.close_code() == 4403
    finally:
        await idle.stop()


def test_held_events_keep_their_order_and_have_a_bound(monkeypatch):
    monkeypatch.setattr("realtime.gate.HELD_BYTES", 120)
    delivered: list[str] = []
    hub = Mock(deliver=lambda channel, event: delivered.append(event.reason), resync=delivered.append)
    sessions = Mock(fresh=False)
    gate = DeliveryGate(sessions, hub)
    gate.deliver("c", Resync("redis"))
    sessions.fresh = True
    gate.deliver("c", Resync("version"))  # behind the held event
    assert delivered == []
    gate.open()
    gate.deliver("c", Resync("behind"))
    assert delivered == ["redis", "version", "behind"]
    sessions.fresh = False
    for _ in range(10):
        gate.deliver("c", Resync("notifications"))
        assert gate.held_bytes <= 120
    delivered.clear()
    gate.open()
    assert delivered[-1] == "overflow" and len(delivered) <= 3
