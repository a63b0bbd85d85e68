"""RFC 6455 by raw frames: masks, close codes, and floods of control frames and fragments."""

from typing import Any

import pytest
from tornado.iostream import StreamClosedError

from settings import Limit
from tests.helpers.clients import SocketClient

TEXT, CLOSE, PING, PONG, CONTINUATION, FIN = 0x1, 0x8, 0x9, 0xA, 0x0, 0x80
PING_EVENT = b'{"event": "ping", "id": 1}'


def frame(opcode: int, payload: bytes = b"", masked: bool = True, fin: bool = True) -> bytes:
    head = bytes([opcode | (FIN if fin else 0), len(payload) | (0x80 if masked else 0)])
    return head + (bytes(4) if masked else b"") + payload


@pytest.fixture
def socket(io_loop, api, people) -> SocketClient:
    return io_loop.run_sync(lambda: open_socket(api, people))


async def open_socket(api, people) -> SocketClient:
    return await api.socket(await people.influencer())


UNMASKED = {
    "a text": frame(TEXT, PING_EVENT, masked=False),
    "an empty text": frame(TEXT, masked=False),
    "a ping": frame(PING, b"hello", masked=False),
    "a pong": frame(PONG, masked=False),
    "a close": frame(CLOSE, b"\x03\xe8", masked=False),
    "after a masked one": frame(PING) + frame(TEXT, PING_EVENT, masked=False),
    "a first fragment": frame(TEXT, PING_EVENT[:5], masked=False, fin=False),
    "a last fragment": frame(TEXT, PING_EVENT[:5], fin=False) + frame(CONTINUATION, PING_EVENT[5:], masked=False),
    "a fragment between": frame(TEXT, PING_EVENT[:5], fin=False)
    + frame(CONTINUATION, PING_EVENT[5:8], masked=False, fin=False)
    + frame(CONTINUATION, PING_EVENT[8:]),
}


@pytest.mark.parametrize("sent", UNMASKED.values(), ids=UNMASKED)
async def test_an_unmasked_frame_closes_the_socket_and_has_no_effect(socket: SocketClient, sent: bytes):
    socket.ws.transport.write(sent)
    assert await socket.close_code() == 4400
    assert [event["event"] for event in socket.events] == ["ready"]


async def test_masked_fragments_are_a_message(socket: SocketClient):
    socket.ws.transport.write(
        frame(TEXT, PING_EVENT[:5], fin=False)
        + frame(PING)
        + frame(CONTINUATION, PING_EVENT[5:9], fin=False)
        + frame(CONTINUATION, PING_EVENT[9:])
    )
    await socket.expect("pong")


async def test_messages_of_one_iteration_are_written_together(instance, socket: SocketClient, monkeypatch):
    theirs = next(s for s in instance.realtime.sockets if s.user_id == socket.ready["userId"])
    protocol = theirs.transport.ws_connection
    write, written = protocol.stream.write, []

    def note(data: bytes) -> Any:
        written.append(len(data))
        return write(data)

    monkeypatch.setattr(protocol.stream, "write", note)
    sizes = [125, 126, 65_535, 65_536, 125]  # the longest and shortest messages of each form of a header
    for size in sizes:
        theirs.send(b'{"event": "pong", "data": {}, "id": "%s"}' % (b"x" * (size - 39)))
    protocol.write_ping(b"after the messages")
    for _ in sizes:
        await socket.expect("pong")
    assert [len(event.get("id", "")) + 39 for event in socket.events[1:]] == sizes
    assert written[0] == 2 + 125 + 4 + 126
    assert len(written) <= len(sizes)


async def test_a_ping_on_a_lost_connection_raises_nothing(instance, socket: SocketClient, monkeypatch):
    """One timer sends the pings of all sockets, and an error would end it."""
    theirs = next(s for s in instance.realtime.sockets if s.user_id == socket.ready["userId"])
    protocol = theirs.transport.ws_connection

    def lose(_: bytes) -> None:
        if protocol.stream.closed():
            raise StreamClosedError
        protocol.stream.close()  # as Tornado does when a write fails

    monkeypatch.setattr(protocol.stream, "write", lose)
    theirs.send(b'{"event": "pong", "data": {}}')
    protocol.send_ping()
    assert protocol.stream.closed()


def code(number: int) -> bytes:
    return number.to_bytes(2, "big")


RESERVED = [0, 999, 1004, 1005, 1006, 1015, 1016, 2999, 5000, 65535]


@pytest.mark.parametrize(
    "payload",
    [*map(code, RESERVED), b"\x03", code(1000) + b"\xff"],
    ids=[*map(str, RESERVED), "half a code", "no UTF-8"],
)
async def test_what_no_close_frame_may_carry_is_not_echoed(socket: SocketClient, payload: bytes):
    socket.ws.transport.write(frame(CLOSE, payload))
    assert await socket.close_code() == 4400


@pytest.mark.parametrize("number", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4000, 4999])
async def test_other_close_codes_are_echoed(socket: SocketClient, number: int):
    socket.ws.transport.write(frame(CLOSE, code(number) + "またね".encode()))
    assert await socket.close_code() == number


async def test_a_close_without_a_code_is_answered_without_one(socket: SocketClient):
    socket.ws.transport.write(frame(CLOSE))
    assert await socket.close_code() == 1005


FLOODS = {
    "pings": frame(PING),
    "pongs": frame(PONG),
    "pings within a message": frame(TEXT, fin=False) + frame(PING) * 200,
    "empty fragments": frame(TEXT, fin=False) + frame(CONTINUATION, fin=False) * 200,
}


@pytest.mark.parametrize("sent", FLOODS.values(), ids=FLOODS)
async def test_control_frames_and_fragments_count_towards_the_flood_limit(socket: SocketClient, limit, sent: bytes):
    limit("limit_socket_frames", Limit(1, 60, 60))
    socket.ws.transport.write(frame(PING) * 20 + frame(PONG) * 20)
    assert (await socket.ask("ping"))["event"] == "pong"
    socket.ws.transport.write(sent * (200 if len(sent) == 6 else 1))
    assert await socket.close_code() == 4429


async def test_a_flood_before_sign_in_ends_too(api, limit):
    limit("limit_socket_frames", Limit(1, 60, 60))
    socket = await SocketClient.open(api)
    socket.ws.transport.write(frame(PING) * 200)
    assert await socket.close_code() == 4429
