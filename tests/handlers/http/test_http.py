"""All routes: errors, headers, limits, CORS, unusual bodies."""

import asyncio
import base64
import gzip
import json
import re
from codecs import BOM_UTF8, BOM_UTF16_LE

import pytest
from tornado.iostream import IOStream
from tornado.tcpclient import TCPClient

from services.security.addresses import network_of
from settings import VERSION, Limit
from tests.helpers.factories import PASSWORD
from tests.helpers.files.forms import BOUNDARY, File, encode_form, picture

ORIGIN = "http://app.example.com"
LOGIN = "/auth/login"


async def exchange(api, request: bytes) -> bytes:
    """Return the server's answer to bytes that no HTTP library would send."""
    stream: IOStream = await TCPClient().connect("127.0.0.1", api.instance.port)
    await stream.write(request)
    try:
        async with asyncio.timeout(5):
            return await stream.read_until_regex(rb"\r\n\r\n.*\}", max_bytes=100_000)
    finally:
        stream.close()


async def test_unknown_routes_and_wrong_methods(api):
    unknown = await api.get("/nothing/here")
    assert (unknown.status, unknown.code) == (404, "NOT_FOUND")
    wrong = await api.get(LOGIN)
    assert (wrong.status, wrong.headers["Allow"]) == (405, "POST")
    for method in ("TRACE", "BREW"):
        odd = await api.call(method, LOGIN)
        # Without this header, the next request that a proxy sends on the connection would be lost.
        assert (odd.status, odd.headers["Allow"], odd.headers["Connection"]) == (405, "POST", "close")
        assert (await api.call(method, "/nothing/here")).status == 404


@pytest.mark.parametrize(
    ("raw", "status", "code"),
    [
        (b"{", 400, "INVALID_JSON"),
        (b'{"email": "a@example.com", "password": "x"', 400, "INVALID_JSON"),
        (b"[" * 50_000, 400, "INVALID_JSON"),
        (b'{"email": ' * 20_000, 400, "INVALID_JSON"),
        (b"\xff\xfe", 400, "INVALID_JSON"),
        (b'{"email": "\\ud800", "password": "x"}', 400, "INVALID_JSON"),
        (b'{"email": "a\\u0000@example.com", "password": "x"}', 400, "VALIDATION_ERROR"),
        (b"null", 400, "VALIDATION_ERROR"),
        (b'"text"', 400, "VALIDATION_ERROR"),
        (b"", 400, "VALIDATION_ERROR"),
        (b'{"email": "a@example.com", "password": "' + b"x" * 300_000 + b'"}', 413, "BODY_TOO_LARGE"),
        (b"x" * 10_000_000, 413, "BODY_TOO_LARGE"),
    ],
)
async def test_odd_bodies(api, raw, status, code):
    answer = await api.post(LOGIN, raw=raw)
    assert (answer.status, answer.code) == (status, code)
    assert (await api.get("/health")).status == 200


async def test_a_byte_order_mark_before_json_is_skipped(api, people):
    user = await people.salon()
    body = {"email": user.email, "password": PASSWORD}
    assert (await api.post(LOGIN, raw=BOM_UTF8 + json.dumps(body).encode())).status == 200
    for bad in (BOM_UTF8, BOM_UTF8 * 2 + b"{}", BOM_UTF16_LE + "{}".encode("utf-16-le")):
        assert (await api.post(LOGIN, raw=bad)).code == "INVALID_JSON"
    socket = await api.socket(user)
    await socket.ws.send("\ufeff" + json.dumps({"event": "ping", "id": 1}))
    await socket.expect("pong")
    await socket.close()


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "identity", "", "x"])
async def test_encoded_bodies_are_refused(api, people, encoding):
    headers = {"Content-Encoding": encoding}
    sent = {"raw": gzip.compress(b"{}"), "headers": headers}
    form_type = f"multipart/form-data; boundary={BOUNDARY}"
    form = {"raw": encode_form([("profilePic", File(picture()))]), "headers": {**headers, "Content-Type": form_type}}
    user = await people.salon()
    for answer in (
        await api.post(LOGIN, **sent),
        await api.put("/profile/update", user=user, **sent),
        await api.patch("/notifications/read-all", user=user, **sent),
        await api.post("/profile/upload-picture", user=user, **form),
    ):
        assert (answer.status, answer.code) == (415, "UNSUPPORTED_MEDIA_TYPE")
    assert (await api.put("/profile/update", **sent)).status == 401


async def test_wrong_media_types(api):
    for content_type in ("application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x"):
        answer = await api.post(LOGIN, raw=b"email=a", headers={"Content-Type": content_type})
        assert answer.status == 415, content_type
    assert (await api.post(LOGIN, {}, headers={"Content-Type": "application/json; charset=utf-8"})).status == 400


@pytest.mark.parametrize("length", [b"abc", b"-5", b"9" * 5000], ids=["text", "negative", "endless"])
async def test_a_content_length_that_is_not_a_number(api, length: bytes):
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: "
    assert (await exchange(api, head + length + b"\r\n\r\n")).startswith(b"HTTP/1.1 400")


async def read_body(stream: IOStream, head: bytes) -> bytes:
    [length] = re.findall(rb"Content-Length: (\d+)", head)
    return await stream.read_bytes(int(length))


REFUSED = {
    "POST /profile/upload-picture": 401,
    "POST /auth/login": 413,
    "POST /nothing": 404,
    "PUT /auth/login": 405,
}


@pytest.mark.parametrize("call", REFUSED)
async def test_a_refusal_waits_for_the_end_of_the_body(api, call: str):
    """A client that still sends would find the connection reset and lose the response."""
    method, path = call.split()
    stream: IOStream = await TCPClient().connect("127.0.0.1", api.instance.port)
    head = f"{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nContent-Length: {2**20}\r\n"
    async with asyncio.timeout(10):
        await stream.write(head.encode() + b"\r\n" + b"x" * (2**20 - 1))
        assert not stream.closed()
        await stream.write(b"x")
        answer = await stream.read_until(b"\r\n\r\n")
        assert int(answer.split()[1]) == REFUSED[call]
        assert json.loads(await read_body(stream, answer))["requestId"]
        await stream.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"200 OK" in await stream.read_until(b"\r\n\r\n")
    stream.close()


@pytest.mark.parametrize(("path", "status"), [("/profile/me", 401), ("/nothing", 404), ("/auth/login", 405)])
async def test_a_refusal_leaves_the_connection_open(api, path: str, status: int):
    """If the connection closed, the next request that a proxy sends on it would be lost."""
    stream: IOStream = await TCPClient().connect("127.0.0.1", api.instance.port)
    async with asyncio.timeout(10):
        for _ in range(3):
            await stream.write(f"GET /api/v1{path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            answer = await stream.read_until(b"\r\n\r\n")
            assert int(answer.split()[1]) == status
            await read_body(stream, answer)
    stream.close()


@pytest.mark.parametrize("header", [f"Content-Length: {2**34}", f"Content-Length: {2**20}\r\nExpect: 100-continue"])
async def test_a_refusal_does_not_wait_for_a_body_that_is_too_large(api, header: str):
    answer = await exchange(api, f"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\n{header}\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 413") and b"Connection: close" in answer


async def test_head_is_get_without_the_body(api):
    answer = await api.call("HEAD", "/health")
    assert (answer.status, answer.raw) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 0


async def test_a_chunked_body_without_end_is_aborted(api):
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    head = b"POST /api/v1/auth/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    answer = await exchange(api, head + chunk * 6 + b"0\r\n\r\n")
    assert b"413" in answer.split(b"\r\n")[0]
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "BODY_TOO_LARGE"


@pytest.mark.parametrize("call", ["POST /auth/login", "GET /discovery/regions", "OPTIONS /auth/login"])
async def test_an_oversized_body_is_refused_before_its_end(api, people, monkeypatch, call: str):
    monkeypatch.setattr("handlers.http.base.DISCARDED_BYTES", 2**20)
    method, path = call.split()
    token = (await people.influencer()).token
    head = (
        f"{method} /api/v1{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    announced = b"40000000\r\n"  # 1 GiB, of which a little more arrives than the server reads
    answer = await exchange(api, head.encode() + announced + b"x" * (2**20 + 1))
    assert answer.startswith(b"HTTP/1.1 413") and b"Connection: close" in answer
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["code"] == "BODY_TOO_LARGE"


async def test_a_request_id_is_kept_if_well_formed(api):
    assert (await api.get("/health", headers={"X-Request-ID": "abc-123.DEF_9"})).headers[
        "X-Request-ID"
    ] == "abc-123.DEF_9"
    for bad in ("short", "x" * 200, "has space in it", "<script>alert(1)</script>"):
        answer = await api.get("/nothing", headers={"X-Request-ID": bad})
        assert answer.body["requestId"] == answer.headers["X-Request-ID"] != bad


async def test_cors(api):
    for path, method in ((LOGIN, "POST"), ("/nothing/here", "GET"), ("/chat/contacts", "GET")):
        answer = await api.call(method, path, {} if method == "POST" else None, headers={"Origin": ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Allow-Credentials"] == "true"
        assert "RateLimit-Remaining" in answer.headers["Access-Control-Expose-Headers"]
        foreign = await api.call(
            method, path, {} if method == "POST" else None, headers={"Origin": "https://evil.example"}
        )
        assert "Access-Control-Allow-Origin" not in foreign.headers


async def test_preflight(api, limit):
    limit("limit_general", Limit(1, 900))
    for _ in range(3):
        answer = await api.call("OPTIONS", "/chat/contacts", headers={"Origin": ORIGIN})
        assert (answer.status, answer.raw) == (204, b"")
        assert answer.headers["Access-Control-Max-Age"] == "600"
        assert "DELETE" in answer.headers["Access-Control-Allow-Methods"]
        assert "X-Request-ID" in answer.headers["Access-Control-Allow-Headers"]


async def test_the_general_limit_is_shared_by_instances_and_counts_users_apart(
    api, other_api, people, limit, other_instance
):
    limit("limit_general", Limit(3, 900))
    one, other = await people.influencer(), await people.salon()
    answers = [await client.get("/chat/contacts", one) for client in (api, other_api, api, other_api)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers[:3]] == ["2", "1", "0"]
    assert answers[0].headers["RateLimit-Limit"] == "3"
    assert answers[3].body["retryAfter"] == int(answers[3].headers["Retry-After"])
    assert (await api.get("/chat/contacts", other)).status == 200
    assert [(await api.get("/nothing")).status for _ in range(4)] == [404, 404, 404, 429]
    assert (await api.get("/health")).status == 200


async def test_limits_hold_while_redis_is_away(instance, api, limit, monkeypatch):
    class UnreachableRedis:
        async def eval(self, *_):
            raise ConnectionError

    monkeypatch.setattr(instance.services.rate_limits, "redis", UnreachableRedis())
    monkeypatch.setattr(instance.services.rate_limits, "rest_until", 0.0)
    limit("limit_auth", Limit(2, 900))
    body = {"email": "away@example.com", "password": "some password"}
    assert [(await api.post(LOGIN, body)).status for _ in range(3)] == [401, 401, 429]
    monkeypatch.setattr(instance.services.rate_limits, "rest_until", 0.0)


async def test_forwarded_addresses_count_behind_trusted_proxies_only(instance, api, limit, monkeypatch):
    from ipaddress import ip_network

    limit("limit_general", Limit(1, 900))

    async def statuses() -> list[int]:
        forwarded = [{"X-Forwarded-For": f"203.0.113.9, 198.51.100.{n}"} for n in range(2)]
        return [(await api.get("/nothing", headers=headers)).status for headers in forwarded]

    assert await statuses() == [404, 429]  # the header of an untrusted client is ignored
    monkeypatch.setattr(instance.app, "proxies", [ip_network("127.0.0.0/8")])
    assert await statuses() == [404, 404]  # two clients of one proxy


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.9", "203.0.113.9"),
        ("::ffff:203.0.113.9", "203.0.113.9"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unknown", "unknown"),
    ],
)
def test_anonymous_callers_are_counted_by_network(address, network):
    assert network_of(address) == network


async def test_a_defect_reveals_no_internals(instance, api, people, monkeypatch):
    async def crash(*_):
        raise RuntimeError("select secret from /etc/passwd")

    monkeypatch.setattr(type(instance.db), "fetch", crash)
    answer = await api.get("/chat/contacts", await people.influencer())
    assert (answer.status, answer.code) == (500, "INTERNAL")
    assert b"secret" not in answer.raw
    assert b"Runtime" not in answer.raw


async def test_health(api):
    health = (await api.get("/health")).body
    assert health["version"] == VERSION == (await api.get("/openapi.json")).body["info"]["version"]
    assert health["status"] == "ok"
    assert health["timestamp"].endswith("Z")
    async with asyncio.timeout(10):  # a new server has not received its own events through Redis yet
        while (await api.get("/health/ready")).body["status"] != "ok":
            pass
    assert (await api.get("/health/ready")).body["checks"] == {"database": True, "migrations": True, "redis": True}
    metrics = (await api.get("/metrics")).raw.decode()
    assert 'encer_http_requests_total{method="GET",route="/health",status="200"}' in metrics


async def test_ready_asks_for_the_migrations_of_this_version(api, monkeypatch, tmp_path):
    (tmp_path / "9999_of_tomorrow.sql").touch()
    monkeypatch.setattr("db.migrations.FOLDER", tmp_path)  # the files are newer than this process
    assert (await api.get("/health/ready")).body["checks"]["migrations"]
    assert b"encer_ready 1" in (await api.get("/metrics")).raw
    monkeypatch.setattr("db.migrations.MIGRATIONS", {"9999_of_tomorrow"})
    answer = await api.http.fetch(f"{api.base}/health/ready", raise_error=False)
    assert (answer.code, json.loads(answer.body)["checks"]["migrations"]) == (503, False)
    assert b"encer_ready 0" in (await api.get("/metrics")).raw


async def test_requests_to_the_socket_that_are_not_upgrades_get_errors(api):
    plain = await api.get("/ws")
    assert (plain.status, plain.code, plain.headers["Upgrade"]) == (426, "UPGRADE_REQUIRED", "websocket")
    wrong = await api.post("/ws", {})
    assert (wrong.status, wrong.code, wrong.headers["Allow"]) == (405, "METHOD_NOT_ALLOWED", "GET, HEAD")
    preflight = await api.call("OPTIONS", "/ws", headers={"Origin": ORIGIN})
    assert (preflight.status, preflight.headers["Access-Control-Allow-Origin"]) == (204, ORIGIN)


async def test_invented_methods_add_no_metric_labels(api):
    for method in ("BREW", "XBREW"):
        answer = await api.call(method, LOGIN)
        assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        assert method in answer.body["error"]
    assert b"BREW" not in (await api.get("/metrics")).raw


async def test_an_id_with_a_suffix_is_not_an_id(api, people):
    user = await people.salon()
    for path in (f"/chat/conversations/{user.id}%0A/messages", f"/connections/status/{user.id}%0A"):
        assert (await api.get(path, user)).status == 404


@pytest.mark.parametrize("moment", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2026-01-01T00:00:00"])
async def test_a_made_up_cursor_is_refused(api, people, moment):
    user = await people.salon()
    cursor = base64.urlsafe_b64encode(json.dumps([moment, user.id]).encode()).decode().rstrip("=")
    for path in ("/chat/contacts", "/chat/conversations", "/connections", "/notifications"):
        answer = await api.get(f"{path}?cursor={cursor}", user)
        assert (answer.status, answer.fields) == (400, {"cursor"})


async def test_every_response_describes_the_nearest_limit(api, people, limit):
    limit("limit_general", Limit(3, 900))
    limit("limit_connection_request", Limit(50, 86400))
    user = await people.salon()
    answers = [await api.post("/connections/request", {}, user) for _ in range(4)]
    assert [answer.status for answer in answers] == [400, 400, 400, 429]
    assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["2", "1", "0", "0"]
    assert {answer.headers["RateLimit-Limit"] for answer in answers} == {"3"}
    assert (await api.delete("/auth/login")).headers["RateLimit-Limit"] == "3"


async def test_a_fault_of_a_body_as_a_whole_is_a_sentence(api, people):
    salon, influencer = await people.salon(), await people.influencer()
    conversation_id = await people.connect(salon, influencer)
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", {}, salon)
    assert answer.body["message"] == "A message needs content or a file"
