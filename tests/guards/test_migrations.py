"""Migrations go up, down and up again; several at once take turns; a second run changes nothing; a kill at any moment
leaves a database that the next start completes."""

import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection
from types import SimpleNamespace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr
from yoyo import get_backend, read_migrations

from db.migrate import (
    MigrationRefused,
    drop_data,
    keeps_data,
    main,
    migrate,
    number,
    rollback,
)
from db.migrations import FOLDER, migration_ids
from db.packaged.servers import ServerUrls
from tests.helpers.processes import ROOT
from tests.helpers.programs import long_test, whole_suite

KILLS = 30
LONGEST_LIFE = 60  # the largest number of statements before a kill: several migrations

LIST_TABLES = """
    select table_name from information_schema.tables
    where table_schema = 'public' and table_name not like '%yoyo%'
"""

LIST_UNNAMED = """
    select conname from pg_constraint where connamespace = 'public'::regnamespace and contype <> 't'
        and conname !~ '_(pkey|key|fkey|check|not_null)$' and conrelid::regclass::text not like '%yoyo%'
"""


LIST_COLUMNS = """
    select table_name, column_name, data_type, is_nullable from information_schema.columns where table_schema = 'public'
"""


ADD_SALON = """
    with added as (
        insert into users (name, email, role, email_verified_at, onboarded_at)
        values ('Sakura', 'sakura@example.com', 'SALON', now(), now()) returning id
    )
    insert into salons (user_id, business_name) select id, 'Sakura' from added
"""


@pytest.fixture
def fresh_database(servers: ServerUrls):
    make_fresh(servers)
    yield fresh(servers)
    run(servers, "drop database fresh with (force)")


def fresh(servers: ServerUrls) -> str:
    return servers.database_url.replace("/encer?", "/fresh?")


def make_fresh(servers: ServerUrls) -> None:
    run(servers, "drop database if exists fresh with (force)", "create database fresh")


def run(servers: ServerUrls, *statements: str) -> None:
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        for statement in statements:
            conn.execute(statement)


def tables(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        return {row[0] for row in conn.execute(LIST_TABLES)}


def test_up_down_up(fresh_database: str):
    count = len(migration_ids())
    assert migrate(fresh_database) == count
    assert {"users", "messages", "job_runs", "email_outbox"} <= tables(fresh_database)
    assert migrate(fresh_database) == 0
    assert rollback(fresh_database, lose_data=True) == count
    assert tables(fresh_database) == set()
    assert migrate(fresh_database) == count


def end_of_program(url: str, *program: str) -> str:
    """Run a program that must fail, and return the one line that it prints."""
    environment = {**os.environ, "DATABASE_URL": url, "REDIS_URL": "redis://127.0.0.1:1", "PORT": "0"}
    command = [sys.executable, *program]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout) == (1, ""), ended
    [line] = ended.stderr.splitlines()
    return line


def test_a_database_of_another_release_is_not_changed(servers: ServerUrls, fresh_database: str):
    migrate(fresh_database)
    with psycopg.connect(fresh_database, autocommit=True) as conn:
        conn.execute("delete from _yoyo_migration where migration_id = '0013.directory'")
        conn.execute(
            "insert into _yoyo_migration (migration_hash, migration_id) values ('1', '0071.other'), ('2', '0072.other')"
        )
    before = marks(fresh_database), schema(fresh_database)
    for change in (migrate, partial(rollback, last=5, lose_data=True)):
        with pytest.raises(MigrationRefused, match=r"fresh was not changed, .* 0071\.other and 1 others\)"):
            change(fresh_database)
    for program in (["-m", "db.migrate"], ["server.py"]) if whole_suite() else (["server.py"],):
        line = end_of_program(fresh_database, *program)
        assert "The database fresh was not changed" in line
        assert "pg_dump --format=custom --file=fresh.dump fresh" in line
        assert "-m db.migrate --drop-data fresh" in line
    assert (marks(fresh_database), schema(fresh_database)) == before
    with pytest.raises(MigrationRefused, match="the database is fresh, not other"):
        drop_data(fresh_database, "other")
    assert (marks(fresh_database), schema(fresh_database)) == before
    drop_data(fresh_database, "fresh")
    assert migrate(fresh_database) == len(migration_ids())
    assert schema(fresh_database) == schema(servers.database_url)


def test_to_a_migration_and_back(servers: ServerUrls, fresh_database: str, monkeypatch, capsys):
    settings = SimpleNamespace(database_url=SecretStr(fresh_database))
    monkeypatch.setattr("db.migrate.load_settings", lambda: settings)
    newest = max(number(found) for found in migration_ids())
    assert main(["--to", "3"]) == 0
    assert max(number(found) for found in marks(fresh_database)) == 3
    assert "sessions" in tables(fresh_database) and "messages" not in tables(fresh_database)
    assert main([]) == 0
    with psycopg.connect(fresh_database, autocommit=True) as conn:
        conn.execute(ADD_SALON)
        found = conn.execute("select * from directory").fetchall(), conn.execute("select * from listings").fetchall()
        assert [len(rows) for rows in found] == [1, 1]
        # A rollback needs no `--lose-data` if the migration computes the dropped data again.
        assert main(["--to", "11"]) == 0
        assert {"listings", "directory"}.isdisjoint(tables(fresh_database))
        assert main(["--to", str(newest)]) == 0
        again = conn.execute("select * from directory").fetchall(), conn.execute("select * from listings").fetchall()
        assert again == found
    with pytest.raises(MigrationRefused, match=r"rollback of 0011\.job_runs, .*0006\.connections would lose data: "):
        main(["--to", "5"])
    assert marks(fresh_database) == migration_ids()
    capsys.readouterr()
    assert main(["--to", "5", "--lose-data"]) == 0
    undone = [found for found in migration_ids() if number(found) > 5]
    assert capsys.readouterr().out == f"{len(undone)} migrations rolled back\n"
    assert "connection_requests" not in tables(fresh_database)
    main([])
    assert schema(fresh_database) == schema(servers.database_url)


@pytest.mark.parametrize("migration", sorted(migration_ids()))
def test_a_rollback_that_drops_data_says_so(migration: str):
    """Dropping a table loses no data only if its migration fills the table from others."""
    statements = (FOLDER / f"{migration}.rollback.sql").read_text()
    filled = set(re.findall(r"^insert into (\w+) select", (FOLDER / f"{migration}.sql").read_text(), re.MULTILINE))
    dropped = set(re.findall(r"drop table (\w+)", statements))
    loses = bool(dropped - filled) or bool(re.search(r"drop column|^(delete|update) ", statements, re.MULTILINE))
    assert not (loses and keeps_data(migration))


def test_several_instances_at_once(fresh_database: str):
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [fresh_database] * 4))
    assert sorted(applied) == [0, 0, 0, len(migration_ids())]


def test_every_constraint_is_named_by_its_kind(servers: ServerUrls):
    with psycopg.connect(servers.database_url) as conn:
        assert [row[0] for row in conn.execute(LIST_UNNAMED)] == []


def test_every_migration_can_be_one_transaction_with_its_mark():
    migrations = read_migrations(str(FOLDER))
    for migration in migrations:
        migration.load()
    assert [migration.id for migration in migrations if not migration.use_transactions] == []
    assert migrations.post_apply == []  # which migrate() would not run


def test_yoyo_reads_what_is_applied(fresh_database: str):
    migrate(fresh_database)  # yoyo adds a table of its own
    host = conninfo_to_dict(fresh_database)["host"]
    backend = get_backend(f"postgresql+psycopg://encer@/fresh?host={host}")
    assert list(backend.to_apply(read_migrations(str(FOLDER)))) == []
    backend.connection.close()


def migrate_aloud(url: str, reports: Connection) -> None:
    """Migrate, and report each statement before it is sent."""
    execute = psycopg.Cursor.execute

    def report(self, *args, **kwargs):
        reports.send_bytes(b"statement")
        return execute(self, *args, **kwargs)

    psycopg.Cursor.execute = report  # type: ignore[method-assign]
    migrate(url)


def kill_while_it_migrates(context, url: str, statements: int) -> bool:
    """Kill a migrating process after this many statements; return False if it ended before."""
    reports, theirs = context.Pipe(duplex=False)
    process = context.Process(target=migrate_aloud, args=(url, theirs))
    process.start()
    theirs.close()
    try:
        for _ in range(statements):
            reports.recv_bytes()
    except EOFError:
        pass  # it has ended
    process.kill()
    process.join()
    reports.close()
    assert process.exitcode in (0, -signal.SIGKILL)  # otherwise it could not continue where the killed one stopped
    return process.exitcode != 0


@long_test()
def test_after_each_kill_the_next_start_goes_on(servers: ServerUrls, fresh_database: str):
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    seed = random.randrange(2**32)
    print(f"seed {seed}")  # shown when it fails
    chance = random.Random(seed)
    killed = 0
    while killed < KILLS:
        make_fresh(servers)
        while killed < KILLS and kill_while_it_migrates(context, fresh_database, chance.randint(1, LONGEST_LIFE)):
            killed += 1
        migrate(fresh_database)
        assert schema(fresh_database) == schema(servers.database_url)
        assert marks(fresh_database) == migration_ids()


def schema(url: str) -> list[tuple[str, ...]]:
    with psycopg.connect(url) as conn:
        return sorted(conn.execute(LIST_COLUMNS).fetchall())


def marks(url: str) -> set[str]:
    with psycopg.connect(url) as conn:
        return {row[0] for row in conn.execute("select migration_id from _yoyo_migration")}
