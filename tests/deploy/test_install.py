"""deploy/install.md: its blocks run on a Debian machine without a network, which then serves, monitors and backs up.

Then the blocks of the runbook run there: it returns to the older release, loses all data and restores them.
"""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from settings import VERSION
from tests.helpers.machine import Machine, running_machine
from tests.helpers.processes import ROOT
from tests.helpers.programs import needs_machine, needs_program
from tests.helpers.servers.tls import Authority

PAGE = (ROOT / "deploy" / "install.md").read_text()
OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
NEXT = "0.3.0"  # the newer release of the page
DOMAIN, PASSWORD = "api.example.com", "correct horse battery"
CERTIFICATE = (
    f"install -D /mnt/share/{DOMAIN}.pem /etc/letsencrypt/live/{DOMAIN}/fullchain.pem\n"
    f"install -D /mnt/share/{DOMAIN}.pem /etc/letsencrypt/live/{DOMAIN}/privkey.pem\n"
)
# The only blocks that do not run, and what the test does instead.
NOT_RUN = {
    "apt-get update": ("not run: needs Debian's package servers", ""),
    "certbot certonly": (
        "not run: needs a certificate authority on the internet; the test stores a certificate of its own",
        CERTIFICATE,
    ),
}
PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
TOKEN = f"""
api=https://{DOMAIN}/api/v1 json='Content-Type: application/json'
token() {{
  curl -fsS $api/auth/login -H "$json" -d "$1" |
    python3 -c 'import json, sys; print(json.load(sys.stdin)["accessToken"])'
}}
"""
SIGN_UP = f"""{TOKEN}
curl -fsS $api/auth/signup/salon -H "$json" \\
  -d '{{"name":"Salon","email":"salon@example.com","password":"tea and biscuits","termsAccepted":true}}'
encer db.psql -qc "update users set email_verified_at = now() where email = 'salon@example.com'"
salon=$(token '{{"email":"salon@example.com","password":"tea and biscuits"}}')
echo {PICTURE} | base64 -d > picture.png
curl -fsS $api/onboarding/salon -H "Authorization: Bearer $salon" -F businessName=Salon -F description=Nice \\
  -F preferredCategories=beauty -F profilePic=@picture.png > onboarded
"""
ASK = f"""{TOKEN}
url=$(python3 -c 'import json; print(json.load(open("onboarded"))["salon"]["profilePic"])')
curl -fsS "$url" --output shown.png
head -c 4 shown.png | tail -c 3; echo
admin=$(token '{{"email":"operator@example.com","password":"{PASSWORD}"}}')
curl -fsS $api/admin/dashboard/stats -H "Authorization: Bearer $admin"
"""


# Values of a person, for those of the page.
ODD_VALUES = {"SMTP_USER='encer'": "SMTP_USER='the mailer'", "'change-me'": "'change; me & #1'"}


class Block(NamedTuple):
    reason: str  # why this test does not run it; empty if it does
    lines: str


def blocks_of(page: str) -> list[Block]:
    return [
        Block(*found)
        for found in re.findall(r"(?:<!-- (not run: .*?|run: .*?) -->\n)?```sh\n(.*?)```", page, re.DOTALL)
    ]


BLOCKS = blocks_of(PAGE)


def standing_in(block: Block) -> str:
    return next(instead for start, (_, instead) in NOT_RUN.items() if block.lines.startswith(start))


def test_the_page_says_which_blocks_are_not_run():
    assert {block.reason for block in BLOCKS if block.reason} == {reason for reason, _ in NOT_RUN.values()}
    assert all(standing_in(block) is not None for block in BLOCKS if block.reason)
    assert len(BLOCKS) > 12
    assert PAGE.count("```") == 2 * len(BLOCKS), "a block has another language than sh"


def test_ci_installs_the_packages_of_the_page():
    [line] = re.findall(r"^packages=\((.*)\)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
    [named] = [block.lines for block in BLOCKS if block.lines.startswith("apt-get install")]
    wanted = set(re.findall(r"[a-z][a-z0-9-]+", named.partition("--no-install-recommends")[2]))
    assert {"postgresql", "redis-server", "certbot"} <= wanted
    # On each Debian machine that can check out and run the sources.
    assert wanted - {"make", "python3", "curl", "ca-certificates"} <= set(line.split())


@needs_program("systemd-analyze", package="systemd")
@pytest.mark.parametrize("unit", sorted(path.name for path in (ROOT / "deploy").glob("*.service")))
def test_units_leave_little_exposed(unit):
    """0 is nothing, 100 is a service without any bounds, whose level is 96."""
    rated = subprocess.run(
        ["systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=20", str(ROOT / "deploy" / unit)],
        capture_output=True,
        text=True,
    )
    assert rated.returncode == 0, rated.stdout + rated.stderr


def make_release(folder: Path, release: str, **migrations: str) -> None:
    """Write the file that the page expects, with more migrations. Its packages are installed already, as `make runtime`
    finds out."""
    name = f"beautiful-encer-{release}"
    environment = folder / ".venv"
    shutil.rmtree(environment, ignore_errors=True)
    library = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    library.mkdir(parents=True)
    (library / "site-packages").symlink_to("/usr/local/lib/encer-packages")
    (environment / "bin").mkdir()
    (environment / "bin" / "python").symlink_to(f"/usr/local/lib/encer-python/bin/{library.name}")
    (environment / "pyvenv.cfg").write_text("home = /usr/local/lib/encer-python/bin\n")
    shutil.copy(ROOT / "requirements.lock", environment)
    (folder / "sql").mkdir(exist_ok=True)
    for file, text in migrations.items():
        (folder / "sql" / f"9999.{file}.sql").write_text(text)
    sources = [path.name for path in ROOT.iterdir() if path.name in SOURCES]
    subprocess.run(
        ["tar", "-czf", str(folder / f"{name}.tar.gz"), "--exclude=__pycache__", f"--transform=s,^,{name}/,S",
         "-C", str(ROOT), *sources, "-C", str(folder), ".venv", "sql"],
        check=True,
    )  # fmt: skip


SOURCES = {
    "Makefile", "requirements.lock", "requirements-dev.lock", "server.py", "settings.py", "db", "deploy", "docs",
    "handlers", "jobs", "realtime", "services", "sql",
}  # fmt: skip


NEWER = {
    "colours": "create table colours (name text);",
    "colours.rollback": "-- Loses no data\ndrop table colours;",
}
# The number of rows and a checksum of each table; the instances change the other two at any time.
FINGERPRINT = """
    select format(
        'select %L, count(*), md5(string_agg(t::text, chr(10) order by t::text)) from %I t', tablename, tablename)
    from pg_tables where schemaname = 'public' and tablename not in ('email_outbox', 'job_runs') order by 1 \\gexec
"""


@pytest.fixture(scope="module")
def machine() -> Iterator[Machine]:
    """A bare machine with two releases in root's home folder, and a certificate authority that it trusts."""
    with running_machine() as machine:
        authority = Authority(machine.share)
        authority.server(DOMAIN)
        make_release(machine.share, VERSION)
        make_release(machine.share, NEXT, **NEWER)
        (machine.share / "fingerprint.sql").write_text(FINGERPRINT)
        machine.run(
            f"""
            echo /usr/local/lib/encer-python/lib > /etc/ld.so.conf.d/0.conf; ldconfig
            cp /mnt/share/*.tar.gz /root/
            rm -rf /var/lib/apt/lists/*  # apt then knows no newer versions that it would have to fetch
            cat /mnt/share/root.pem >> /etc/ssl/certs/ca-certificates.crt
            echo 127.0.0.1 {DOMAIN} >> /etc/hosts
            """
        )
        yield machine


@needs_machine(
    "redis-server", "certbot", "prometheus-alertmanager", "prometheus", "nginx", "postgresql", "python3-venv"
)
def test_a_person_who_has_only_the_page_gets_to_a_running_monitored_backed_up_server(machine):
    session = "\n".join(standing_in(block) if block.reason else block.lines for block in BLOCKS)
    for printed, typed in ODD_VALUES.items():
        assert session.count(printed) == 1
        session = session.replace(printed, typed)
    answers = {"Password: ": PASSWORD, "Password again: ": PASSWORD}
    status, printed = machine.type_at_terminal(session, answers)
    assert status == 0, printed + machine.run("journalctl --no-pager -p warning -n 50")
    assert '"status":"ok"' in printed
    assert f"308 https://{DOMAIN}/health" in printed
    assert "640 root:beautiful-encer /etc/beautiful-encer.env" in printed
    loaded = machine.run('. /etc/beautiful-encer.env; echo "$EMAIL_USER|$EMAIL_PASS"')
    assert loaded == "the mailer|change; me & #1\n"
    # The instances, and everything around them.
    failed = machine.run("systemctl --failed --no-legend --no-pager")
    assert failed == ""
    assert machine.run(WARNINGS) == ""
    lines = machine.run("journalctl --no-pager -o cat -u 'beautiful-encer@*' | grep '^{'").splitlines()
    logged = [json.loads(line) for line in lines]
    assert {"stopping", "stopped"} <= {line["event"] for line in logged}
    assert [line for line in logged if line["level"] not in ("info", "debug")] == []
    assert machine.run("readlink -f /proc/$(systemctl show -p MainPID --value beautiful-encer@3001)/cwd").endswith(
        f"{NEXT}\n"
    )
    # Only nginx is reachable from outside.
    public = {
        line for line in machine.run("ss -Hltn | awk '{print $4}'").split() if not line.startswith(("127.", "[::1]"))
    }
    assert {address.rpartition(":")[2] for address in public} == {"80", "443"}
    # The confined instance serves, sends pictures through its worker process, and knows the admin.
    answered = machine.run(f"cd /tmp\n{SIGN_UP}\n{ASK}")
    assert "PNG" in answered and '"users"' in answered
    prometheus = "http://127.0.0.1:9090/api/v1"
    has_scraped_all = f"curl -fsS '{prometheus}/query?query=sum(up)' | grep -q '\"3\"'"
    machine.run(f"end=$((SECONDS + 120)); until {has_scraped_all}; do [ $SECONDS -lt $end ]; sleep 1; done")
    targets = json.loads(machine.run(f"curl -fsS {prometheus}/targets"))["data"]["activeTargets"]
    assert {(target["labels"]["instance"], target["health"]) for target in targets} == {
        (f"127.0.0.1:{port}", "up") for port in (3001, 3002, 3003)
    }
    assert "InstallationTest" in machine.run("amtool alert query --alertmanager.url=http://127.0.0.1:9093")
    assert "encer_backup_last_success_timestamp_seconds 1" in machine.run("curl -fsS http://127.0.0.1:3001/metrics")
    backups = machine.run("ls /var/backups/beautiful-encer/*").split()
    assert backups.count("encer.dump") == 2
    use_the_runbook(machine)


NO_CLOCK = "not run: the machine of the test has no clock of its own"  # the others: tests/server/test_backup.py
WARNINGS = "journalctl --no-pager --quiet -u 'beautiful-encer@*' -p warning -o cat"
DATA = """
    encer db.psql -At -f /mnt/share/fingerprint.sql
    cd /var/lib/beautiful-encer/media; find -type f -exec sha256sum {} + | sort
"""
# As a copy comes from another machine: only root may enter it.
COPY = """
    newest=$(find /var/backups/beautiful-encer -name '*Z' | sort | tail -n 1)
    cp -r --no-preserve=ownership "$newest" /root/copied
    chmod 700 /root/copied
"""
IN_ANOTHER_SHELL = """
    cp /etc/beautiful-encer.env /root/before
    ! bash /mnt/share/step 2> /root/refused
    grep -q 'Run this step in the shell of step 1' /root/refused
    cmp /root/before /etc/beautiful-encer.env
"""
LOSE_ALL = """
    encer db.psql -qc 'truncate users cascade'
    rm -r /var/lib/beautiful-encer/media/*
"""


def use_the_runbook(machine: Machine) -> None:
    """Run every block of docs/operations.md, in order."""
    # The journal has the levels of the lines: an outage is the first warning.
    machine.run(f"systemctl stop redis-server; until {WARNINGS} | grep -q 'Redis does not answer'; do sleep 0.2; done")
    machine.run("systemctl start redis-server")
    # One instance is enough, and restarts faster.
    machine.run("systemctl disable --now beautiful-encer@3002 beautiful-encer@3003")
    release = "readlink /opt/beautiful-encer; encer db.psql -Atc \"select to_regclass('colours')\""
    assert machine.run(release) == f"/opt/beautiful-encer-{NEXT}\ncolours\n"
    blocks = [block.lines for block in blocks_of(OPERATIONS) if not block.reason]
    assert len(blocks) > 20
    assert {block.reason for block in blocks_of(OPERATIONS)} == {"", "run: backup", "run: restore", NO_CLOCK}
    before = ""
    for lines in blocks:
        if lines.startswith("/opt/beautiful-encer/deploy/restore"):
            before = machine.run(f"{DATA}\nsystemctl start beautiful-encer-backup.service\n{COPY}\n{LOSE_ALL}")
            assert "\nusers|2|" in before and ".png" in before, before
            lines = f"{lines.rstrip()} /root/copied"
        if lines.startswith(': "${new:?'):
            (machine.share / "step").write_text(lines)
            machine.run(IN_ANOTHER_SHELL)
        printed = machine.run(f"{VARIABLES}\n{lines}\n{KEEP_VARIABLES}")
        if lines.startswith("OLD="):
            assert machine.run(release) == f"/opt/beautiful-encer-{VERSION}\n\n"
        if lines.startswith("/opt/beautiful-encer/deploy/restore"):
            assert machine.run(DATA) == before
            assert "encer_before_" in printed
        if "rotate_keys" in lines:
            assert re.search(r"^\d+ encrypted with the current key", printed, re.MULTILINE), printed
    assert before
    answered = machine.run(f"cd /tmp\n{ASK}")
    assert "PNG" in answered and '"users"' in answered


# The blocks of the page run in one shell, as its reader runs them.
VARIABLES = "[ ! -e /run/variables ] || . /run/variables"
KEEP_VARIABLES = "set | grep -E '^(new|old)=' > /run/variables || true"
