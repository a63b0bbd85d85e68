"""One socket: sign-in, valid and invalid frames, and every way in which it closes."""

import asyncio
import json
import time

import pytest
import websockets
from tornado.platform.asyncio import BaseAsyncIOLoop

from db.pool import DatabaseUnavailable
from db.queries.sessions import end_sessions
from realtime.sockets.socket import TORNADO_SETTINGS
from settings import Limit
from tests.helpers.clients import SocketClient
from tests.helpers.factories import Person
from tests.helpers.tokens import forge


@pytest.fixture
def hanako(io_loop, people) -> Person:
    return io_loop.run_sync(people.influencer)


async def test_three_ways_to_sign_in(api, hanako):
    by_header = await api.socket(hanako)
    assert by_header.ready["userId"] == hanako.id
    assert by_header.ready["heartbeatMs"] == 25_000
    by_protocol = await SocketClient.open(api, subprotocols=["encer.v1", f"bearer.{hanako.token}"])
    assert (await by_protocol.expect("ready"))["sessionId"] == hanako.session_id
    assert by_protocol.ws.subprotocol == "encer.v1"
    by_frame = await SocketClient.open(api)
    answer = await by_frame.ask("authenticate", {"token": hanako.token})
    assert answer["data"]["userId"] == hanako.id
    assert answer["data"]["expiresAt"].endswith("Z")


async def test_no_sign_in_in_time(api, monkeypatch):
    monkeypatch.setattr("realtime.sockets.socket.SIGN_IN_SECONDS", 0.05)
    assert await (await SocketClient.open(api)).close_code() == 4408


@pytest.mark.parametrize("changes", [{"secret": "x" * 32}, {"typ": "refresh"}, {"exp": 1}, {"sid": "nonsense"}])
async def test_invalid_tokens_are_refused_after_the_upgrade(instance, api, hanako, changes):
    token = forge(instance, hanako, **changes)
    by_header = await SocketClient.open(api, {"Authorization": f"Bearer {token}"})
    assert await by_header.close_code() == 4401
    by_frame = await SocketClient.open(api)
    assert (await by_frame.ask("authenticate", {"token": token}))["data"]["code"] == "INVALID_TOKEN"
    assert await by_frame.close_code() == 4401


async def test_a_token_in_the_query_is_ignored(api, hanako, monkeypatch):
    monkeypatch.setattr("realtime.sockets.socket.SIGN_IN_SECONDS", 0.05)
    url = api.base.replace("http", "ws") + f"/ws?token={hanako.token}"
    socket = SocketClient(await websockets.connect(url, compression=None, proxy=None))
    assert await socket.close_code() == 4408


async def test_pages_of_other_origins_are_refused(api, hanako):
    for origin in ("https://evil.example", api.base, "null"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"}, origin=origin)
        assert refused.value.response.status_code == 403
    ours = await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"}, origin="http://app.example.com")
    await ours.expect("ready")


async def test_another_subprotocol_is_not_accepted(api):
    socket = await SocketClient.open(api, subprotocols=["graphql-ws"])
    assert await socket.close_code() == 4400


async def test_a_token_ends_and_can_be_renewed(instance, api, hanako, people):
    short = Person(**{**vars(hanako), "token": forge(instance, hanako, exp=int(time.time()) + 2)})
    ends, lives = await api.socket(short), await api.socket(short)
    assert (await lives.ask("authenticate", {"token": hanako.token}))["event"] == "ack"
    assert await ends.close_code() == 4401
    assert (await lives.ask("ping"))["event"] == "pong"
    outsider = await people.influencer()
    refused = await lives.ask("authenticate", {"token": outsider.token})  # a socket keeps its user
    assert refused["data"]["code"] == "INVALID_TOKEN"
    assert await lives.close_code() == 4401


async def test_a_suspended_user_receives_nothing_more(api, other_api, hanako, db):
    here, there = await api.socket(hanako), await other_api.socket(hanako)
    async with db.transaction() as tx:
        await tx.execute("update users set status = 'SUSPENDED' where id = $1", hanako.id)
        await end_sessions(tx, hanako.id, "SUSPENDED")
    began = time.monotonic()
    assert await here.close_code() == 4403
    assert await there.close_code() == 4403
    assert time.monotonic() - began < 1
    assert (await other_api.get("/chat/contacts", hanako)).status == 401
    assert await (await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"})).close_code() == 4403
    by_frame = await SocketClient.open(other_api)
    assert (await by_frame.ask("authenticate", {"token": hanako.token}))["data"]["code"] == "SESSION_ENDED"
    assert await by_frame.close_code() == 4403


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (b"\x00\x01", "INVALID_FRAME"),
        ("not json", "INVALID_JSON"),
        ('{"event": "ping"', "INVALID_JSON"),
        ("[" * 5000 + "]" * 5000, "VALIDATION_ERROR"),
        ('"text"', "INVALID_FRAME"),
        ("[]", "INVALID_FRAME"),
        ('{"event": 5}', "INVALID_FRAME"),
        ('{"data": {}}', "INVALID_FRAME"),
        ('{"event": "nonsense"}', "UNKNOWN_EVENT"),
        ('{"event": "__init__"}', "UNKNOWN_EVENT"),
        ('{"event": "typing_start"}', "VALIDATION_ERROR"),
        ('{"event": "typing_start", "data": null}', "VALIDATION_ERROR"),
        ('{"event": "typing_start", "data": []}', "VALIDATION_ERROR"),
        ('{"event": "join_conversation", "data": "no uuid"}', "VALIDATION_ERROR"),
        ('{"event": "join_conversation", "data": {"conversationId": 5, "after": -1}}', "VALIDATION_ERROR"),
        ('{"event": "join_conversation", "data": "00000000-0000-4000-8000-000000000000"}', "NOT_FOUND"),
        ('{"event": "typing_start", "data": {"conversationId": "00000000-0000-4000-8000-000000000000"}}', "NOT_FOUND"),
        ('{"event": "send_message", "data": {"content": "x"}}', "VALIDATION_ERROR"),
        ('{"event": "send_message", "data": {"content": "\\ud800"}}', "INVALID_JSON"),
        ('{"event": "mark_read", "data": {"conversationId": "x", "seq": 1e400}}', "INVALID_JSON"),
        ('{"event": "mark_read", "data": {"conversationId": "x", "seq": 99999999999999999999}}', "VALIDATION_ERROR"),
        ('{"event": "authenticate", "data": {"token": 5}}', "VALIDATION_ERROR"),
    ],
)
async def test_bad_frames_are_answered_and_close_nothing(api, hanako, frame, code):
    socket = await api.socket(hanako)
    await socket.ws.send(frame)
    assert (await socket.expect("error"))["code"] == code
    assert (await socket.ask("ping"))["event"] == "pong"


async def test_an_answer_repeats_the_id_of_its_frame(api, hanako):
    socket = await api.socket(hanako)
    for asked in ("text", 7, 0):
        await socket.ws.send(json.dumps({"event": "ping", "id": asked}))
        await socket.ws.send(json.dumps({"event": "nonsense", "id": asked}))
        assert [(await socket.receive())["id"] for _ in range(2)] == [asked, asked]
    for frame in ('"event": 5', '"event": "ping", "data": "\\ud83c"', '"event": "ping", "data": NaN'):
        await socket.ws.send(f'{{{frame}, "id": "asked"}}')
        answer = await socket.receive()
        assert (answer["event"], answer["id"]) == ("error", "asked")
    for odd in (True, 1.5, 10**30, {"a": 1}, "x" * 129):
        await socket.ws.send(json.dumps({"event": "ping", "id": odd}))
        refused = await socket.receive()
        assert (refused["data"]["code"], "id" in refused) == ("INVALID_FRAME", False)
    for odd in ('"\\ud83c"', "1" * 30 + ', "data": NaN'):
        await socket.ws.send(f'{{"event": "ping", "id": {odd}}}')
        assert "id" not in await socket.receive()
    await socket.ws.send('{"event": "nonsense", "id": null}')
    assert "id" not in await socket.receive()


async def test_a_frame_leaves_its_socket_in_the_event_loop(api, hanako, monkeypatch):
    """To remove the socket after each frame and to add it again takes eight system calls."""
    changes: list[int] = []
    socket = await api.socket(hanako)
    await socket.ask("ping")
    monkeypatch.setattr(BaseAsyncIOLoop, "update_handler", lambda loop, fd, events: changes.append(events))
    for _ in range(5):
        assert (await socket.ask("ping"))["event"] == "pong"
    assert changes == []


async def test_frames_before_sign_in(api, hanako):
    socket = await SocketClient.open(api)
    answer = await socket.ask("join_conversation", hanako.id)
    assert answer["data"]["code"] == "NOT_AUTHENTICATED"
    assert (await socket.ask("authenticate", {"token": hanako.token}))["event"] == "ack"


async def test_an_oversized_frame_closes_its_socket_alone(api, hanako):
    giant, other = await api.socket(hanako), await api.socket(hanako)
    await giant.ws.send("x" * (64 * 1024 + 1))
    assert await giant.close_code() == 1009
    assert (await other.ask("ping"))["event"] == "pong"


async def test_floods_close_the_socket_but_surplus_typing_is_dropped(api, hanako, people, limit):
    limit("limit_socket_frames", Limit(20, 1, 60))
    conversation_id = await people.connect(hanako, await people.salon())
    typist = await api.socket(hanako)
    await typist.join(conversation_id)
    for _ in range(200):
        await typist.send("typing_start", {"conversationId": conversation_id})
    with pytest.raises(TimeoutError):  # it stays open, because only the surplus frames are dropped
        async with asyncio.timeout(0.3):
            await typist.ws.wait_closed()
    flood = await api.socket(hanako)
    for number in range(200):
        await flood.send("ping", id=number)
    assert await flood.close_code() == 4429
    *pongs, last = [frame for frame in flood.events if "id" in frame]
    assert [frame["id"] for frame in pongs] == list(range(len(pongs)))
    assert (last["id"], last["data"]["code"]) == (len(pongs), "RATE_LIMITED")


async def test_thirty_sockets_a_user(api, hanako, people):
    sockets = [await api.socket(hanako) for _ in range(30)]
    by_header = await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"})
    assert await by_header.close_code() == 4429
    by_frame = await SocketClient.open(api)
    refused = await by_frame.ask("authenticate", {"token": hanako.token})
    assert (refused["data"]["code"], "At most 30" in refused["data"]["message"]) == ("TOO_MANY", True)
    assert await by_frame.close_code() == 4429
    await sockets[0].close()
    await (await api.socket(await people.influencer())).received_names()  # other users are not affected
    async with asyncio.timeout(2):
        while True:
            again = await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"})
            if (await again.receive())["event"] == "ready":
                break


async def test_a_hundred_joined_conversations(api, hanako, people, monkeypatch):
    monkeypatch.setattr("realtime.sockets.commands.JOINED_CONVERSATIONS", 2)
    conversations = [await people.connect(hanako, await people.salon()) for _ in range(3)]
    socket = await api.socket(hanako)
    for conversation_id in conversations[:2]:
        await socket.join(conversation_id)
    refused = await socket.ask("join_conversation", conversations[2])
    assert refused["data"]["code"] == "TOO_MANY"
    await socket.join(conversations[0])  # a conversation that is joined already is joined again
    await socket.ask("leave_conversation", {"conversationId": conversations[1]})
    await socket.join(conversations[2])


async def test_a_sign_in_after_the_close_has_no_effect(instance, api, hanako, monkeypatch):
    answered, asked, added = asyncio.Event(), instance.sessions.caller, []

    async def slowly(*args):
        await answered.wait()
        return await asked(*args)

    async def add(listener):
        added.append(listener)

    monkeypatch.setattr("realtime.sockets.socket.SIGN_IN_SECONDS", 0.05)
    monkeypatch.setattr(instance.sessions, "caller", slowly)
    monkeypatch.setattr(instance.realtime.hub, "add_user", add)
    socket = await SocketClient.open(api)
    await socket.send("authenticate", {"token": hanako.token})
    async with asyncio.timeout(5):
        while socket.ws.protocol.close_rcvd is None:
            await asyncio.sleep(0.01)
    answered.set()  # before the server reads our part of the closing handshake
    assert await socket.close_code() == 4408
    await api.get("/health")
    await api.get("/connections", hanako)  # after the same query
    assert added == []


async def test_a_database_that_fails_during_sign_in_closes_with_try_again(api, hanako, monkeypatch):
    async def away(*_):
        raise DatabaseUnavailable

    monkeypatch.setattr("realtime.sockets.client.count_unread", away)
    by_header = await SocketClient.open(api, {"Authorization": f"Bearer {hanako.token}"})
    assert await by_header.close_code() == 1013
    by_frame = await SocketClient.open(api)
    await by_frame.send("authenticate", {"token": hanako.token}, id=1)
    assert await by_frame.close_code() == 1013


async def test_every_frame_with_an_id_is_answered_once(api, hanako, people, limit):
    conversation_id = await people.connect(hanako, await people.salon())
    socket = await api.socket(hanako)
    await socket.join(conversation_id)
    for event in ("typing_start", "typing_stop", "leave_conversation"):
        assert (await socket.ask(event, {"conversationId": conversation_id}))["data"] == {}
    limit("limit_socket_frames", Limit(1, 60, 1))
    await socket.ask("ping")
    dropped = await socket.ask("typing_start", {"conversationId": conversation_id})
    assert dropped["data"]["code"] == "RATE_LIMITED"


@pytest.mark.parametrize(
    ("first_byte", "payload"),
    [(0x81, b"\xff\xfe"), (0xF1, b"{}"), (0x83, b"{}"), (0x80, b"{}")],
    ids=["no UTF-8", "reserved bits", "unknown kind", "continues nothing"],
)
async def test_protocol_errors_close_with_their_code(api, hanako, first_byte, payload):
    socket = await api.socket(hanako)
    socket.ws.transport.write(bytes([first_byte, 0x80 | len(payload)]) + bytes(4) + payload)
    assert await socket.close_code() == 4400


async def test_a_resync_reaches_all_although_a_slow_reader_is_closed(instance):
    class Listener:
        def __init__(self, name: str) -> None:
            self.user_id = name
            self.frames: list[bytes] = []

        def send(self, frame: bytes, event: object = None) -> None:
            self.frames.append(frame)
            instance.realtime.hub.remove_user(self)

    listeners = [Listener(name) for name in "abc"]
    for listener in listeners:
        await instance.realtime.hub.add_user(listener)
    instance.realtime.hub.resync("redis")
    assert [len(listener.frames) for listener in listeners] == [1, 1, 1]


async def test_a_peer_that_answers_no_ping_is_closed(instance, api, hanako, monkeypatch):
    """The network has failed without closing the connection."""
    # The ping, its timeout, and Tornado's wait before it closes.
    assert 2 * TORNADO_SETTINGS["websocket_ping_interval"] + 5 <= 60
    for name in ("websocket_ping_interval", "websocket_ping_timeout"):
        monkeypatch.setitem(instance.app.settings, name, 0.2)
    lost, lives = await api.socket(hanako), await api.socket(hanako)
    ours = [socket for socket in instance.realtime.sockets if socket.user_id == hanako.id]
    theirs = min(ours, key=lambda socket: socket.opened_at)
    lost.ws.transport.pause_reading()
    async with asyncio.timeout(10):
        while not theirs.transport.ws_connection.server_terminated:
            assert (await lives.ask("ping"))["event"] == "pong"
    lost.ws.transport.resume_reading()
    assert await lost.close_code() == 1000
    assert (await lives.ask("ping"))["event"] == "pong"
