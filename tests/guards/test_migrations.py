"""Migrations go up, down and up again; several at once take turns; a second run changes nothing."""

from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from db.embedded import ServerUrls
from db.migrate import migrate, migration_ids, rollback

LIST_TABLES = """
    select table_name from information_schema.tables
    where table_schema = 'public' and table_name not like '%yoyo%'
"""

LIST_UNNAMED = """
    select conname from pg_constraint where connamespace = 'public'::regnamespace and contype <> 't'
        and conname !~ '_(pkey|key|fkey|check|not_null)$' and conrelid::regclass::text not like '%yoyo%'
"""


@pytest.fixture
def fresh_database(servers: ServerUrls):
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists fresh")
        conn.execute("create database fresh")
        yield servers.database_url.replace("/encer?", "/fresh?")
        conn.execute("drop database fresh with (force)")


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
