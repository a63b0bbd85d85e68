"""`make secrets`, `make psql`, and DATA_DIR in `make cluster`."""

import subprocess
import sys

import pytest

from db import libpq, psql
from db.libpq import MISSING
from deploy import cluster
from settings import load_settings
from tests.helpers.processes import ROOT
from tests.helpers.programs import needs_program

SECONDS = 60.0


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, text=True, timeout=SECONDS)


def test_new_secrets_are_settings_that_production_accepts(monkeypatch, tmp_path):
    printed = [run(sys.executable, "-I", "-S", "services/new_secrets.py").stdout for _ in range(2)]
    assert not set(printed[0].splitlines()) & set(printed[1].splitlines())
    found = dict(line.split("=", 1) for line in printed[0].splitlines())
    assert found["POSTGRES_PASSWORD"].isalnum() and found["REDIS_PASSWORD"].isalnum()
    for name in ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY"):
        monkeypatch.setenv(name, found[name])
    loaded = load_settings(data_dir=tmp_path)
    assert loaded.encryption_key.get_secret_value() == found["ENCRYPTION_KEY"]
    assert list(tmp_path.iterdir()) == []  # no secret had to be generated


@needs_program("psql", package="postgresql-client")
def test_psql_opens_the_database_of_the_settings(servers, tmp_path):
    given = {"PATH": "/usr/local/bin:/usr/bin:/bin", "DATABASE_URL": servers.database_url, "DATA_DIR": str(tmp_path)}
    given["DATABASE_URL"] += "&schema=public&connection_limit=5"  # as Prisma prints it; libpq knows neither parameter
    asked = run(sys.executable, "-m", "db.psql", "-Atc", "select count(*) > 10 from _yoyo_migration", **given)
    assert (asked.returncode, asked.stdout) == (0, "t\n"), asked.stderr


def test_a_program_that_is_missing_or_unknown(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert (psql.main([]), capsys.readouterr().err.strip()) == (1, MISSING.format("psql"))
    assert (libpq.main(["rm"]), capsys.readouterr().err.split(":")[0]) == (2, "Name a program")


def test_the_cluster_keeps_its_data_under_data_dir(monkeypatch, tmp_path):
    """The folder is set before anything starts; without nginx the runner ends after that."""
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    assert cluster.read_options([]).folder == tmp_path / "cluster"
    monkeypatch.delenv("DATA_DIR")
    monkeypatch.chdir(tmp_path)
    assert cluster.read_options([]).folder == ROOT / ".data" / "cluster"
    (tmp_path / ".env").write_text(f"DATA_DIR={tmp_path}/other\nPORT=4000\n")
    read = cluster.read_options([])
    assert (read.folder, read.port) == (tmp_path / "other" / "cluster", 4000)


@pytest.mark.parametrize("secrets", [{}, {"JWT_ACCESS_SECRET": "x" * 32, "JWT_REFRESH_SECRET": "y" * 32}])
@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"PORT": "abc"}, "PORT"),
        ({"PORT": "70000"}, "PORT"),
        ({"DATA_DIR": "/dev/null/encer"}, "DATA_DIR"),
    ],
)
def test_a_cluster_with_settings_that_cannot_work_ends_with_a_sentence(
    monkeypatch, capsys, tmp_path, given, name, secrets
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["cluster.py"])
    monkeypatch.setattr(cluster, "find_nginx", lambda: "nginx")
    monkeypatch.setenv("ENCRYPTION_KEY", "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=")
    for setting, value in {"DATA_DIR": str(tmp_path), **secrets, **given}.items():
        monkeypatch.setenv(setting, value)
    assert cluster.main() == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == "Invalid settings:" and second.startswith(name)
