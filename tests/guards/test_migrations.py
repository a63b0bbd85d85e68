"""Migrations go up, down and up again; several at once take turns; a second run changes nothing; a kill at any moment
leaves a database that the next start completes."""

import multiprocessing
import random
import signal
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.connection import Connection

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from yoyo import get_backend, read_migrations

from db.migrate import FOLDER, migrate, migration_ids, rollback
from db.packaged.servers import ServerUrls

KILLS = 30
LONGEST_LIFE = 60  # statements until a kill: several migrations

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
    assert rollback(fresh_database) == count
    assert tables(fresh_database) == set()
    assert migrate(fresh_database) == count


def test_several_instances_at_once(fresh_database: str):
    with ThreadPoolExecutor(4) as threads:
        applied = list(threads.map(migrate, [fresh_database] * 4))
    assert sorted(applied) == [0, 0, 0, len(migration_ids())]


def test_every_constraint_is_named_by_its_kind(fresh_database: str):
    migrate(fresh_database)
    with psycopg.connect(fresh_database) as conn:
        assert [row[0] for row in conn.execute(LIST_UNNAMED)] == []


def test_every_migration_can_be_one_transaction_with_its_mark():
    migrations = read_migrations(str(FOLDER))
    for migration in migrations:
        migration.load()
    assert [migration.id for migration in migrations if not migration.use_transactions] == []
    assert migrations.post_apply == []  # which migrate() would not run


def test_yoyo_reads_what_is_applied(fresh_database: str):
    migrate(fresh_database)
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
    """Kill a migrating process after so many statements; False if it was faster."""
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
    assert process.exitcode in (0, -signal.SIGKILL)  # else it could not go on where the one before was killed
    return process.exitcode != 0


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
