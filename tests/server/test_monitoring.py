"""deploy/monitoring: the alerts and the dashboard, with a real Prometheus that scrapes two processes under load."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from tornado.httpclient import AsyncHTTPClient, HTTPRequest

from db.packaged.servers import ServerUrls, free_port
from tests.helpers.clients import Api
from tests.helpers.processes import ServerProcess, server_process
from tests.helpers.programs import find_program, long_test, needs_program

MONITORING = Path(__file__).parents[2] / "deploy" / "monitoring"
OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"
COMPARISON = re.compile(r" (?:>|<|==) [\d.]+$")  # an alert has data only beyond its bound
SECONDS = 40.0
RULE_TESTS = ("alerts_test.yml", "alerts_hours_test.yml")
NO_LIMITS = dict.fromkeys(("LIMIT_MESSAGE", "LIMIT_SIGN_UP", "LIMIT_OTP_MAIL", "LIMIT_OTP_MAIL_EMAIL"), "off")


def read_alerts() -> list[dict[str, Any]]:
    rules = yaml.safe_load((MONITORING / "alerts.yml").read_text())
    return [rule for group in rules["groups"] for rule in group["rules"]]


def read_queries() -> list[str]:
    dashboard = json.loads((MONITORING / "dashboard.json").read_text())
    targets = [target for panel in dashboard["panels"] for target in panel.get("targets", [])]
    return [target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*") for target in targets]


def test_each_alert_names_a_section_of_the_runbook():
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    named = [rule["annotations"]["runbook"] for rule in read_alerts()]
    assert len(named) > 15
    assert {name for name in named if name.removeprefix("docs/operations.md#") not in anchors} == set()


@long_test()
@needs_program("promtool", package="prometheus")
def test_each_alert_fires_in_its_case_and_none_on_a_healthy_system():
    promtool = find_program("promtool")
    assert promtool
    tested = subprocess.run([promtool, "test", "rules", *RULE_TESTS], cwd=MONITORING, capture_output=True, text=True)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    cases = [case for name in RULE_TESTS for case in yaml.safe_load((MONITORING / name).read_text())["tests"]]
    fired = {case["alertname"] for test in cases for case in test["alert_rule_test"] if case["exp_alerts"]}
    assert fired == {rule["alert"] for rule in read_alerts()}


@pytest.fixture
def processes(servers: ServerUrls, data_dir: Path, api: Api) -> Iterator[list[ServerProcess]]:
    """Two instances in processes of their own, which accept the tokens of `people`."""
    secret = api.instance.settings.jwt_access_secret.get_secret_value()
    settings = {"JWT_ACCESS_SECRET": secret, "LIMIT_UPLOAD": "1/15m", "PASSWORD_COST": "4", **NO_LIMITS}
    (data_dir / "last-backup").touch()  # as deploy/backup does
    with server_process(servers, data_dir, **settings) as one, server_process(servers, data_dir, **settings) as other:
        yield [one, other]
    (data_dir / "last-backup").unlink()


@pytest.fixture
def prometheus(tmp_path: Path, processes: list[ServerProcess]) -> Iterator[str]:
    """Start Prometheus with our configuration, except for its targets and interval; return its address."""
    program = find_program("prometheus")
    assert program
    config = yaml.safe_load((MONITORING / "prometheus.yml").read_text())
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(MONITORING / "alerts.yml")]
    targets = [f"127.0.0.1:{one.port}" for one in processes]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    command = [
        program,
        f"--config.file={tmp_path}/prometheus.yml",
        f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
        "--log.level=error",
    ]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(20)


async def has_data(address: str, query: str) -> bool:
    """Return whether the query has a result that is a number."""
    return any(sample["value"][1] != "NaN" for sample in await ask(address, query))


async def instances_of(address: str, query: str) -> list[str]:
    return [sample["metric"]["instance"] for sample in await ask(address, query)]


async def ask(address: str, query: str) -> list[dict[str, Any]]:
    """Return the samples of a query. A query that Prometheus refuses is an error."""
    client = AsyncHTTPClient()
    body = "query=" + "".join(f"%{byte:02X}" for byte in query.encode())
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    request = HTTPRequest(f"{address}/api/v1/query", "POST", headers, body)
    try:
        answer = await client.fetch(request, raise_error=False)
    except OSError:  # while it starts
        return []
    if answer.code == 503:
        return []
    assert answer.code == 200, (query, answer.body)
    result: list[dict[str, Any]] = json.loads(answer.body)["data"]["result"]
    return result


@long_test()
@needs_program("prometheus", package="prometheus")
async def test_every_query_and_every_alert_has_data(prometheus, processes, api, people, db):
    own, other = (process.api(api) for process in processes)
    hanako, salon = await people.influencer(), await people.salon()
    conversation = await people.connect(hanako, salon)
    await db.execute(
        "insert into job_runs (job, scheduled_for, runner, lease_until, status, finished_at) "
        "values ('housekeeping', now(), 'test', now(), 'SUCCEEDED', now())"
    )
    reader = await other.socket(salon)
    await reader.join(conversation)
    sign_up = {"name": "Yuki", "password": "tea and biscuits", "termsAccepted": True}

    async def load(number: int) -> None:
        writer = await own.socket(hanako)
        await writer.join(conversation)
        await own.post(f"/chat/conversations/{conversation}/messages", {"content": "hello"}, hanako)
        await own.post("/profile/upload-picture", {}, hanako)
        await own.get("/discovery/influencers", salon)
        await other.post("/auth/signup/salon", {**sign_up, "email": f"yuki{number}@example.com"})
        await reader.expect("message_sent")
        await writer.close()

    missing = {*read_queries(), *(COMPARISON.sub("", rule["expr"]) for rule in read_alerts())}
    assert len(missing) > 50
    rounds = 0
    deadline = time.monotonic() + SECONDS
    while missing:
        await load(rounds := rounds + 1)
        found = await asyncio.gather(*(has_data(prometheus, query) for query in missing))
        missing = {query for query, has in zip(list(missing), found, strict=True) if not has}
        assert not missing or time.monotonic() < deadline, missing
    await reader.close()
    published = await instances_of(
        prometheus, 'sum by (instance) (encer_events_published_total{event="message_sent"}) > 0'
    )
    received = await instances_of(
        prometheus, 'sum by (instance) (encer_event_delivery_seconds_count{origin="other"}) > 0'
    )
    assert published == [f"127.0.0.1:{processes[0].port}"]
    assert f"127.0.0.1:{processes[1].port}" in received  # the other one may receive presence, if Redis is slow
