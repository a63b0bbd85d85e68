"""The packaged PostgreSQL and Redis: one process owns them, others use them, and any end leaves a usable folder."""

import asyncio
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.migrate import migrate
from db.packaged import servers as embedded
from db.packaged.programs import ServersError, run_program
from db.packaged.servers import EmbeddedServers, ServerUrls, redis_answers
from db.pool import Database
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test
from tests.helpers.scratch import ODD, scratch_folder

SECONDS = 40.0
OWNER = """
import sys
from pathlib import Path
from db.packaged.servers import EmbeddedServers

servers = EmbeddedServers(Path(sys.argv[1]), "-c fsync=off")
try:
    servers.start()
    print("started", flush=True)
    sys.stdin.read()
finally:
    servers.stop()
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    with scratch_folder() as folder:
        yield folder


def own(folder: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-c", OWNER, str(folder)]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)


def started(owner: subprocess.Popen[bytes]) -> None:
    assert owner.stdout
    assert owner.stdout.readline() == b"started\n"


def answer(urls: ServerUrls) -> bool:
    with psycopg.connect(urls.database_url, connect_timeout=5) as conn:
        return conn.execute("select 1").fetchone() == (1,) and redis_answers(urls.redis_url)


def test_the_servers_are_found_by_others_and_outlive_a_killed_owner(folder):
    owner = own(folder)
    started(owner)
    guest = EmbeddedServers(folder)
    urls = guest.start()
    assert answer(urls)
    guest.stop()
    assert answer(urls)  # only the owner stops them
    owner.kill()
    owner.wait()
    heir = EmbeddedServers(folder)
    assert heir.start() == urls  # the same servers
    heir.stop()
    with pytest.raises(psycopg.OperationalError):
        answer(urls)
    assert not redis_answers(urls.redis_url)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("postgres.draft", marks=long_test()),
        "postgres/postmaster.pid",
        pytest.param("redis.conf", marks=long_test()),
    ],
)
def test_an_interrupted_start_does_not_prevent_a_later_one(folder, moment):
    owner = own(folder)
    deadline = time.monotonic() + SECONDS
    while not (folder / moment).exists():
        assert time.monotonic() < deadline
        time.sleep(0.002)
    owner.send_signal(signal.SIGINT)
    owner.communicate(timeout=SECONDS)
    assert not (folder / "postgres" / "postmaster.pid").exists()
    again = EmbeddedServers(folder, "-c fsync=off")
    urls = again.start()
    assert answer(urls)
    again.stop()


@pytest.mark.parametrize("name", [pytest.param(ODD, marks=long_test()), "$HOME`id`\\ \t!*?{x}"])
async def test_data_may_be_in_a_folder_of_any_name(folder, name):
    servers = EmbeddedServers(folder / name, "-c fsync=off")
    try:
        urls = servers.start()
        assert answer(urls)
        assert await asyncio.to_thread(migrate, urls.database_url) > 0
        database = await Database.connect(urls.database_url, 2)
        assert await database.fetchval("select count(*) from users") == 0
        await database.close()
    finally:
        servers.stop()
    assert [path.name for path in folder.iterdir()] == [name]


def test_the_error_contains_the_output_of_a_failing_program(folder, monkeypatch):
    with pytest.raises(ServersError, match=r"sh failed with status 3:\nwhy"):
        run_program("sh", "-c", "echo why >&2; exit 3", timeout=SECONDS)
    servers = EmbeddedServers(folder, "-c no_such_setting=on")
    with pytest.raises(ServersError, match=r"initdb failed with status 1:\n(?s:.*)could not access directory"):
        servers.run("initdb", "-D", "/dev/null/x")
    try:
        with pytest.raises(ServersError, match='unrecognized configuration parameter "no_such_setting"'):
            servers.start()
    finally:
        servers.stop()
    monkeypatch.setattr(embedded, "redis_binary", lambda: "/bin/false")
    with pytest.raises(ServersError, match="false failed with status 1:\nIt printed nothing"):
        servers.start_redis()


def test_the_error_names_a_program_that_does_not_start_or_end():
    with pytest.raises(ServersError, match=r"no-such-program cannot be started: .*No such file"):
        run_program("no-such-program", timeout=SECONDS)
    with pytest.raises(ServersError, match="sleep has not ended within 0 seconds"):
        run_program("sleep", "60", timeout=0.01)
