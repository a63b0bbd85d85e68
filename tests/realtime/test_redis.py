"""Redis down or frozen: no request waits for it, none fails, and instances reconnect to it."""

import asyncio
import time
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from db.packaged.servers import ServerUrls
from realtime.redis.node import SingleServer
from realtime.redis.subscriber import RedisSubscriber
from server import Instance
from settings import Limit, Settings
from tests.conftest import stop
from tests.drills.proxy import TcpProxy
from tests.helpers.clients import Api
from tests.helpers.programs import long_test

SEND_SECONDS = 0.5  # no send may take longer because of Redis
CONVERGE_SECONDS = 2.0


@pytest.fixture
def proxy(io_loop, servers) -> Iterator[TcpProxy]:
    address = servers.redis_url.rpartition("@")[2].partition("/")[0]
    proxy = TcpProxy(("127.0.0.1", int(address.rpartition(":")[2])))
    io_loop.run_sync(proxy.start)
    yield proxy
    proxy.restore()
    io_loop.run_sync(proxy.stop)


@pytest.fixture
def proxied(io_loop, settings, servers, proxy, instance) -> Iterator[Instance]:
    """Start an instance that reaches Redis through the proxy, with limits, which use Redis in every request."""
    credentials = servers.redis_url.rpartition("@")[0]
    urls = ServerUrls(servers.database_url, f"{credentials}@127.0.0.1:{proxy.port}/0")
    update = {
        "limit_general": Limit(10_000, 900),
        "limit_message": Limit(10_000, 60, 10_000),
        "redis_timeout": Settings.model_fields["redis_timeout"].default,
    }
    proxied = Instance(settings.model_copy(update=update), urls)
    io_loop.run_sync(proxied.start)
    yield proxied
    proxy.restore()
    stop(io_loop, proxied)


async def ready_says(api: Api, status: str) -> None:
    async with asyncio.timeout(5):
        while (answer := await api.get("/health/ready")).body["status"] != status:
            assert answer.status == 200
            await asyncio.sleep(0.02)


async def test_a_connection_that_the_kernel_has_given_up_ends(instance):
    class LostConnection:
        async def read_response(self, **_: object) -> None:
            """redis-py returns None at once if reading raises ETIMEDOUT."""

    lost: Any = LostConnection
    subscriber = RedisSubscriber(lost, SingleServer(), False, "server")
    with pytest.raises(TimeoutError, match="silent"):
        await subscriber._read(lost(), instance.realtime.receiver)


async def test_a_failed_writer_replaces_the_connection(instance, monkeypatch):
    subscriber = instance.realtime.relay.bus.subscriber
    request, failures = subscriber._request, [ConnectionError("once")]

    async def fail_once(*arguments: Any) -> None:
        if failures:
            raise failures.pop()
        await request(*arguments)

    monkeypatch.setattr(subscriber, "_request", fail_once)
    confirmed = subscriber.subscribe("user:of a test")
    async with asyncio.timeout(5):
        await confirmed.wait()


@pytest.mark.parametrize("fail", [TcpProxy.freeze, TcpProxy.refuse], ids=["frozen", "away"])
async def test_redis_fails(proxied, proxy, other_api, people, fail):
    api = Api(proxied)
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    path = f"/chat/conversations/{conversation_id}/messages"
    here, also_here, there = await api.socket(hanako), await api.socket(sakura), await other_api.socket(sakura)
    for socket in (here, also_here, there):
        await socket.join(conversation_id)
    await ready_says(api, "ok")
    fail(proxy)
    for number in range(8):
        began = time.monotonic()
        if number % 2:
            await api.post(path, {"content": str(number)}, hanako)
        else:
            await here.ask("send_message", {"conversationId": conversation_id, "content": str(number)})
        assert time.monotonic() - began < SEND_SECONDS
        assert (await also_here.expect("message_sent"))["content"] == str(number)  # at once, without Redis
    joined = time.monotonic()
    await (await api.socket(sakura)).join(conversation_id)
    assert time.monotonic() - joined < 2 * SEND_SECONDS
    await ready_says(api, "degraded")
    # The other instance has read from the database what Redis did not deliver.
    assert [(await there.expect("message_sent"))["content"] for _ in range(8)] == [str(n) for n in range(8)]
    proxy.restore()
    healed = time.monotonic()
    await api.post(path, {"content": "from here"}, hanako)
    await other_api.post(path, {"content": "from there"}, sakura)
    assert [(await here.expect("message_sent"))["content"] for _ in range(10)][8:] == ["from here", "from there"]
    assert [(await there.expect("message_sent"))["content"] for _ in range(2)] == ["from here", "from there"]
    assert time.monotonic() - healed < CONVERGE_SECONDS
    await ready_says(api, "ok")
    assert time.monotonic() - healed < CONVERGE_SECONDS
    assert (await there.received_names()).count("message_sent") == 10
    async with asyncio.timeout(CONVERGE_SECONDS):
        # A frozen Redis delivers the events later.
        while fail is TcpProxy.refuse and "resync" not in await here.received_names():
            pass


async def test_an_overflow_of_the_queue_to_redis_makes_the_others_catch_up(
    proxied, proxy, other_api, people, monkeypatch
):
    monkeypatch.setattr("realtime.redis.publisher.QUEUE_BYTES", 20_000)
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    there = await other_api.socket(sakura)
    await there.join(conversation_id)
    proxy.refuse()
    api = Api(proxied)
    for number in range(12):
        body = {"content": f"{number} " + "long " * 500}
        assert (await api.post(f"/chat/conversations/{conversation_id}/messages", body, hanako)).status == 201
    proxy.restore()
    await there.expect("resync")
    async with asyncio.timeout(5):
        while (await there.received_names()).count("message_sent") < 12:
            pass
    assert (await there.received_names()).count("message_sent") == 12


@pytest.mark.parametrize(
    "fail", [pytest.param(TcpProxy.freeze, marks=long_test()), TcpProxy.refuse], ids=["frozen", "away"]
)
async def test_an_outage_is_two_log_lines_however_long_it_is(proxied, proxy, people, fail, monkeypatch):
    monkeypatch.setattr("services.security.rate_limit.REST_SECONDS", 0.1)
    api, hanako = Api(proxied), await people.influencer()
    await ready_says(api, "ok")
    subscriber = proxied.realtime.relay.bus.subscriber
    tries, connect = [0], subscriber.make_connection

    def counting():
        tries[0] += 1
        return connect()

    subscriber.make_connection = counting
    with capture_logs() as logs:
        fail(proxy)
        async with asyncio.timeout(20):
            while tries[0] < 3:  # each of which fails
                await api.get("/notifications", hanako)
        proxy.restore()
        outages = (subscriber.outage, proxied.services.rate_limits.outage)
        async with asyncio.timeout(20):
            while any(outage.since is not None for outage in outages):
                await api.get("/notifications", hanako)
    lines = [entry for entry in logs if entry["event"] != "request"]
    assert sorted((entry["log_level"], entry["event"]) for entry in lines) == [
        ("info", "Redis answers again"),
        ("info", "rate limits count over all instances again"),
        ("warning", "Redis does not answer"),
        ("warning", "rate limits count on this instance alone"),
    ]
    for entry in lines:
        assert entry.get("seconds", 1) > 0
        assert "seconds" in entry or entry["reason"]
