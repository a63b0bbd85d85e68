"""Slow and hostile sockets affect no other socket."""

import asyncio
import gc
import json
import os
import socket as sockets
import time
import uuid
from typing import Any

import pytest
import websockets

from db.queries.conversations import NewMessage, send_message
from realtime.sockets import send_queue
from tests.helpers.clients import SocketClient

IDLE_SOCKETS = 300  # 10,000 in bench/scale/sockets.py
IDLE_BYTES = 40_000  # per socket, with reserve: both ends are in this process


async def join_raw(api, person, conversation_id: str) -> tuple[SocketClient, int]:
    """Open a socket with a small receive buffer and join, so that the server's queue fills soon."""
    raw = sockets.socket()
    raw.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
    raw.setblocking(False)
    await asyncio.get_running_loop().sock_connect(raw, ("127.0.0.1", api.instance.port))
    client = await SocketClient.open(api, {"Authorization": f"Bearer {person.token}"}, sock=raw, max_queue=1)
    await client.expect("ready")
    await client.join(conversation_id)
    return client, raw.fileno()


async def test_a_reader_that_stops_is_closed_without_effect_on_others(instance, api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    stalled, _ = await join_raw(api, sakura, conversation_id)
    theirs = next(s for s in instance.realtime.sockets if s.user_id == sakura.id)
    watching = await api.socket(hanako)
    await watching.join(conversation_id)
    stalled.ws.transport.pause_reading()
    most, delays, ended = 0, [], False
    for number in range(2_000):
        began = time.monotonic()
        await api.post(
            f"/chat/conversations/{conversation_id}/messages", {"content": f"{number} " + "長" * 4_900}, hanako
        )
        await watching.expect("message_sent")
        delays.append(time.monotonic() - began)
        watching.events.clear()
        watching.taken = 0
        stream = theirs.transport.ws_connection.stream if theirs.transport.ws_connection else None
        held = theirs.queue.bytes + (len(stream._write_buffer) if stream else 0)
        most = max(most, held)
        if theirs.closed:
            ended = True
            break
    assert ended, "it was never closed"
    assert 512 * 1024 < most <= 1024 * 1024
    assert sorted(delays)[len(delays) * 9 // 10] < 0.5
    stalled.ws.transport.resume_reading()
    assert await stalled.close_code() == 4508
    # The client reconnects and receives everything while it reads: more than 2 MB.
    back = await api.socket(sakura)
    ack = await back.join(conversation_id, after=0)
    assert (ack["complete"], ack["replayed"]) == (True, len(delays))
    assert [e["data"]["seq"] for e in back.events if e["event"] == "message_sent"] == list(range(1, len(delays) + 1))


async def test_a_long_replay_is_no_faster_than_the_client_reads(instance, api, people, db):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    for number in range(400):
        await send_message(db, conversation_id, hanako.id, NewMessage(content=f"{number} " + "長" * 4_900))
    client = await SocketClient.open(api, {"Authorization": f"Bearer {sakura.token}"}, max_queue=1)
    await client.expect("ready")
    theirs = next(s for s in instance.realtime.sockets if s.user_id == sakura.id)
    client.ws.transport.pause_reading()
    await client.send("join_conversation", {"conversationId": conversation_id, "after": 0}, id=77)
    async with asyncio.timeout(10):
        while not theirs.queue.bytes:
            await asyncio.sleep(0.01)
    await api.post(f"/chat/conversations/{conversation_id}/messages", {"content": "meanwhile"}, hanako)
    assert theirs.queue.bytes <= send_queue.MAX_BYTES and not theirs.closed
    client.ws.transport.resume_reading()
    while not any(event.get("id") == 77 for event in client.events):
        await client.receive()
    replayed = [event["data"]["seq"] for event in client.events if event["event"] == "message_sent"]
    assert replayed == list(range(1, 402))
    assert not theirs.closed


async def test_a_closed_socket_has_no_more_effect(instance, api, people, db):
    """This includes a socket that delays its close because the client does not read."""
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    client, _ = await join_raw(api, hanako, conversation_id)
    theirs = next(s for s in instance.realtime.sockets if s.user_id == hanako.id)
    client.ws.transport.pause_reading()
    path = f"/chat/conversations/{conversation_id}/messages"
    async with asyncio.timeout(30):
        while theirs.queue.bytes < 100_000:  # the kernel buffers some megabytes first
            await api.post(path, {"content": "長" * 4_900}, sakura)
    await db.execute("update sessions set ended_at = now(), end_reason = 'LOGGED_OUT' where id = $1", hanako.session_id)
    await instance.sessions.check_now()
    assert theirs.closed
    data = {"conversationId": conversation_id, "content": "still here"}
    await client.ws.send(json.dumps({"event": "send_message", "data": data, "id": 1}))
    client.ws.transport.resume_reading()
    assert await client.close_code() == 4403
    assert await db.fetchval("select count(*) from messages where sender_id = $1", hanako.id) == 0


async def test_an_open_socket_keeps_no_headers(instance, api, people):
    sakura = await people.salon()
    await api.socket(sakura)
    theirs: Any = next(s for s in instance.realtime.sockets if s.user_id == sakura.id)
    assert [*theirs.transport.request.headers, *theirs.transport._headers] == []
    assert theirs.transport.request.connection._request_headers is theirs.transport.request.headers


async def test_a_hundred_refused_joins_leave_nothing_in_memory(instance, api, people):
    hanako, sakura, outsider = await people.influencer(), await people.salon(), await people.influencer("Outsider")
    conversation_id = await people.connect(hanako, sakura)
    there = await api.socket(hanako)
    await there.join(conversation_id)
    client = await api.socket(outsider)
    feeds, wanted = len(instance.realtime.hub.conversations), len(instance.realtime.relay.bus.subscriber.subscriptions)
    asked = [conversation_id if n % 2 else str(uuid.uuid4()) for n in range(100)]
    for id in asked:
        answer = await client.ask("join_conversation", {"conversationId": id, "after": 0})
        assert answer["data"]["code"] == "NOT_FOUND"
    assert len(instance.realtime.hub.conversations) == feeds
    assert len(instance.realtime.relay.bus.subscriber.subscriptions) == wanted
    path = f"/chat/conversations/{conversation_id}/messages"
    await api.post(path, {"content": "secret"}, sakura)
    await there.expect("message_sent")
    assert await client.received_names() == ["error"] * 100


@pytest.mark.parametrize("payload", [b"\x00" * 70_000, "x" * 70_000], ids=["binary", "text"])
async def test_oversized_frames(api, people, payload):
    client = await api.socket(await people.influencer())
    await client.ws.send(payload)
    assert await client.close_code() == 1009


async def test_a_flood_of_pings_costs_no_memory(api, people):
    """Pongs that the client does not read must not collect in memory."""
    hanako = await people.influencer()
    client = await api.socket(hanako)
    theirs = next(s for s in api.instance.realtime.sockets if s.user_id == hanako.id)
    client.ws.transport.pause_reading()
    stream = theirs.transport.ws_connection.stream
    for _ in range(20):
        for _ in range(500):
            client.ws.transport.write(b"\x89\xfd" + os.urandom(4) + b"p" * 125)
        await asyncio.sleep(0)
    client.ws.transport.resume_reading()
    assert await client.received_names() == []
    assert len(stream._write_buffer) < 64 * 1024


async def test_idle_sockets_are_cheap(api, people):
    hanako = [await people.influencer(f"Idle {n}") for n in range(IDLE_SOCKETS // 10)]
    gc.collect()
    before = resident_bytes()
    opened: list[websockets.ClientConnection] = []
    for person in hanako:
        for _ in range(10):
            opened.append((await api.socket(person)).ws)
    gc.collect()
    assert (resident_bytes() - before) / len(opened) < IDLE_BYTES * 2
    await asyncio.gather(*(ws.close() for ws in opened))


def resident_bytes() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
