"""One real PostgreSQL, one real Redis and two instances of the server for the whole run; empty tables for each test."""

import asyncio
import gc
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import uvloop
from tornado.ioloop import IOLoop

from db.migrate import migrate
from db.packaged.servers import EmbeddedServers, ServerUrls
from db.pool import Database
from server import Instance
from settings import Settings, load_settings
from tests.helpers.clients import Api
from tests.helpers.factories import People
from tests.helpers.mail.mailbox import Mailbox
from tests.helpers.scratch import scratch_folder
from tests.helpers.social import wire_apify, wire_tiktok
from tests.vendors.apify import Apify
from tests.vendors.tiktok import TikTok

# Data is deleted after a run, so PostgreSQL does not have to write it to the disk.
FAST_POSTGRES = "-c fsync=off -c synchronous_commit=off -c full_page_writes=off"

# Child tables first. DELETE on small tables is several times faster than TRUNCATE.
EMPTY = """
    delete from attachments; delete from notifications; delete from messages; delete from conversation_participants;
    delete from conversations; delete from connection_requests; delete from activity_logs; delete from email_outbox;
    delete from job_runs; delete from scrape_runs; delete from token_revocations; delete from otp_attempts;
    delete from users; delete from deleted_notifications;
"""


@pytest.fixture(scope="session")
def io_loop() -> Iterator[IOLoop]:
    """One loop for the run (pytest-tornasync makes one per test), so that all tests share pools and sockets."""
    asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
    loop = IOLoop(make_current=True)
    yield loop
    loop.close()


@pytest.fixture(scope="session")
def data_dir() -> Iterator[Path]:
    """Not pytest's folder: pytest removes the folders of older runs, even of those that have not ended."""
    with scratch_folder() as folder:
        yield folder


@pytest.fixture(scope="session")
def servers(data_dir: Path) -> Iterator[ServerUrls]:
    embedded = EmbeddedServers(data_dir, FAST_POSTGRES)
    urls = embedded.start()
    migrate(urls.database_url)
    yield urls
    embedded.stop()


@pytest.fixture(scope="session")
def settings(data_dir: Path) -> Settings:
    """Limits are off unless a test switches one on; passwords are cheap; jobs run only if a test runs them; a busy
    machine does not count as an outage of Redis, except in tests of outages."""
    limits = {name: None for name in Settings.model_fields if name.startswith("limit_")}
    return load_settings(
        app_env="test",
        port=0,
        data_dir=data_dir,
        password_cost=4,
        frontend_url=["http://app.example.com"],
        public_url="http://media.example.com",
        log_level="ERROR",
        jobs_enabled=False,
        redis_timeout=timedelta(seconds=10),
        **limits,
    )


def started(io_loop: IOLoop, settings: Settings, servers: ServerUrls) -> Iterator[Instance]:
    instance = Instance(settings, servers)
    io_loop.run_sync(instance.start)
    yield instance
    stop(io_loop, instance)


def stop(io_loop: IOLoop, instance: Instance) -> None:
    """Stop after a test, whose sockets may answer no closing handshake."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("realtime.sockets.registry.CLOSING_SECONDS", 0)
        io_loop.run_sync(instance.stop)


@pytest.fixture(scope="session")
def instance(io_loop: IOLoop, settings: Settings, servers: ServerUrls) -> Iterator[Instance]:
    yield from started(io_loop, settings, servers)


@pytest.fixture(scope="session")
def other_instance(io_loop: IOLoop, settings: Settings, servers: ServerUrls) -> Iterator[Instance]:
    """A second server on the same PostgreSQL and Redis."""
    yield from started(io_loop, settings, servers)


@pytest.fixture(autouse=True)
def clean(request: pytest.FixtureRequest) -> Iterator[None]:
    """Empty tables and limits after a test that used a server."""
    yield
    if "instance" not in request.fixturenames and "db" not in request.fixturenames:
        return
    instance: Instance = request.getfixturevalue("instance")
    io_loop: IOLoop = request.getfixturevalue("io_loop")

    async def empty() -> None:
        await instance.db.execute(EMPTY)
        await instance.redis.flushdb()

    io_loop.run_sync(empty)


@pytest.fixture
def db(instance: Instance) -> Database:
    return instance.db


@pytest.fixture
def api(instance: Instance) -> Api:
    """A client of the first instance. It checks every answer against the declaration of the endpoint."""
    return Api(instance)


@pytest.fixture
def other_api(other_instance: Instance) -> Api:
    return Api(other_instance)


@pytest.fixture
def people(instance: Instance) -> People:
    return People(instance)


@pytest.fixture
def mailbox(instance: Instance, db: Database) -> Mailbox:
    return Mailbox(instance.settings.data_dir / "mail", db)


@pytest.fixture
def limit(instance: Instance, monkeypatch: pytest.MonkeyPatch):
    """Switch a limit on for one test: `limit("limit_auth", Limit(5, 900))`."""
    return lambda name, value: monkeypatch.setattr(instance.settings, name, value)


@pytest.fixture
def apify(io_loop: IOLoop, instance: Instance, other_instance: Instance, monkeypatch) -> Iterator[Apify]:
    """A stand-in for Apify that both instances use."""
    with wire_apify(io_loop, [instance, other_instance], monkeypatch) as vendor:
        yield vendor


@pytest.fixture
def tiktok(io_loop: IOLoop, instance: Instance, other_instance: Instance, monkeypatch) -> Iterator[TikTok]:
    """A stand-in for TikTok that both instances use."""
    with wire_tiktok(io_loop, [instance, other_instance], monkeypatch) as vendor:
        yield vendor


# The longest modules, longest first, those of `make check` before those of `make test`. If one started last, its worker
# would work alone at the end of the run.
LONG_MODULES = (
    "deploy/test_install.py",
    "db/test_search_plans.py",
    "browser/test_pages.py",
    "server/test_makefile.py",
    "db/packaged/test_postgres_places.py",
    "guards/test_migrations.py",
    "db/test_database.py",
    "db/packaged/test_embedded.py",
    "db/packaged/test_system_user.py",
    "clients/test_python.py",
    "clients/test_conformance.py",
    "realtime/test_presence.py",
    "realtime/test_redis.py",
    "db/test_seed.py",
    "server/test_monitoring.py",
    "server/test_backup.py",
    "server/test_read_only.py",
    "jobs/test_outbox.py",
    "jobs/test_many.py",
    "server/test_drill.py",
    "server/test_demo_vendors.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Move the longest modules to the front; pytest-xdist hands modules out in this order."""
    order = {f"tests/{name}": place for place, name in enumerate(LONG_MODULES)}
    items.sort(key=lambda item: order.get(item.nodeid.split("::")[0], len(order)))


def pytest_collection_finish() -> None:
    """Keep the garbage collector, which each stop of an instance runs, from looking at thousands of tests."""
    gc.collect()
    gc.freeze()
