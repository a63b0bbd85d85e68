"""`make secrets`, `make psql`, and DATA_DIR in `make cluster`."""

import re
import socket
import subprocess
import sys

import pytest

from db import libpq, psql
from db.libpq import MISSING
from db.packaged.programs import ServersError
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


def test_a_port_that_does_not_exist_ends_with_a_sentence():
    with pytest.raises(ServersError, match=r"^Port 65536 cannot be used \(.*65535\.\): choose PORT"):
        cluster.check_free(65536)


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_a_cluster_whose_ports_are_in_use_ends_with_a_sentence(monkeypatch, capsys, tmp_path, taken):
    monkeypatch.setattr(cluster, "find_nginx", lambda: "nginx")
    monkeypatch.setattr(cluster, "start_and_run", lambda *_: pytest.fail("it starts"))
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        monkeypatch.setattr(sys, "argv", ["cluster.py", "--port", str(number - taken)])
        assert cluster.main() == 1
    said = capsys.readouterr().err
    assert re.fullmatch(
        r"Port \d+ cannot be used \(Address already in use\): choose PORT=… so that .* are free\.\n", said
    )


def test_a_second_cluster_in_one_folder_ends_with_a_sentence(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(cluster, "find_nginx", lambda: "nginx")
    monkeypatch.setattr(cluster, "start_and_run", lambda *_: 0)
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(sys, "argv", ["cluster.py", "--port", "0"])
    assert cluster.main() == 0
    with cluster.only_cluster(tmp_path / "cluster"):
        assert cluster.main() == 1
    folder = tmp_path / "cluster"
    said = f"Another cluster uses {folder}: stop it, or choose another DATA_DIR and PORT.\n"
    assert capsys.readouterr().err == said
