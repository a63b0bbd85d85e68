"""PostgreSQL accepts no writes, read-only after a fail-over or with a full disk: 503, and everything works again soon
after it accepts them, without a restart."""

import asyncio
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from structlog.testing import capture_logs

from db.migrate import migrate
from db.packaged.servers import ServerUrls
from jobs.loop import JobLoop, ScheduledJob
from server import Instance
from services.mail.queue import queue_mail
from tests.conftest import stop
from tests.helpers.clients import Api, ask_readiness
from tests.helpers.factories import People, Person
from tests.helpers.jobs import DAILY, NEVER, NOW, NUMBERS, finished
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test, needs_small_disk

HEAL_SECONDS = 15
END_SESSIONS = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s and pid <> pg_backend_pid()"
REFUSE_ROWS = (
    "create function refuse_rows() returns trigger language plpgsql as $$ begin raise sqlstate '53100'; end $$"
)
REFUSE_TABLES = """
    create function refuse_tables() returns event_trigger language plpgsql as $$
        begin if tg_tag like 'CREATE TABLE%' then raise sqlstate '53100'; end if; end
    $$
"""
LONG = "long " * 400
RUNS = "select status from job_runs"
SENT = "select count(*) from email_outbox where sent_at is not null"


@dataclass
class FailingServer:
    """An instance with its own database, and functions that make the database refuse and accept writes."""

    instance: Instance
    stop_writes: Callable[[], None]
    allow_writes: Callable[[], None]


@pytest.fixture
def admin(servers: ServerUrls) -> Iterator[psycopg.Connection]:
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="module", autouse=True)
def migrated(servers: ServerUrls) -> Iterator[None]:
    """Create a database that the others are copies of."""
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("create database migrated")
        migrate(servers.database_url.replace("/encer?", "/migrated?"))
        yield
        conn.execute("drop database migrated")


@contextmanager
def own_database(admin: psycopg.Connection, servers: ServerUrls, name: str, tablespace: str) -> Iterator[ServerUrls]:
    admin.execute(f"drop database if exists {name} with (force)")
    admin.execute(f"create database {name} template migrated tablespace {tablespace}")
    yield ServerUrls(servers.database_url.replace("/encer?", f"/{name}?"), servers.redis_url)
    admin.execute(f"drop database {name} with (force)")


@pytest.fixture
def failed_over(io_loop, settings, servers, instance, admin, monkeypatch) -> Iterator[FailingServer]:
    """Sessions that were opened while the server was read-only stay so, as after a fail-over."""
    monkeypatch.setattr("db.pool.WATCH_SECONDS", 0.1)

    def stop_writes() -> None:
        admin.execute("alter database over set default_transaction_read_only = on")
        admin.execute(END_SESSIONS, ["over"])

    def allow_writes() -> None:
        admin.execute("alter database over reset default_transaction_read_only")

    with own_database(admin, servers, "over", "pg_default") as urls:
        own = Instance(settings, urls)
        io_loop.run_sync(own.start)
        yield FailingServer(own, stop_writes, allow_writes)
        stop(io_loop, own)


@pytest.fixture
def out_of_space(failed_over: FailingServer, admin) -> Iterator[FailingServer]:
    """PostgreSQL answers statements that need space as with a full disk."""
    url = failed_over.instance.urls.database_url

    def change(*statements: str) -> None:
        with psycopg.connect(url, autocommit=True) as conn:
            for statement in statements:
                conn.execute(statement)

    change(REFUSE_ROWS, REFUSE_TABLES)
    yield FailingServer(
        failed_over.instance,
        lambda: change(
            "create trigger messages_full before insert on messages execute function refuse_rows()",
            "create event trigger tables_full on ddl_command_start execute function refuse_tables()",
        ),
        lambda: change("drop event trigger tables_full", "drop trigger messages_full on messages"),
    )


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """Mount an empty file system of 32 MiB."""
    disk = Path(tempfile.mkdtemp(prefix="encer-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", disk], check=True)
    yield disk
    subprocess.run(["umount", "--lazy", disk], check=True)
    disk.rmdir()


@pytest.fixture
def full(io_loop, settings, servers, instance, admin, small_disk: Path, monkeypatch) -> Iterator[FailingServer]:
    """Create a database on a small disk that the test fills."""
    monkeypatch.setattr("db.pool.WATCH_SECONDS", 0.1)
    tables, filler = small_disk / "tables", small_disk / "filler"
    tables.mkdir()
    data = admin.execute("show data_directory").fetchone()[0]
    for folder in (small_disk, tables):
        os.chown(folder, Path(data).stat().st_uid, -1)

    def fill() -> None:
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(4096)):
                pass

    admin.execute(f"create tablespace small location '{tables}'")
    with own_database(admin, servers, "full_disk", "small") as urls:
        own = Instance(settings, urls)
        io_loop.run_sync(own.start)
        yield FailingServer(own, fill, filler.unlink)
        stop(io_loop, own)
    admin.execute("drop tablespace small")


@long_test()
def test_a_program_says_that_the_server_is_read_only(servers, admin):
    with own_database(admin, servers, "over", "pg_default") as urls:
        with psycopg.connect(urls.database_url, autocommit=True) as conn:
            conn.execute("delete from _yoyo_migration")  # one migration is missing
        admin.execute("alter database over set default_transaction_read_only = on")
        environment = {**os.environ, "DATABASE_URL": urls.database_url, "REDIS_URL": urls.redis_url, "PORT": "0"}
        for program in (["-m", "db.migrate"], ["server.py"]):
            ended = subprocess.run(
                [sys.executable, *program], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60
            )
            assert (ended.returncode, ended.stdout) == (1, "")
            assert "it is read-only" in ended.stderr and len(ended.stderr.splitlines()) == 1


async def send(api: Api, conversation_id: str, sender: Person, content: str) -> int:
    answer = await api.post(f"/chat/conversations/{conversation_id}/messages", {"content": content}, sender)
    if answer.status == 503:
        assert (answer.code, answer.headers["Retry-After"]) == ("NOT_READY", "2")
    return answer.status


async def until_ready_says(api: Api, expected: tuple[int, str]) -> None:
    async with asyncio.timeout(HEAL_SECONDS):
        while await ask_readiness(api) != expected:
            await asyncio.sleep(0.02)


async def until_refused(instance: Instance) -> None:
    """Wait until PostgreSQL has refused a write."""
    async with asyncio.timeout(HEAL_SECONDS):
        while not instance.db.refuses_writes:
            await asyncio.sleep(0.02)


async def until_read(api: Api, reader: Person) -> None:
    """Wait until the connections that ended with the fail-over are replaced."""
    async with asyncio.timeout(HEAL_SECONDS):
        while (await api.get("/chat/contacts", reader)).status != 200:
            pass


async def test_a_fail_over_to_a_read_only_server(failed_over: FailingServer):
    api, people = Api(failed_over.instance), People(failed_over.instance)
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    assert await send(api, conversation_id, hanako, "before") == 201
    here = await api.socket(hanako)
    with capture_logs() as logs:
        failed_over.stop_writes()
        await until_read(api, hanako)
        assert await ask_readiness(api) == (503, "not_ready")
        assert {await send(api, conversation_id, hanako, "lost?") for _ in range(20)} == {503}
        refused = await here.ask("send_message", {"conversationId": conversation_id, "content": "lost?"})
        assert refused["data"]["code"] == "NOT_READY"
        assert (await api.get("/profile/me", hanako)).status == 200  # reading still works
        assert await asyncio.to_thread(migrate, failed_over.instance.urls.database_url) == 0  # as at the start
        failed_over.allow_writes()
        await until_ready_says(api, (200, "ok"))
        sent = await asyncio.gather(*(send(api, conversation_id, hanako, f"after {n}") for n in range(30)))
        assert sent == [201] * 30
    assert (await here.ask("send_message", {"conversationId": conversation_id, "content": "x"}))["event"] == "ack"
    events = [(entry["log_level"], entry["event"]) for entry in logs if entry["event"].startswith("PostgreSQL ")]
    assert events == [("warning", "PostgreSQL is not available"), ("info", "PostgreSQL is available again")]
    assert len([entry for entry in logs if entry["log_level"] != "info"]) == 1


async def test_jobs_wait_for_a_writable_server(failed_over: FailingServer, monkeypatch):
    monkeypatch.setattr("jobs.loop.FINISH_RETRY_SECONDS", 0.05)
    instance, seen = failed_over.instance, []

    async def note(row) -> str:
        seen.append(row["n"])
        if seen == [1, 2, 3]:
            failed_over.stop_writes()
            await until_refused(instance)
        await instance.db.execute("update users set updated_at = now()")
        return "done"

    async def work(run) -> None:
        await run.for_each(run.due(NUMBERS, key=(None,)), note, parallel=1)

    jobs = [ScheduledJob("sample", DAILY, work)]
    loop = JobLoop(instance.job_context, jobs, "UTC", lease=1, check_seconds=NEVER, now=lambda: NOW)
    with capture_logs() as logs:
        await loop.check()
        await until_refused(instance)
        await loop.check()  # the loop continues
        await finished(loop)
        assert seen == [1, 2, 3]  # the others stay due
        failed_over.allow_writes()
        async with asyncio.timeout(HEAL_SECONDS):
            while seen[3:] != list(range(1, 10)):
                await loop.check()
                await finished(loop)
    assert (await instance.db.fetch_one(RUNS))["status"] == "SUCCEEDED"
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_mails_wait_for_a_writable_server(failed_over: FailingServer, monkeypatch):
    monkeypatch.setattr("jobs.outbox.POLL_SECONDS", 0.05)
    instance = failed_over.instance
    params = {"name": "花子", "code": "012345", "minutes": "10", "role": "salon"}
    with capture_logs() as logs:
        async with instance.db.transaction() as tx:
            await queue_mail(tx, instance.services.encryption, "hanako@example.com", "verify", params)
            await tx.execute("update email_outbox set next_attempt_at = now() + interval '1 second'")
        failed_over.stop_writes()
        await until_refused(instance)
        failed_over.allow_writes()
        async with asyncio.timeout(HEAL_SECONDS):
            while not await instance.db.fetchval(SENT):
                await asyncio.sleep(0.02)
    assert [entry for entry in logs if entry["log_level"] == "error"] == []


async def test_an_answer_that_the_disk_is_full(out_of_space: FailingServer):
    await fill_and_free(out_of_space)


@needs_small_disk()
async def test_a_full_disk(full: FailingServer):
    await fill_and_free(full)


async def fill_and_free(full: FailingServer) -> None:
    api, people = Api(full.instance), People(full.instance)
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    assert await send(api, conversation_id, hanako, LONG) == 201
    with capture_logs() as logs:
        full.stop_writes()
        async with asyncio.timeout(HEAL_SECONDS):
            # The first rows fit into existing pages.
            while (status := await send(api, conversation_id, hanako, LONG)) != 503:
                assert status == 201
        await until_ready_says(api, (503, "not_ready"))
        assert (await api.get("/profile/me", hanako)).status == 200
        full.allow_writes()
        await until_ready_says(api, (200, "ok"))
        assert {await send(api, conversation_id, hanako, LONG) for _ in range(20)} == {201}
    assert [entry for entry in logs if entry["log_level"] == "error"] == []
