"""A cluster of real processes behind nginx: its logs, from start to stop."""

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import structlog

from db.packaged.servers import ServerUrls, free_port
from deploy.cluster import Cluster
from tests.helpers.clients import SocketClient
from tests.helpers.factories import Person
from tests.helpers.files.forms import BAD_FILES, File, send_form
from tests.helpers.processes import Remote
from tests.helpers.programs import needs_program
from tests.helpers.raw_http import exchange, request
from tests.helpers.servers.nginx import running_nginx
from tests.helpers.servers.odd_requests import ODD
from tests.vendors.apify import TOKEN, Apify

pytestmark = needs_program("nginx", package="nginx")

GIVEN = "a-client-gave-this-id"


def nginx_ids(folder: Path) -> dict[str, str]:
    """Return the request id of each path in nginx's access log, whose lines begin with the time."""
    lines = (folder / "access.log").read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00 127\.0\.0\.1 \d{3} ", line) for line in lines), lines
    return {line.split('"')[1]: line.split()[4] for line in lines}


async def test_one_request_id_in_the_logs_the_answer_and_its_body(instance, tmp_path):
    with running_nginx(tmp_path, [instance.port]) as port, structlog.testing.capture_logs() as logged:
        answers = {
            "/api/v1/nothing": await exchange(port, request("GET /api/v1/nothing")),
            "/api/v1/profile/me": await exchange(port, request("GET /api/v1/profile/me", f"X-Request-ID: {GIVEN}")),
            "/ws": await exchange(port, request("GET /ws", "X-Request-ID: no\tid")),
        }
    logged_ids = {line["path"]: line["request_id"] for line in logged if line["event"] == "request"}
    answered = {path: answer.headers["x-request-id"] for path, answer in answers.items()}
    assert answered == {path: answer.json["requestId"] for path, answer in answers.items()}
    assert answered == logged_ids
    assert answered == nginx_ids(tmp_path)
    assert answered["/api/v1/profile/me"] == GIVEN
    assert answered["/ws"] != "no\tid"


async def test_an_error_of_nginx_has_the_id_of_its_log(tmp_path):
    with running_nginx(tmp_path, [free_port()]) as port:
        answer = await exchange(port, request("GET /health", f"X-Request-ID: {GIVEN}"))
    assert (answer.status, answer.headers["x-request-id"], answer.json["requestId"]) == (503, GIVEN, GIVEN)
    assert nginx_ids(tmp_path) == {"/health": GIVEN}


async def fail_in_every_way(proxy: Remote, influencer: Person, salon: Person, vendor: Apify, port: int) -> None:
    """Send what the server must refuse, and let a vendor fail: nothing here needs an operator."""
    for name, damaged in BAD_FILES.items():
        answer = await send_form(proxy, "/profile/upload-picture", salon, ("profilePic", File(damaged)))
        assert answer.status in (400, 413, 415), name
    for failure in ("server_error", "nonsense", "out_of_memory"):
        vendor.fail(failure, "", 20)
        answer = await proxy.post("/social-media/instagram/connect", {"username": f"a_{failure}"}, influencer)
        assert answer.status >= 500, (failure, answer)
        vendor.planned.clear()
    for raw in ODD.values():
        await exchange(port, raw)


async def test_no_warning_from_start_to_stop(servers: ServerUrls, tmp_path: Path, api, people):
    """WARNING and above require an operator to act: in this run only when the vendor refuses the token."""
    ports = [free_port(), free_port()]
    # With the same secret, the tokens of `people` are valid in the cluster too.
    secret = api.instance.settings.jwt_access_secret.get_secret_value()
    port = free_port()
    vendor = Apify()
    vendor.listen()
    settings = {"LOG_FORMAT": "json", "JWT_ACCESS_SECRET": secret, "LIMIT_UPLOAD": "off", "LIMIT_CONNECT": "off"}
    keys = {"APIFY_API_URL": vendor.url, "APIFY_API_TOKEN": TOKEN, "SCRAPE_TIMEOUT": "2s"}
    cluster = Cluster(tmp_path, ports, port, servers, **settings, **keys)
    try:
        await asyncio.to_thread(cluster.start)
        hanako, salon = await people.influencer(), await people.salon()
        conversation = await people.connect(hanako, salon)
        proxy = Remote(api, port)
        sockets: list[SocketClient] = [await proxy.socket(person) for person in (hanako, salon)]
        for socket in sockets:
            await socket.join(conversation)
        for number in range(10):
            path = f"/chat/conversations/{conversation}/messages"
            assert (await proxy.post(path, {"content": f"message {number}"}, hanako)).status == 201
            await sockets[1].expect("message_sent")
        assert (await proxy.get("/nothing")).status == 404
        await fail_in_every_way(proxy, hanako, salon, vendor, ports[0])
        before = warnings_of(tmp_path)
        vendor.fail("bad_token")
        refused = await proxy.post("/social-media/instagram/connect", {"username": "refused"}, hanako)
        assert refused.body["reason"] == "UPSTREAM_REFUSED"
    finally:
        await asyncio.to_thread(cluster.stop)  # ends both while sockets are open
        await vendor.close()
    lines = read_lines(tmp_path)
    assert {"request", "stopping", "stopped", "vendor failed"} <= {line["event"] for line in lines}
    assert before == []
    assert [line["event"] for line in warnings_of(tmp_path)] == ["vendor failed"]
    complaints = (tmp_path / "error.log").read_text().splitlines()
    assert [line for line in complaints if "setrlimit" not in line] == []  # only root may raise that limit


def read_lines(folder: Path) -> list[dict[str, Any]]:
    logs = {path: path.read_text() for path in folder.glob("instance-*.log")}
    assert len(logs) == 2
    return [json.loads(line) for text in logs.values() for line in text.splitlines()]


def warnings_of(folder: Path) -> list[dict[str, Any]]:
    return [line for line in read_lines(folder) if line["level"] not in ("info", "debug")]
