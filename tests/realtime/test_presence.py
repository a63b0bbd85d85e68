"""Presence over two instances, also if one dies; only connected users receive it."""

import asyncio
from itertools import groupby

import pytest
from structlog.testing import capture_logs

from db import tasks
from realtime.events import NotificationRead
from realtime.presence.index import ONE_SERVER
from realtime.presence.partition import PresencePartition
from server import Instance
from tests.helpers.clients import SocketClient
from tests.helpers.programs import long_test

(PREFIX,) = ONE_SERVER
HEARTBEATS = PREFIX + "heartbeats"


@pytest.fixture(autouse=True)
def short_times(io_loop, instance, other_instance, monkeypatch) -> None:
    """Shorten all presence intervals, and register both instances in the emptied Redis."""
    monkeypatch.setattr("realtime.presence.partition.GRACE_SECONDS", 0.3)
    for module in ("partition", "index"):
        monkeypatch.setattr(f"realtime.presence.{module}.DEAD_SECONDS", 1)
    monkeypatch.setattr("realtime.presence.partition.HEARTBEAT_SECONDS", 0.1)

    async def settle() -> None:
        for presence in (instance.realtime.presence, other_instance.realtime.presence):
            await presence.stop()  # otherwise it still sleeps for the old interval
            presence.start()
        for presence in (instance.realtime.presence, other_instance.realtime.presence):
            async with asyncio.timeout(5):
                while not presence.settled:
                    await asyncio.sleep(0.02)

    io_loop.run_sync(settle)


def partition_of(instance: Instance) -> PresencePartition:
    """Return the only partition, as on every Redis that is no cluster."""
    (partition,) = instance.realtime.presence.partitions.values()
    return partition


async def names(socket: SocketClient) -> list[tuple[str, str]]:
    await socket.received_names()
    return [(e["event"], e["data"]["userId"]) for e in socket.events if e["event"] in ("user_online", "user_offline")]


async def changes(socket: SocketClient) -> list[tuple[str, str]]:
    """Drop repetitions: the initial list and the announcement may both report one arrival."""
    return [change for change, _ in groupby(await names(socket))]


async def test_arrivals_and_departures_are_announced_to_connected_users_alone(api, other_api, people, db):
    hanako, sakura, outsider = await people.influencer(), await people.salon(), await people.influencer("Outsider")
    await people.connect(hanako, sakura)
    watching, outside = await api.socket(hanako), await api.socket(outsider)
    coming = await other_api.socket(sakura)
    assert (await watching.expect("user_online"))["userId"] == sakura.id
    # A new socket receives the users who are online already.
    assert (await coming.expect("user_online"))["userId"] == hanako.id
    second = await api.socket(sakura)
    assert await changes(watching) == [("user_online", sakura.id)]
    await coming.close()
    await second.close()
    gone = await watching.expect("user_offline")
    assert gone["userId"] == sakura.id
    assert gone["lastSeenAt"] == await db.fetchval("select iso(last_seen_at) from users where id = $1", sakura.id)
    assert await changes(watching) == [("user_online", sakura.id), ("user_offline", sakura.id)]
    assert await changes(outside) == []


async def test_a_reload_and_a_change_of_instance_are_no_departure(api, other_api, people):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    watching, here = await api.socket(hanako), await api.socket(sakura)
    await watching.expect("user_online")
    await here.close()
    here = await api.socket(sakura)
    there = await other_api.socket(sakura)
    await here.close()
    await asyncio.sleep(0)
    await there.close()
    await watching.expect("user_offline")
    assert await names(watching) == [("user_online", sakura.id), ("user_offline", sakura.id)]


async def test_live_instances_remove_the_users_of_a_dead_one(instance, api, people, settings, servers):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    watching = await api.socket(hanako)
    dying = Instance(settings, servers)
    await dying.start()
    here = await type(api)(dying).socket(sakura)
    await watching.expect("user_online")
    await dying.realtime.presence.stop()  # as a killed process: it sends no heartbeat and withdraws nothing
    assert (await watching.expect("user_offline"))["userId"] == sakura.id
    redis, dead = instance.redis, dying.realtime.instance_id
    assert await redis.zscore(HEARTBEATS, dead) is None
    assert not await redis.exists(PREFIX + "of:" + dead)
    assert not await redis.exists(PREFIX + "user:" + sakura.id)
    # It was only frozen: it detects this, and its users are online again.
    dying.realtime.presence.start()
    assert (await watching.expect("user_online"))["userId"] == sakura.id
    await here.close()
    await dying.stop()


@long_test()
async def test_only_a_death_is_logged_as_one(instance, other_instance, api, people, settings, servers):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    watching = await api.socket(hanako)

    async def end_one(orderly: bool) -> list[str]:
        """End an instance. Return the deaths that are logged until its users are removed."""
        ending = Instance(settings, servers)
        await ending.start()
        await type(api)(ending).socket(sakura)
        await watching.expect("user_online")
        instance_id = ending.realtime.instance_id
        with capture_logs() as logs:
            if orderly:
                await ending.stop()
            else:
                await tasks.end(*partition_of(ending).running)  # as a killed process: its heartbeats end
            await watching.expect("user_offline")
            async with asyncio.timeout(10):
                while await instance.redis.zscore(HEARTBEATS, instance_id) is not None:  # its users are removed
                    await asyncio.sleep(0.02)
        if not orderly:
            await ending.stop()
        assert not await instance.redis.exists(PREFIX + "left:" + instance_id)  # nothing is left behind
        return [entry["instance"] for entry in logs if entry["event"] == "an instance has died"]

    assert await end_one(orderly=True) == []
    assert len(await end_one(orderly=False)) == 1
    assert await end_one(orderly=True) == []


async def test_an_instance_that_was_restarted_can_die(instance, other_instance, api, people, settings, servers):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    watching, returned = await api.socket(hanako), Instance(settings, servers)
    await returned.start()
    await type(api)(returned).socket(sakura)
    await watching.expect("user_online")
    partition = partition_of(returned)
    await partition.stop()
    await partition.heartbeat()
    with capture_logs() as logs:
        await watching.expect("user_offline")
    assert [entry["instance"] for entry in logs if entry["event"] == "an instance has died"] == [
        returned.realtime.instance_id
    ]
    await returned.stop()


async def test_a_redis_that_loses_its_data_causes_no_announcement(instance, other_instance, api, other_api, people):
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    watching, there = await api.socket(hanako), await other_api.socket(sakura)
    await watching.expect("user_online")
    here, other = partition_of(instance), partition_of(other_instance)
    async with asyncio.timeout(5):  # the initial list and the announcement may both report one arrival
        while here.awaiting_online_users or other.dirty or other.pending_online:
            await asyncio.sleep(0.02)
    other_instance.realtime.publisher.publish(
        NotificationRead(hanako.id, None, 0)
    )  # arrives after everything that this instance published before
    await watching.expect("notification_read")
    announced = await names(watching)
    await instance.redis.flushdb()
    async with asyncio.timeout(5):
        while await instance.redis.zcard(HEARTBEATS) < 2:
            await asyncio.sleep(0.02)
        while await here.index.find_online([hanako.id, sakura.id]) != {hanako.id, sakura.id}:
            await asyncio.sleep(0.02)
    assert await names(watching) == announced
    await there.close()
    await watching.expect("user_offline")


async def test_thirty_sockets_a_user_over_all_instances(api, other_api, people):
    hanako = await people.influencer()
    sockets = [await (api, other_api)[n % 2].socket(hanako) for n in range(31)]
    assert await sockets[30].close_code() == 4429
    assert await sockets[29].received_names() == []


async def test_instances_of_the_previous_release_run_beside_newer_ones(instance, other_instance, api, people):
    """They keep only `instances` and `of:INSTANCE`, and read those of all instances."""
    hanako, sakura = await people.influencer(), await people.salon()
    await people.connect(hanako, sakura)
    redis, older = instance.redis, "older"
    seconds, _ = await redis.time()
    await redis.hset(PREFIX + "of:" + older, sakura.id, 1)
    await redis.zadd(PREFIX + "instances", {older: seconds + 3600})  # its heartbeats
    watching = await api.socket(hanako)
    assert (await watching.expect("user_online"))["userId"] == sakura.id
    # The older one finds the user of the newer one, and never a newer one to remove.
    newer = {realtime.instance_id for realtime in (instance.realtime, other_instance.realtime)}
    found = await redis.zrange(PREFIX + "instances", 0, -1, withscores=True)
    assert {name.decode() for name, score in found if score == float("inf")} == newer
    assert [await redis.hget(f"{PREFIX}of:{name.decode()}", hanako.id) for name, _ in found].count(b"1") == 1
    # A user who changes from the older instance to a newer one has not arrived, and stays when the older one dies.
    moved = await api.socket(sakura)
    await moved.expect("user_online")
    await redis.zadd(PREFIX + "instances", {older: 1})
    async with asyncio.timeout(10):
        while await redis.zscore(PREFIX + "instances", older) is not None:
            await asyncio.sleep(0.02)
    await moved.close()
    await watching.expect("user_offline")
    assert await names(watching) == [("user_online", sakura.id), ("user_offline", sakura.id)]
