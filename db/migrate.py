"""Migrations of sql/ by yoyo. Several instances may start at the same time.

`.venv/bin/python -m db.migrate` applies the missing ones; `--to N` goes forward or back to migration number N.
"""

import argparse
import glob
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from yoyo import internalmigrations, read_migrations
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
    from yoyo.migrations import default_migration_table

from db.address import Address
from db.connect import UnusableDatabase
from db.migrations import FOLDER, LIST_APPLIED, migration_ids
from db.packaged.servers import database_of
from db.pool import DatabaseUnavailable
from settings import load_settings

PATTERN = glob.escape(str(FOLDER))  # yoyo reads its sources as glob patterns
# Ids of advisory locks. The locks belong to transactions, so they end with the process that holds them and work behind
# a pooler. yoyo's own lock is a row, which stays after a crash.
TURN_LOCK = 7_203_115  # for a whole run: one instance migrates, the others wait
STEP_LOCK = 7_203_117  # for one migration: the commit of a killed process may still be in progress
LOCK_SECONDS = 120
TURN_SECONDS = 0.1  # between two attempts to take TURN_LOCK

KEEPS_DATA = "-- Loses no data"  # first line of a rollback that loses none; others need `--lose-data`

LIST_TABLES = "select tablename from pg_tables where schemaname = current_schema()"


class Backend(PostgresqlPsycopgBackend):  # type: ignore[misc]
    """yoyo's backend in an open transaction, so that yoyo's own transactions become savepoints.

    yoyo commits the steps of a migration and its mark separately. After a crash between the two commits, the migration
    would fail each time."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.DatabaseError = psycopg.DatabaseError
        self.migration_table = default_migration_table
        self.has_transactional_ddl = True
        self._connection = conn
        self._in_transaction = True

    def copy(self) -> "Backend":
        """Return the same backend for the steps, because they belong to the same transaction."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection open: yoyo would close what `copy` returns."""

    def list_tables(self, **_: Any) -> list[str]:
        return [row[0] for row in self.execute(LIST_TABLES).fetchall()]

    def ensure_internal_schema_updated(self) -> None:
        if internalmigrations.needs_upgrading(self):
            internalmigrations.upgrade(self)


class MigrationRefused(UnusableDatabase):
    """Nothing was changed. The text says which command to run instead."""


def migrate(database_url: str, last: int | None = None) -> int:
    """Apply the missing migrations, up to number `last`, and return their number. Blocks; idempotent.

    Raises MigrationRefused if the database has migrations that this release does not know."""
    migrations, applied = read_migrations(PATTERN), 0
    with turn(database_url), connect(database_url) as conn:
        while True:
            with step(conn) as backend:
                missing = [found for found in backend.to_apply(migrations) if last is None or number(found.id) <= last]
                if not missing:
                    return applied
                backend.apply_one(missing[0])
            applied += 1


def rollback(database_url: str, last: int = 0, lose_data: bool = False) -> int:
    """Undo the migrations after number `last`, newest first, and return their number. Blocks.

    Raises MigrationRefused, before it undoes the first one, if one of them would lose data, unless `lose_data`."""
    migrations, undone = read_migrations(PATTERN), 0
    with turn(database_url), connect(database_url) as conn:
        while True:
            with step(conn) as backend:
                applied = [found for found in backend.to_rollback(migrations) if number(found.id) > last]
                if not applied:
                    return undone
                losing = [found.id for found in applied if not keeps_data(found.id)]
                if losing and not lose_data:
                    raise MigrationRefused(
                        f"Nothing was changed, because the rollback of {', '.join(losing)} would lose data: "
                        "make a backup with pg_dump, then add --lose-data to the command."
                    )
                backend.rollback_one(applied[0])
            undone += 1


def number(migration_id: str) -> int:
    return int(migration_id.partition(".")[0])


def keeps_data(migration_id: str) -> bool:
    return (FOLDER / f"{migration_id}.rollback.sql").read_text().startswith(KEEPS_DATA)


def drop_data(database_url: str, name: str) -> None:
    """Drop everything in the database. Raises MigrationRefused if `name` is not the name of the database."""
    with turn(database_url), connect(database_url) as conn, conn.transaction():
        found = name_of(conn)
        if found != name:
            raise MigrationRefused(f"Nothing was dropped, because the database is {found}, not {name}.")
        conn.execute("drop schema public cascade; create schema public")


def name_of(conn: psycopg.Connection) -> str:
    return str(conn.execute("select current_database()").fetchall()[0][0])


def connect(database_url: str) -> psycopg.Connection:
    return psycopg.connect(**Address.parse(database_url).for_psycopg(), autocommit=True)


@contextmanager
def turn(database_url: str) -> Iterator[None]:
    """Wait until no other instance migrates, then keep the other instances waiting.

    A waiting instance polls instead of waiting in a transaction, because each open transaction occupies a connection of
    a pooler, and the instance that migrates needs a second one. Raises OperationalError after LOCK_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    with connect(database_url) as conn:
        while time.monotonic() < deadline:
            with conn.transaction():
                conn.execute("set local idle_in_transaction_session_timeout = 0")
                if conn.execute("select pg_try_advisory_xact_lock(%s)", [TURN_LOCK]).fetchall() == [(True,)]:
                    yield
                    return
            time.sleep(TURN_SECONDS)
    raise psycopg.errors.LockNotAvailable(f"another instance has been migrating for {LOCK_SECONDS} seconds")


@contextmanager
def step(conn: psycopg.Connection) -> Iterator[Backend]:
    """Open a transaction for one migration and its mark. Raises DatabaseUnavailable if the server is read-only."""
    try:
        with conn.transaction():
            lock(conn, STEP_LOCK)
            backend = Backend(conn)
            refuse_unknown(conn, backend)
            yield backend
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable("it is read-only") from error


def refuse_unknown(conn: psycopg.Connection, backend: Backend) -> None:
    """Raise MigrationRefused if the database has migrations that this release does not have."""
    backend.ensure_internal_schema_updated()
    unknown = sorted({row[0] for row in conn.execute(LIST_APPLIED)} - migration_ids())
    if unknown:
        name = name_of(conn)
        others = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
        raise MigrationRefused(
            f"The database {name} was not changed, because another release has made it (this one does not know "
            f"migration {unknown[0]}{others}): to keep the data, start that release, or save the data with `pg_dump "
            f"--format=custom --file={name}.dump {name}`; to drop the data, run "
            f"`.venv/bin/python -m db.migrate --drop-data {name}`, then start again."
        )


def lock(conn: psycopg.Connection, key: int) -> None:
    conn.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
    conn.execute("select pg_advisory_xact_lock(%s)", [key])


def parse(arguments: list[str] | None) -> argparse.Namespace:
    numbers = sorted(number(found) for found in migration_ids())
    parser = argparse.ArgumentParser(prog=".venv/bin/python -m db.migrate", description="Apply the missing migrations.")
    parser.add_argument(
        "--to",
        type=int,
        choices=[0, *numbers],
        metavar="N",
        help=f"go forward or back to migration N, 0 to {numbers[-1]}",
    )
    parser.add_argument(
        "--lose-data", action="store_true", help="allow --to to undo migrations whose rollback loses data"
    )
    parser.add_argument("--drop-data", metavar="NAME", help="drop everything in the database of this name")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    from services.logs import write_out

    options = parse(arguments)
    with database_of(load_settings()) as url:
        if options.drop_data:
            drop_data(url, options.drop_data)
            write_out(f"all data of {options.drop_data} dropped")
            return 0
        undone = rollback(url, options.to, options.lose_data) if options.to is not None else 0
        write_out(f"{undone} migrations rolled back" if undone else f"{migrate(url, options.to)} migrations applied")
    return 0


if __name__ == "__main__":
    from services.commands import program  # not above: the server imports this module too, and services import db

    sys.exit(program(main)())
