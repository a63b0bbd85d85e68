"""`make` sets up a machine: in a folder of any name, and again after an unfinished set-up."""

import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.packaged.places import packaged_folder, parts_of
from db.packaged.servers import free_port
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test
from tests.helpers.scratch import ODD, scratch_folder

LISTS = ("requirements.lock", "requirements-dev.lock")
SECONDS = 120.0


@pytest.fixture
def project() -> Iterator[Path]:
    """Create a folder with special characters in its name, with the Makefile and the lock files."""
    with scratch_folder() as folder:
        project = folder / ODD.replace('"', "")  # a quote would move PostgreSQL's programs
        project.mkdir()
        for name in ("Makefile", *LISTS):
            shutil.copy(ROOT / name, project)
        yield project


def write_program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def write_environment(project: Path, *lines: str) -> None:
    """Write a virtual environment in which everything is installed, and whose Python is a script."""
    write_program(project / ".venv" / "bin" / "python", *lines)
    for name in LISTS:
        shutil.copy(project / name, project / ".venv")


def variables(**more: str) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MAKE", "PYTHON", "DATABASE_", "REDIS_"))
    }
    return {**kept, **more}


def make(project: Path, target: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", target], cwd=project, env=variables(**more), capture_output=True, text=True, timeout=SECONDS
    )


@long_test()
def test_after_the_hint_to_install_venv_the_environment_is_made_again(project):
    for name in LISTS:
        (project / name).write_text("")
    python = shlex.quote(sys.executable)
    debian = write_program(  # without python3-venv: an environment without pip, a hint, an error
        project / "debian",
        f'[ "$2" = venv ] || exec {python} "$@"',
        f"{python} -m venv --without-pip .venv",
        "echo apt install python3-venv",
        "exit 1",
    )
    first = make(project, "runtime", PYTHON=str(debian))
    assert first.returncode != 0
    assert "apt install python3-venv\nThe virtual environment cannot be made. Follow the hint above" in first.stdout
    assert (project / ".venv" / "bin" / "python").exists()
    second = make(project, "runtime", PYTHON=sys.executable)
    assert second.returncode == 0, second.stderr
    assert (project / ".venv" / "requirements.lock").exists()
    assert make(project, "runtime", PYTHON="/bin/false").returncode == 0  # nothing is left to do


@pytest.mark.parametrize("state", ["pip is missing", "python is gone"])
def test_an_environment_that_does_not_work_is_made_again_with_its_packages(project, state):
    calls = project / "calls"
    working = project / "working"
    write_program(working, f"echo {state} >/dev/null", 'echo "$@" >>calls')
    if state == "pip is missing":
        write_environment(project, 'echo "No module named pip" >&2', "exit 1")
    else:
        write_environment(project)
        (project / ".venv" / "bin" / "python").unlink()
        (project / ".venv" / "bin" / "python").symlink_to("/nowhere/python3.11")
    new = write_program(
        project / "new",
        'echo "$@" >>calls',
        '[ "$2" != venv ] || { rm -rf .venv; mkdir -p .venv/bin; cp working .venv/bin/python; }',
    )
    made = make(project, "dev", PYTHON=str(new))
    assert made.returncode == 0, made.stderr
    lines = calls.read_text()
    assert (
        lines.index("-m venv --clear .venv") < lines.index("-r requirements.lock") < lines.index("-r requirements-dev")
    )


def test_an_installation_that_failed_is_repeated_and_one_that_succeeded_is_not(project):
    write_environment(project, '[ "$3" != install ] || { echo "$@" >>calls; test -e online; }')
    (project / "requirements.lock").write_text("# another version\n")
    failed = make(project, "runtime")
    assert failed.returncode != 0
    assert "about a minute, once" in failed.stdout  # printed before the wait
    assert failed.stdout.endswith("Check the network connection, then run this again.\n")
    (project / "online").touch()
    for _ in range(3):
        assert make(project, "runtime").returncode == 0
    assert len((project / "calls").read_text().splitlines()) == 2


def test_a_python_that_is_too_old_is_refused_with_a_sentence(project):
    old = write_program(project / "old", "exit 1")
    made = make(project, "run", PYTHON=str(old))
    assert made.returncode != 0
    assert "Python 3.11 or newer is needed. Install it, or name it" in made.stdout


# Not these: they set the machine up, or a program of the product prints the sentence (`make run`, `make cluster`).
OTHER_TARGETS = {"help", "venv", "runtime", "dev", "run", "cluster", "clean"}


def test_each_target_that_fails_ends_with_a_sentence_that_says_what_to_do(project):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert {"lint", "bench", "drills", "psql", "secrets", "check"} <= targets - OTHER_TARGETS
    write_environment(project, '[ "$1" = -c ] || { echo broken; exit 3; }')
    told = {}
    for target in sorted(targets - OTHER_TARGETS):
        made = make(project, target, PYTHON="/bin/false")
        assert made.returncode != 0, target
        told[target] = made.stdout.splitlines()[-1]
    assert {target for target, line in told.items() if not re.match(r"[A-Zp].{20,}", line)} == set(), told
    assert "run make bench again" in told["bench"]


def test_ctrl_c_needs_no_advice(project):
    write_environment(project, '[ "$1" = -c ] || exit 130')
    assert make(project, "bench").stdout == ""


def test_make_run_serves_from_a_folder_with_an_odd_name(project):
    for folder in ("db", "handlers", "jobs", "realtime", "services", "sql"):
        shutil.copytree(ROOT / folder, project / folder, ignore=shutil.ignore_patterns("*.pyc.*"))  # being written
    for file in ("server.py", "settings.py"):
        shutil.copy(ROOT / file, project)
    for part in parts_of(packaged_folder()):
        shutil.copytree(part, project / "packages" / part.name)
    write_environment(project, f'PYTHONPATH="$PWD/packages" exec {shlex.quote(sys.executable)} "$@"')
    port = free_port()
    server = subprocess.Popen(
        ["make", "run"],
        cwd=project,
        env=variables(PORT=str(port), HOME=str(project)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        assert server.stdout
        output = ""
        while "Stop with Ctrl-C" not in output:
            line = server.stdout.readline()
            output += line
            assert line, output
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=SECONDS) as answer:
            assert answer.status == 200
        started = (project / ".data" / "postgres" / "postmaster.opts").read_text()
        assert started.startswith(str(project / "packages"))
    finally:
        os.killpg(server.pid, signal.SIGINT)
        server.communicate(timeout=SECONDS)
    assert not (project / ".data" / "postgres" / "postmaster.pid").exists()
