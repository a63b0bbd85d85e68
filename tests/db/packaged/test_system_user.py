"""The system user of the packaged PostgreSQL, on machines that do not have it yet."""

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from db.packaged import system_user
from db.packaged.programs import ServersError
from tests.helpers.processes import ROOT
from tests.helpers.programs import find_program, long_test, needs_namespace

SECONDS = 120.0
FIRST_STARTS = """
import json, multiprocessing, sys
from pathlib import Path
from db.packaged.servers import EmbeddedServers

fork = multiprocessing.get_context("fork")
barrier = fork.Barrier(3)

def start(folder):
    servers = EmbeddedServers(folder, "-c fsync=off")
    barrier.wait(30)
    servers.start()
    servers.stop()

folders = [Path(sys.argv[1], name) for name in "abc"]
processes = [fork.Process(target=start, args=(folder,)) for folder in folders]
for process in processes:
    process.start()
for process in processes:
    process.join()
codes = [process.exitcode for process in processes]
print(json.dumps([codes, [(folder / "postgres").stat().st_uid for folder in folders]]))
"""


def write_program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


@long_test()
@needs_namespace()
def test_concurrent_first_starts_create_the_user_once(tmp_path):
    calls = tmp_path / "calls"
    write_program(tmp_path / "bin" / "useradd", f'echo "$@" >> {calls}', f'exec {find_program("useradd")} "$@"')
    (tmp_path / "data").mkdir()
    command = ["unshare", "-m", str(ROOT / ".ci" / "bare"), str(tmp_path / "machine")]
    starts = subprocess.run(
        [*command, sys.executable, "-c", FIRST_STARTS, str(tmp_path / "data")],
        cwd=ROOT,
        capture_output=True,
        env={**os.environ, "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"},
        text=True,
        timeout=SECONDS,
    )
    assert starts.returncode == 0, starts.stderr
    codes, owners = json.loads(starts.stdout)
    assert codes == [0, 0, 0], starts.stderr
    assert len(calls.read_text().splitlines()) == 1
    assert len(set(owners)) == 1


def test_a_new_user_is_used_once_it_can_be_looked_up(tmp_path, monkeypatch):
    write_program(tmp_path / "bin" / "useradd")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    user = pwd.getpwuid(os.getuid())
    answers = [None, None, user]
    monkeypatch.setattr(system_user, "find_user", lambda: answers.pop(0))
    assert system_user.add_user() == user
    monkeypatch.setattr(system_user, "find_user", lambda: None)
    monkeypatch.setattr(system_user, "LOOKUP_SECONDS", 0)
    with pytest.raises(ServersError, match=r"cannot be looked up\. Run this command as an ordinary user"):
        system_user.add_user()


def test_the_error_says_why_the_user_cannot_be_created(tmp_path, monkeypatch):
    write_program(tmp_path / "bin" / "useradd", "echo the disk is full >&2", "exit 10")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    with pytest.raises(ServersError, match=r"(?s)the disk is full.*Run this command as an ordinary user"):
        system_user.add_user()
