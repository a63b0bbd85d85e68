"""A start waits for its database, and if it fails, gives the reason in one sentence."""

import asyncio
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import asyncpg
import pytest

from db.connect import CannotConnect, wait_for_database
from db.packaged.servers import free_port
from server import CannotListen, Instance, print_welcome
from settings import load_settings
from tests.drills.proxy import TcpProxy
from tests.helpers.processes import ROOT, ServerProcess

SECONDS = 60.0
SECRET = "verysecret"


def socket_of(servers) -> Path:
    return Path(servers.database_url.partition("host=")[2])


def test_a_database_that_starts_later_is_waited_for(servers, data_dir, tmp_path):
    folder = tmp_path / "later"
    server = ServerProcess(servers, data_dir, DATABASE_URL=f"postgresql://encer@/encer?host={folder}", LOG_LEVEL="INFO")
    output = b""
    assert server.process.stdout
    try:
        while b"waiting for the database" not in output:
            line = server.process.stdout.readline()
            assert line, output.decode()
            output += line
        folder.symlink_to(socket_of(servers))
        server.wait_until_it_listens()
        mapped = Path(f"/proc/{server.process.pid}/maps")  # on Linux
        # 10 MB with PyJWT; the first token loads them
        assert not mapped.exists() or "/cryptography/" not in mapped.read_text()
    finally:
        server.kill()
        server.process.stdout.close()


def ended_start(servers, data_dir, **variables: str) -> tuple[int, str]:
    server = ServerProcess(servers, data_dir, **variables)
    try:
        output, _ = server.process.communicate(timeout=SECONDS)
    finally:
        server.kill()
    return server.process.returncode, output.decode()


def test_a_database_that_refuses_ends_the_start_in_one_sentence(servers, data_dir):
    url = f"postgresql://encer:{SECRET}@/nothing?host={socket_of(servers)}"
    code, output = ended_start(servers, data_dir, DATABASE_URL=url)
    assert (code, output) == (
        1,
        "The database refuses the connection: it has no database of this name. Check DATABASE_URL.\n",
    )


async def test_the_wait_for_a_missing_database_ends():
    url = f"postgresql://encer:{SECRET}@127.0.0.1:{free_port()}/encer"
    with pytest.raises(CannotConnect) as ended:
        await wait_for_database(url, asyncio.Event(), seconds=0.1)
    assert str(ended.value) == (
        "The database does not answer: Connection refused. The server has waited 0.1 seconds for it. "
        "Check DATABASE_URL and whether PostgreSQL runs."
    )


async def test_a_silent_database_ends_the_wait_too():
    silent = await TcpProxy(("127.0.0.1", 1)).start()
    silent.freeze()
    url = f"postgresql://encer:{SECRET}@127.0.0.1:{silent.port}/encer?connect_timeout=1&sslmode=disable"
    with pytest.raises(CannotConnect, match=r"^The database does not answer: ") as ended:
        await wait_for_database(url, asyncio.Event(), seconds=0.1)
    assert SECRET not in str(ended.value)
    await silent.stop()


async def test_a_stop_ends_the_wait():
    stopping = asyncio.Event()
    url = f"postgresql://encer@127.0.0.1:{free_port()}/encer"
    waiting = asyncio.create_task(wait_for_database(url, stopping))
    await asyncio.sleep(0)
    stopping.set()
    await waiting


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({"HOST": "192.0.2.1"}, "The server cannot listen on HOST and PORT: "),
        ({"HOST": "no-such-host.invalid"}, "The server cannot listen on HOST and PORT: "),
    ],
)
def test_an_address_of_another_machine_is_reported_in_one_sentence(servers, data_dir, variables, sentence):
    code, output = ended_start(servers, data_dir, **variables)
    assert (code, output.startswith(sentence), output.count("\n")) == (1, True, 1), output


async def test_a_start_that_fails_half_way_closes_what_it_has_opened(servers, settings, db, monkeypatch):
    def fails(*_: object) -> None:
        raise RuntimeError("the last part does not start")

    monkeypatch.setattr("server.JobLoop.start", fails)
    instance = Instance(settings, servers)
    with pytest.raises(RuntimeError, match="the last part"):
        await instance.start()
    running = [*instance.outbox.workers, instance.realtime.session_watch.running]
    assert len(running) > 1 and all(task and task.done() for task in running)
    with pytest.raises(asyncpg.InterfaceError, match="closed"):
        await instance.db.pool.fetchval("select 1")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", instance.port)


async def test_a_port_that_is_taken_ends_the_start_before_anything_else(servers, settings, instance):
    other = Instance(settings.model_copy(update={"port": instance.port}), servers)
    with pytest.raises(CannotListen, match=f"Port {instance.port} is in use; choose another one with PORT=…"):
        await other.start()
    assert not hasattr(other, "redis")


@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_a_server_on_ipv6_says_where_it_listens(settings, host, capsys):
    """The test does not listen, because some machines have no IPv6."""
    given = load_settings(host=host, data_dir=settings.data_dir)
    instance = Mock(settings=given, port=3001, sender=Mock(destination="nowhere"))
    print_welcome(instance, embedded=False)
    shown = capsys.readouterr().out
    assert "Beautiful Encer listens on http://[::1]:3001\n" in shown
    assert "http://[::1]:3001/docs/realtime" in shown
    assert "make seed" in shown


def test_every_fault_of_a_start_is_named_at_once(tmp_path):
    """This includes faults that upper layers check: the first admin, mails, files."""
    given = {
        "APP_ENV": "production",
        "DATABASE_URL": f"postgresql://u:{SECRET}#@h/db",
        "ADMIN_PASSWORD": "short",
        "EMAIL_FROM": "Encer",
        "CLOUDINARY_API_KEY": "x",
        "SCRAPE_TIMEOUT": "100",
        "PUBLIC_URL": "a.com/",
        "LOG_FORMAT": "console",
    }
    ended = subprocess.run(
        [sys.executable, str(ROOT / "server.py")],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", **given},
        capture_output=True,
        text=True,
        timeout=SECONDS,
    )
    assert (ended.returncode, ended.stdout) == (2, "")
    heading, *faults = ended.stderr.splitlines()
    assert heading == "Invalid settings:"
    assert {fault.partition(":")[0] for fault in faults} == {
        "DATABASE_URL", "REDIS_URL", "PUBLIC_URL", "FRONTEND_URL", "JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET",
        "ENCRYPTION_KEY", "ADMIN_EMAIL", "ADMIN_PASSWORD", "EMAIL_FROM", "EMAIL_SENDER", "CLOUDINARY_CLOUD_NAME",
        "CLOUDINARY_API_SECRET", "SCRAPE_TIMEOUT",
    }  # fmt: skip
    assert SECRET not in ended.stderr


def test_a_malformed_variable_of_a_vendor_stops_nothing():
    """Cloudinary's SDK reads CLOUDINARY_URL on import; the server does not use it."""
    given = {"PATH": "/usr/bin:/bin", "CLOUDINARY_URL": "https://key:x@cloud"}
    command = [sys.executable, "-c", "import services.files.media"]
    ended = subprocess.run(command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=SECONDS)
    assert (ended.returncode, ended.stderr) == (0, "")
