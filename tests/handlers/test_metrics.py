"""/metrics: names, labels and what changes the numbers."""

import asyncio
import re
import subprocess
from pathlib import Path

from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from realtime.events import Pong, UserTyping
from realtime.sockets.close_codes import CLOSE_CODES, close_code_label
from realtime.sockets.send_queue import SendQueue
from settings import Limit
from tests.helpers.clients import Api
from tests.helpers.programs import find_program, needs_program

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


async def scrape(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    families = text_string_to_metric_families((await api.get("/metrics")).raw.decode())
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


async def value(api: Api, name: str, **labels: str) -> float:
    return (await scrape(api)).get((f"encer_{name}", frozenset(labels.items())), 0.0)


async def fill(api, people, db) -> None:
    """Do what gives every metric with labels at least one series."""
    hanako, salon = await people.influencer(), await people.salon()
    await people.connect(hanako, salon)
    await api.get("/profile/me", hanako)
    await db.execute(
        "insert into job_runs (job, scheduled_for, runner, lease_until, status, finished_at) "
        "values ('housekeeping', now(), 'test', now(), 'SUCCEEDED', now())"
    )


@needs_program("promtool", package="prometheus")
async def test_promtool_reports_nothing(api, people, db):
    await fill(api, people, db)
    promtool = find_program("promtool")
    assert promtool
    shown = (await api.get("/metrics")).raw
    checked = await asyncio.to_thread(subprocess.run, [promtool, "check", "metrics"], input=shown, capture_output=True)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


async def test_every_metric_has_the_prefix_and_is_documented(api, people, db):
    await fill(api, people, db)
    families = list(text_string_to_metric_families((await api.get("/metrics")).raw.decode()))
    names = {family.name for family in families}
    assert {name for name in names if not name.startswith("encer_")} == set()
    documented = set(re.findall(r"`encer_(\w+)", OPERATIONS.read_text()))
    shown = {
        family.name.removeprefix("encer_") + ("_total" if family.type == "counter" else "")
        for family in families
        if not family.name.startswith("encer_process_")
    }
    assert shown - documented == set()


async def test_a_message_is_counted_and_timed_on_both_instances(api, other_api, people):
    """Both instances are in one process here, so they share these counters."""
    hanako, salon = await people.influencer(), await people.salon()
    conversation = await people.connect(hanako, salon)
    reader, writer = await other_api.socket(salon), await api.socket(hanako)
    await reader.join(conversation)
    await writer.join(conversation)
    before = await scrape(api)
    await api.post(f"/chat/conversations/{conversation}/messages", {"content": "hello"}, hanako)
    await reader.expect("message_sent")
    await writer.expect("message_sent")
    after = await scrape(api)
    for name, labels in [
        ("events_published_total", {"event": "message_sent"}),
        ("event_delivery_seconds_count", {"origin": "own"}),
        ("event_delivery_seconds_count", {"origin": "other"}),
        ("websocket_frames_sent_total", {}),
    ]:
        key = (f"encer_{name}", frozenset(labels.items()))
        assert after[key] > before.get(key, 0), name
    await reader.close()
    await writer.close()


async def test_a_frame_that_waits_is_timed_when_it_is_written():
    """A client that reads slowly: the frame is written when the client has taken what was written before."""
    reads = asyncio.Event()

    class SlowSocket:
        heartbeat_seconds = 25.0

        def write_now(self, frame: bytes) -> bool:
            return False

        async def write_frame(self, frame: bytes) -> None:
            await reads.wait()

        def send_ping(self) -> None: ...

        def close(self, code: int | None = None, reason: str | None = None) -> None: ...

    def count() -> float:
        return REGISTRY.get_sample_value("encer_event_delivery_seconds_count", {"origin": "own"}) or 0.0

    event = UserTyping("conversation", "user")
    event.mark_published()
    queue, before = SendQueue(SlowSocket()), count()
    assert queue.put(event.frame, event) and queue.put(Pong({}, None).frame)
    assert (count(), queue.bytes > 0) == (before, True)
    reads.set()
    await queue.flushed()
    assert (count(), queue.bytes) == (before + 1, 0)


async def test_a_socket_that_its_client_closes_is_counted(api, people):
    socket = await api.socket(await people.salon())
    opened = await value(api, "websockets_opened_total")
    closed = await value(api, "websockets_closed_total", code="1000", by="client")
    await socket.close()
    assert opened >= 1
    async with asyncio.timeout(10):
        while await value(api, "websockets_closed_total", code="1000", by="client") == closed:
            pass


def test_clients_cannot_make_up_labels_by_close_codes():
    labels = {close_code_label(code) for code in range(1000, 5000)}
    assert labels == {"other", "1000", "1001", "1006", *map(str, CLOSE_CODES)}
    assert [close_code_label(code) for code in (None, 1001, 4401)] == ["none", "1001", "4401"]


async def test_refusals_are_counted_by_limit_and_by_nothing_else(api, limit):
    limit("limit_auth", Limit(1, 900))
    limit("limit_general", Limit(1000, 900))
    before = await value(api, "limit_refusals_total", limit="auth")
    credentials = {"email": "hanako}@example.com", "password": "wrong password"}
    await api.post("/auth/login", credentials)
    assert (await api.post("/auth/login", credentials)).status == 429
    assert await value(api, "limit_refusals_total", limit="auth") == before + 1
    assert b"hanako}@" not in (await api.get("/metrics")).raw


async def test_the_database_is_read_within_bounds_and_not_during_an_outage(api, instance, monkeypatch):
    monkeypatch.setattr("handlers.metrics.Metrics.stored", (float("-inf"), []))
    monkeypatch.setattr("db.pool.Database.is_unavailable", True)
    shown = (await api.get("/metrics")).raw
    assert b"encer_postgresql_up 0" in shown
    assert b"encer_outbox_waiting_mails" not in shown
    monkeypatch.setattr("handlers.metrics.Metrics.stored", (float("-inf"), []))
    monkeypatch.setattr("db.pool.Database.is_unavailable", False)
    shown = (await api.get("/metrics")).raw
    assert b"encer_postgresql_up 1" in shown
    assert b"encer_outbox_waiting_mails 0" in shown


async def test_a_mail_that_waits_for_its_next_attempt_does_not_count_as_due(api, db, monkeypatch):
    await db.execute("delete from email_outbox")
    await db.execute(
        "insert into email_outbox (recipient, template, attempts, next_attempt_at, locked_until, created_at) values "
        "('x@example.com', 'reset', 9, now() + '1 hour', now() + '1 hour', now() - interval '5 hours')"
    )
    monkeypatch.setattr("handlers.metrics.Metrics.stored", (float("-inf"), []))
    assert (await value(api, "outbox_waiting_mails"), await value(api, "outbox_oldest_seconds")) == (1, 0)
    await db.execute("update email_outbox set next_attempt_at = now() - interval '700 seconds'")
    monkeypatch.setattr("handlers.metrics.Metrics.stored", (float("-inf"), []))
    assert 700 <= await value(api, "outbox_oldest_seconds") < 3600
    await db.execute("delete from email_outbox")


async def test_the_series_of_a_full_disk_exist_before_it_is_full(api):
    """`increase()` shows nothing for a series that appears with its first error."""
    series = await scrape(api)
    uploads = {
        labels["route"]: count
        for (name, frozen), count in series.items()
        if name == "encer_http_requests_total" and (labels := dict(frozen))["status"] == "507"
    }
    expected = {"/api/v1/profile/upload-picture", "/api/v1/chat/conversations/{conversation_id}/attachments"}
    assert expected <= set(uploads)
