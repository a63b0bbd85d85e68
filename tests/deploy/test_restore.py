"""deploy/restore, backup and restart end with a sentence that says what to do, and a failed restore replaces nothing.

tests/deploy/test_install.py restores a whole backup.
"""

import os
import shutil
import subprocess
import tarfile
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
        (folder / "deploy").mkdir()
        (folder / "sql").symlink_to(ROOT / "sql")
        for name in ("restore", "restart"):
            text = (ROOT / "deploy" / name).read_text()
            for old, new in moved.items():
                text = text.replace(old, str(new))
            self.write(folder / "deploy" / name, text)
        self.url = f"postgresql://beautiful-encer@/encer?host={self.sockets}"
        (folder / "env").write_text(f"DATABASE_URL={self.url}\n")
        (folder / "bin").mkdir()
        self.stand_in("id", "echo 0")
        self.stand_in("runuser", 'shift 3; exec "$@"')
        self.stand_in("systemctl", f'echo "$@" >>{self.calls}')

    def write(self, path: Path, text: str) -> None:
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o755)

    def stand_in(self, program: str, text: str) -> None:
        self.write(self.folder / "bin" / program, text)

    def backup(self, name: str, dump: bytes) -> Path:
        (self.backups / name).mkdir()
        (self.backups / name / "encer.dump").write_bytes(dump)
        return self.backups / name

    def start(self, script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        path = f"{self.folder / 'bin'}:{os.environ['PATH']}"
        variables = {"PATH": path, "PGHOST": self.sockets, "PGUSER": "encer"}
        command = [str(self.folder / "deploy" / script), *arguments]
        return subprocess.run(command, env=variables, capture_output=True, text=True, timeout=SECONDS)

    def run(self, script: str, *arguments: str) -> str:
        """Run a script that must fail, and return the last line that it prints."""
        ran = self.start(script, *arguments)
        assert (ran.returncode, ran.stdout) == (1, ""), ran.stderr
        assert not self.calls.exists(), "instances were stopped"
        assert list(self.data.iterdir()) == []
        self.printed = ran.stderr
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


def test_without_postgresql_it_says_that_nothing_was_replaced(machine: Machine):
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    for program in ("createdb", "dropdb"):
        machine.stand_in(program, "exit 1")
    assert machine.run("restore").startswith(f"{backup} was not restored, and nothing was replaced.")


def test_an_interrupted_restore_replaces_nothing(machine: Machine):
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    machine.stand_in("pg_restore", f"kill -INT $(cat {machine.folder}/pid)")
    machine.stand_in("runuser", f'echo $PPID >{machine.folder}/pid; shift 3; "$@"')
    assert machine.run("restore", str(backup)).startswith(f"{backup} was not restored, and nothing was replaced.")


def test_without_a_backup_it_says_which_argument_is_missing(machine: Machine):
    (machine.backups / "2026-11-01T013000.000Z.unfinished").mkdir()
    assert machine.run("restore") == f"There is no backup in {machine.backups}. Name the folder of one: restore FOLDER"
    line = machine.run("restore", str(machine.folder))
    assert line == f"{machine.folder} holds no encer.dump. Name the folder of a backup: restore FOLDER"


OTHER = "The backup has no migrations in the table _yoyo_migration, so it is not a database of Beautiful Encer."
LATER = "The backup has the migration 9999.later, which this release does not know."


@pytest.mark.parametrize(
    ("applied", "sentence"),
    [
        ("exit 1", OTHER),
        ("true", OTHER),
        ("echo 0001.functions; echo 9999.later", LATER),
    ],
)
def test_a_database_that_this_release_cannot_serve_replaces_nothing(machine: Machine, applied: str, sentence: str):
    machine.stand_in("pg_restore", "true")
    machine.stand_in("psql", applied)
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    assert machine.run("restore").startswith(f"{backup} was not restored, and nothing was replaced.")
    assert sentence in machine.printed


def test_a_restore_that_cannot_work_says_why_before_it_begins(machine: Machine):
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    (backup / "media.tar.gz").touch()
    for arguments in ([""], [str(backup), str(backup)]):
        assert machine.run("restore", *arguments).startswith("Usage: restore [FOLDER].")
    machine.stand_in("mountpoint", "true")
    assert machine.run("restore").startswith(f"{machine.data}/media is a mount point and cannot be replaced. ")
    (machine.folder / "env").write_text(f'DATABASE_URL="{machine.url}"\n')  # systemd reads it without the quotes
    assert machine.run("restore").startswith(f"{machine.data}/media is a mount point")
    (machine.folder / "env").unlink()
    assert machine.run("restore").startswith(f"{machine.folder}/env is missing. Install the saved settings")
    machine.stand_in("id", "echo 1000")
    assert machine.run("restore") == "Only root can restore. Run this again as root."


@pytest.mark.parametrize("media", ["folder", "link to nothing", None])
def test_a_restore_names_the_data_from_before_although_the_restart_fails(machine: Machine, media: str | None):
    backup = machine.backup("2026-11-01T013000.000Z", b"")
    for program in ("createdb", "pg_restore"):
        machine.stand_in(program, "true")
    machine.stand_in("psql", 'case "$*" in *_yoyo*) echo 0001.functions ;; *alter*from*) echo "alter …;" ;; esac')
    machine.stand_in("install", "shift 7; mkdir $1")
    if media:
        (machine.folder / "media").mkdir()
        subprocess.run(["tar", "-czf", backup / "media.tar.gz", "-C", machine.folder, "media"], check=True)
        (machine.folder / "media").rename(machine.data / "media")
    if media == "link to nothing":
        (machine.data / "media").rmdir()
        (machine.data / "media").symlink_to("/none")
    ran = machine.start("restore")  # no instance is enabled
    assert ran.returncode == 1
    assert ran.stderr.splitlines()[-1].startswith("The restore succeeded, and the lines above name the data")
    assert f"Restored: {backup}\n" in ran.stdout and "The database from before is encer_before_" in ran.stdout
    assert ("The pictures from before are in" in ran.stdout) == bool(media)
    assert ("The backup holds no pictures" in ran.stdout) != bool(media)
    assert len(list(machine.data.iterdir())) == (2 if media else 0)


def test_a_restart_without_instances_says_so(machine: Machine):
    assert machine.run("restart").startswith("No instance is enabled. Enable one: ")
    assert machine.run("restart", "beautiful-encer@3001").startswith("Usage: restart, without arguments.")


def back_up(variables: dict[str, str], *arguments: str, root: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [str(root / "deploy" / "backup"), *arguments]
    return subprocess.run(
        command, env={"PATH": os.environ["PATH"], **variables}, capture_output=True, text=True, timeout=SECONDS, cwd="/"
    )


@pytest.mark.parametrize(
    ("variables", "status", "end"),
    [
        ({}, 2, "DATA_DIR: Set it to the folder of the data, then run this again."),
        ({"DATA_DIR": "/"}, 1, "BACKUPS is not a folder: it is not set. Create the folder, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "/none"}, 1, "not a folder: /none. Create the folder, then run this again."),
        (
            {"DATA_DIR": "/none", "BACKUPS": "/"},
            1,
            "/none. Set it to the folder of the data, then run this again.",
        ),
        ({"DATA_DIR": "tmp", "BACKUPS": "/"}, 1, "this one is relative: tmp. Correct it, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "tmp"}, 1, "this one is relative: tmp. Correct it, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "/", "KEEP_DAYS": "-5"}, 1, "such as 30: -5. Correct it, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "/", "KEEP_DAYS": "0"}, 1, "such as 30: 0. Correct it, then run this again."),
        ({"DATA_DIR": "/", "BACKUPS": "/", "KEEP_DAYS": "1.5"}, 1, "such as 30: 1.5. Correct it, then run this again."),
    ],
)
def test_a_backup_without_folders_says_which_one_is_missing(variables: dict[str, str], status: int, end: str):
    ran = back_up(variables)
    assert (ran.returncode, ran.stdout) == (status, "")
    assert ran.stderr.strip().endswith(end)


def test_a_backup_takes_no_arguments():
    ran = back_up({}, "--help")
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith("Usage: backup, without arguments; ")


def test_a_backup_follows_a_link_and_ends_although_an_old_backup_stays(tmp_path: Path):
    for name in ("deploy", ".venv/bin", "bin", "data", "disk", "backups/2001-01-01T013000.000Z"):
        (tmp_path / name).mkdir(parents=True)
    os.utime(tmp_path / "backups" / "2001-01-01T013000.000Z", (0, 0))
    shutil.copy(ROOT / "deploy" / "backup", tmp_path / "deploy")
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/bin/true")
    (tmp_path / "bin" / "rm").write_text('#!/bin/sh\ncase "$*" in *2001*) exit 1 ;; esac\n')  # root may delete it
    (tmp_path / "bin" / "rm").chmod(0o755)
    (tmp_path / "data" / "media").symlink_to(tmp_path / "disk")
    variables = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "DATA_DIR": str(tmp_path / "data"),
        "BACKUPS": str(tmp_path / "backups"),
    }
    (tmp_path / "disk" / "a.png").write_bytes(b"picture")
    ran = back_up(variables, root=tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert "The new backup is complete, but an old one was not deleted" in ran.stderr
    assert (tmp_path / "data" / "last-backup").exists()
    made = Path(ran.stdout.removeprefix("Backup: ").strip())
    with tarfile.open(made / "media.tar.gz") as archive:
        assert archive.getnames() == ["media", "media/a.png"] and archive.getmember("media").isdir()
    shutil.rmtree(tmp_path / "disk")
    ran = back_up(variables, root=tmp_path)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "is a link to a folder that cannot be opened" in ran.stderr
