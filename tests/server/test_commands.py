"""The command-line programs: their output may be closed early, and the commands in it run as printed."""

import asyncio
import os
import re
import shlex
import signal
import subprocess
import sys
from unittest.mock import Mock

import pytest

from db.packaged.programs import ServersError
from db.seed.__main__ import SHOWN
from deploy import cluster
from services.commands import program
from settings import SettingsError
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test

SECONDS = 120.0
ADMIN = {"ADMIN_EMAIL": "boss@example.com", "ADMIN_PASSWORD": "correct horse battery"}
COUNT_ADMINS = "select count(*) from users where role = 'ADMIN'"
COUNT_USERS = "select count(*) from users"
# Commands in texts: modules that are run, and targets of make.
MODULE = re.compile(r"(\S*)\bpython3? -m ((?:db|bench|tests|handlers|examples)[\w.]*)")
TARGET = re.compile(r"(?:`|^\s+|: )make ([a-z]+[a-z-]*)(?=[`\s])", re.MULTILINE)


@pytest.fixture
def run(servers, tmp_path):
    """Run a command as a user pastes it: in a shell, in the project's folder."""

    def start(command: str, output: int) -> subprocess.CompletedProcess[str]:
        environment = {
            **os.environ,
            "APP_ENV": "development",
            "DATABASE_URL": servers.database_url,
            "DATA_DIR": str(tmp_path),
            "PASSWORD_COST": "4",
            **ADMIN,
        }
        return subprocess.run(
            command,
            shell=True,
            cwd=ROOT,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            timeout=SECONDS,
        )

    async def run(command: str, output: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
        return await asyncio.to_thread(start, command, output)

    return run


LONGER = [pytest.param(module, marks=long_test()) for module in ("handlers", "db.migrate", "db.rotate_keys", "db.seed")]


@pytest.mark.parametrize("module", ["db.create_admin", *LONGER])
async def test_a_program_does_its_work_if_its_output_is_closed(run, db, module):
    reader, writer = os.pipe()
    os.close(reader)  # as `| head` closes it after ten lines
    ended = await run(f"exec {shlex.quote(sys.executable)} -m {module}", writer)
    os.close(writer)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert await db.fetchval(COUNT_ADMINS) == (module == "db.create_admin")
    assert (await db.fetchval(COUNT_USERS) > 2 * SHOWN) == (module == "db.seed")


@long_test()
async def test_the_command_that_seed_prints_makes_an_admin(run, db):
    seeded = await run(f"{shlex.quote(sys.executable)} -m db.seed")
    [command] = re.findall(r"To create an admin: (.+)", seeded.stdout)
    made = await run(command)
    assert (made.returncode, made.stdout) == (0, "boss@example.com is an admin now and can sign in\n")
    assert await db.fetchval(COUNT_ADMINS) == 1


@pytest.mark.parametrize("module", [pytest.param("db.seed", marks=long_test()), "db.create_admin"])
async def test_the_usage_that_a_program_prints_runs(run, module):
    shown = await run(f"{shlex.quote(sys.executable)} -m {module} --help")
    command = shown.stdout.removeprefix("usage: ").partition(" [")[0]
    assert (await run(f"{command} --help")).stdout == shown.stdout


def test_the_command_that_the_cluster_prints_restarts_it(tmp_path, capsys):
    asked: list[int] = []
    received: list[str] = []

    def restart_dead() -> list[int]:
        if not received:
            received.append(capsys.readouterr().out)
            [command] = re.findall(r"A rolling restart: (kill -HUP \d+)", received[0])
            assert subprocess.run(command, shell=True, timeout=SECONDS).returncode == 0
        return []

    roll = Mock(side_effect=lambda: asked.append(signal.SIGTERM))
    stand_in = Mock(instances=[], port=1, folder=tmp_path, restart_dead=restart_dead, roll=roll)
    before = signal.signal(signal.SIGHUP, lambda number, _: asked.append(number))
    try:
        cluster.run(stand_in, asked)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert "Done." in capsys.readouterr().out


def texts() -> list[str]:
    """Return all texts for people: sources, whose docstrings --help prints, documentation, settings."""
    kinds = ("server.py", "settings.py", "README.md", "docs/*.md", "deploy/*", ".env.example")
    folders = ("db", "services", "realtime", "handlers", "jobs", "examples", "bench", "tests/drills", "tests/vendors")
    files = [file for kind in kinds for file in ROOT.glob(kind) if file.is_file()]
    return [
        file.read_text() for file in (*files, *(file for folder in folders for file in (ROOT / folder).rglob("*.py")))
    ]


def test_commands_in_texts_name_the_python_that_has_the_packages_and_a_module_that_exists():
    found = {match for text in texts() for match in MODULE.findall(text)}
    assert {python for python, _ in found if not python.endswith(".venv/bin/")} == set()
    assert len(found) > 5
    for _, module in found:
        path = ROOT / module.rstrip(".").replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__main__.py").exists(), module


def test_commands_in_texts_name_targets_of_make():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    found = {target for text in texts() for target in TARGET.findall(text)}
    assert {"run", "test", "seed", "cluster"} <= found <= targets
    for target in found:
        dry = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True, timeout=SECONDS)
        assert dry.returncode == 0, dry.stderr


@pytest.mark.parametrize(
    ("error", "code", "received"),
    [
        (SettingsError("PORT: must be a number"), 2, "Invalid settings:\nPORT: must be a number\n"),
        (ServersError("PostgreSQL is not packaged."), 1, "PostgreSQL is not packaged.\n"),
        (ConnectionRefusedError(111, "secret"), 1, "The database does not answer: Connection refused. Start the d"),
    ],
)
def test_a_program_that_cannot_work_ends_with_a_sentence(capsys, error, code, received):
    @program
    def main() -> int:
        raise error

    assert main() == code
    assert capsys.readouterr().err.startswith(received)
