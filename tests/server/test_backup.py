"""The backup and restore commands of docs/operations.md, with 20,000 messages and media: 0 differences."""

import hashlib
import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from db.migrate import migrate
from db.packaged.servers import ServerUrls, free_port
from tests.helpers.processes import ROOT, server_process
from tests.helpers.programs import long_test, needs_program
from tests.helpers.scratch import scratch_folder

pytestmark = [long_test(), needs_program("pg_dump", package="postgresql")]

ROWS = 20_000
FILES = 20
SECONDS = 60.0
FILL = f"""
    insert into users (id, name, email, password_hash, role, email_verified_at, terms_accepted_at)
    select md5('person ' || n)::uuid, 'Person ' || n, 'person' || n || '@example.com', 'x', 'SALON', now(), now()
    from generate_series(1, 2) n;
    insert into conversations (id, low_id, high_id, last_rev, last_seq)
    select md5('conversation')::uuid, min(id::text)::uuid, max(id::text)::uuid, {ROWS}, {ROWS} from users;
    insert into messages (conversation_id, sender_id, seq, rev, content)
    select md5('conversation')::uuid, md5('person 1')::uuid, n, n, 'こんにちは ' || n from generate_series(1, {ROWS}) n;
"""
TABLES = "select tablename from pg_tables where schemaname = 'public' order by 1"


def commands(name: str) -> str:
    """Return the shell block of the page that follows `<!-- run: NAME -->`."""
    page = (ROOT / "docs" / "operations.md").read_text()
    found = re.search(rf"<!-- run: {name} -->\n```sh\n(.*?)```", page, re.DOTALL)
    assert found
    return found[1]


@pytest.fixture(scope="module")
def postgresql() -> Iterator[str]:
    """Start the distribution's PostgreSQL, whose pg_dump has the same version; return its address."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))[-1]
    user = "postgres" if os.geteuid() == 0 else pwd.getpwuid(os.geteuid()).pw_name
    with scratch_folder() as folder:
        data, port = folder / "data", free_port()
        as_user = ["setpriv", "--reuid", user, "--regid", user, "--clear-groups"] if os.geteuid() == 0 else []
        if as_user:
            shutil.chown(folder, user, user)
        for command in (
            [programs / "initdb", "-D", data, "-U", "encer", "--auth=trust", "--encoding=UTF8", "--no-sync"],
            [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", f"-F -p {port} -k {folder}", "start"],
        ):
            ended = subprocess.run([*as_user, *map(str, command)], cwd=folder, capture_output=True, text=True)
            assert ended.returncode == 0, ended.stderr
        try:
            yield f"postgresql://encer@127.0.0.1:{port}"
        finally:
            subprocess.run(
                [*as_user, str(programs / "pg_ctl"), "-D", str(data), "-m", "immediate", "stop"],
                cwd=folder,
                capture_output=True,
            )


def fingerprint(url: str) -> dict[str, tuple[int, str | None]]:
    """Return the number of rows and a checksum of the content of each table."""
    with psycopg.connect(url) as conn:
        found = {}
        for (table,) in conn.execute(TABLES).fetchall():
            row = conn.execute(
                f"select count(*), md5(string_agg(t::text, chr(10) order by t::text)) from {table} t"
            ).fetchone()
            assert row
            found[table] = (row[0], row[1])
        return found


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_a_restored_backup_has_no_differences(postgresql: str, servers: ServerUrls, tmp_path: Path):
    old, new = f"{postgresql}/encer", f"{postgresql}/restored"
    with psycopg.connect(f"{postgresql}/postgres", autocommit=True) as conn:
        conn.execute("create database encer")
        conn.execute("create database restored")
    migrate(old)
    with psycopg.connect(old) as conn:
        conn.execute(FILL)
    media = tmp_path / "data" / "media" / "chat"
    media.mkdir(parents=True)
    for number in range(FILES):
        (media / f"{number:032x}.png").write_bytes(os.urandom(10_000))
    (tmp_path / "backups").mkdir()
    (tmp_path / "new").mkdir()
    variables = {
        "PATH": os.environ["PATH"],
        "BACKUPS": str(tmp_path / "backups"),
        "DATABASE_URL": f"{old}?connection_limit=5&schema=public",  # as Prisma prints it
        "DATA_DIR": str(tmp_path / "data"),
        "NEW_DATABASE_URL": f"{new}?connection_limit=5",
        "NEW_DATA_DIR": str(tmp_path / "new"),
    }
    old_folders = ("photos", "2001-01-01T013000.000Z", "2001-01-02T013000.000Z.unfinished")
    for name in old_folders:
        (tmp_path / "backups" / name).mkdir()
        os.utime(tmp_path / "backups" / name, (0, 0))

    def run(name: str, **changed: str) -> subprocess.CompletedProcess[str]:
        command = ["sh", "-euc", commands(name)]
        return subprocess.run(
            command, cwd=ROOT, env={**variables, **changed}, capture_output=True, text=True, timeout=SECONDS
        )

    assert run("backup", DATABASE_URL=f"{postgresql}/missing").returncode != 0
    assert {path.name for path in (tmp_path / "backups").iterdir()} == set(old_folders)  # what it began is deleted
    for name in ("backup", "restore"):
        ran = run(name)
        assert ran.returncode == 0, ran.stderr
    photos, made = sorted((path.name for path in (tmp_path / "backups").iterdir()), reverse=True)
    assert (photos, made[:2], made[-1]) == ("photos", "20", "Z")  # old backups are deleted, other folders are not
    assert (tmp_path / "data" / "last-backup").exists()
    before = fingerprint(old)
    assert sum(count for count, _ in before.values()) > ROWS
    assert fingerprint(new) == before
    assert hashes(tmp_path / "new" / "media") == hashes(tmp_path / "data" / "media")
    urls = ServerUrls(new, servers.redis_url)
    with server_process(urls, tmp_path / "new"):  # it has started, and found nothing to migrate
        assert fingerprint(new) == before
