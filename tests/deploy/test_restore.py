"""deploy/restore, backup and restart end with a sentence that says what to do, and a failed restore replaces nothing.

tests/deploy/test_install.py restores a whole backup.
"""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.packaged.servers import ServerUrls
from tests.helpers.processes import ROOT
from tests.helpers.programs import needs_program

pytestmark = needs_program("pg_restore", package="postgresql-client")

SECONDS = 60.0
LIST_DATABASES = "select datname, oid from pg_database order by datname"
DAMAGED = {
    "empty": b"",
    "no dump": b"<html>",
    "cut off": b"PGDMP\1\16\0\4\10\1",
}


class Machine:
    """Copies of the scripts that use other folders; stand-ins for the programs that only root may run."""

    def __init__(self, folder: Path, servers: ServerUrls) -> None:
        self.folder = folder
        self.sockets = servers.database_url.partition("host=")[2]
        self.backups, self.data, self.calls = folder / "backups", folder / "data", folder / "calls"
        self.backups.mkdir()
        self.data.mkdir()
        moved = {
            "/var/backups/beautiful-encer": self.backups,
            "/var/lib/beautiful-encer": self.data,
            "/etc/beautiful-encer.env": folder / "env",
            "/etc/systemd/system/multi-user.target.wants": folder / "wants",
            "/run/postgresql": self.sockets,
        }
        for name in ("restore", "restart"):
            text = (ROOT / "deploy" / name).read_text()
            for old, new in moved.items():
                text = text.replace(old, str(new))
            self.write(folder / name, text)
        (folder / "env").write_text(f"DATABASE_URL=postgresql://beautiful-encer@/encer?host={self.sockets}\n")
        (folder / "bin").mkdir()
        self.write(folder / "bin" / "runuser", 'shift 3; exec "$@"')
        self.write(folder / "bin" / "systemctl", f'echo "$@" >>{self.calls}')

    def write(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def backup(self, name: str, dump: bytes) -> Path:
        (self.backups / name).mkdir()
        (self.backups / name / "encer.dump").write_bytes(dump)
        return self.backups / name

    def run(self, script: str, *arguments: str) -> str:
        """Run a script that must fail, and return the last line that it prints."""
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        variables = {"PATH": path, "PGHOST": self.sockets, "PGUSER": "encer"}
        command = [str(self.folder / script), *arguments]
        ran = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS)
        assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
        assert not self.calls.exists(), "instances were stopped"
        assert list(self.data.iterdir()) == []
        return ran.stderr.splitlines()[-1]


@pytest.fixture
def machine(servers: ServerUrls, tmp_path: Path) -> Iterator[Machine]:
    """Yield a machine whose databases must be the same at the end."""
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        before = conn.execute(LIST_DATABASES).fetchall()
        conn.execute('create role "beautiful-encer"')
        yield Machine(tmp_path, servers)
        assert conn.execute(LIST_DATABASES).fetchall() == before
        conn.execute('drop role "beautiful-encer"')


@pytest.mark.parametrize("dump", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_backup_replaces_nothing(machine: Machine, dump: bytes):
    machine.backup("2026-11-01T013000.000Z", b"")
    newest = machine.backup("2026-11-02T013000.000Z", dump)
    line = machine.run("restore")  # without an argument: the newest one
    assert line.startswith(f"{newest} was not restored, and nothing was replaced. Correct the error above, or name an")


def test_an_interrupted_restore_replaces_nothing(machine: Machine):
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    machine.write(machine.folder / "bin" / "pg_restore", f"kill -INT $(cat {machine.folder}/pid)")
    machine.write(machine.folder / "bin" / "runuser", f'echo $PPID >{machine.folder}/pid; shift 3; "$@"')
    assert machine.run("restore", str(backup)).startswith(f"{backup} was not restored, and nothing was replaced.")


def test_without_a_backup_it_says_which_argument_is_missing(machine: Machine):
    (machine.backups / "2026-11-01T013000.000Z.unfinished").mkdir()
    assert machine.run("restore") == f"There is no backup in {machine.backups}. Name the folder of one: restore FOLDER"
    line = machine.run("restore", str(machine.folder))
    assert line == f"{machine.folder} holds no encer.dump. Name the folder of a backup: restore FOLDER"


def test_a_restart_without_instances_says_so(machine: Machine):
    assert machine.run("restart").startswith("No instance is enabled. Enable one: ")


@pytest.mark.parametrize(
    ("variables", "status", "end"),
    [
        ({}, 2, "DATA_DIR: Set it to the folder of the data, then run this again."),
        ({"DATA_DIR": "/"}, 1, "BACKUPS is not a folder: it is not set. Create the folder, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "/none"}, 1, "not a folder: /none. Create the folder, then run this again."),
    ],
)
def test_a_backup_without_folders_says_which_one_is_missing(variables: dict[str, str], status: int, end: str):
    command = [ROOT / "deploy" / "backup"]
    ran = subprocess.run(
        command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=SECONDS
    )
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.strip().endswith(end)
