"""Migrations of sql/ by yoyo, safe when several instances start at once. `.venv/bin/python -m db.migrate` runs them."""

import glob
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from yoyo import internalmigrations, read_migrations
    from yoyo.backends.core.postgresql import PostgresqlPsycopgBackend
    from yoyo.migrations import default_migration_table

from db.address import Address
from db.packaged.servers import database_of
from db.pool import DatabaseUnavailable
from settings import load_settings

FOLDER = Path(__file__).parent.parent / "sql"
PATTERN = glob.escape(str(FOLDER))  # yoyo takes its sources as patterns
# Any numbers that nothing else uses. These locks belong to transactions, so they end with the process that holds them
# (yoyo's own is a row that a crash leaves behind), and a pooler keeps them where they are.
TURN_LOCK = 7_203_115  # for a whole run: of instances that start together, one migrates and the others wait
STEP_LOCK = 7_203_117  # for one migration: a killed process may have asked for a commit that is still under way
LOCK_SECONDS = 120
TURN_SECONDS = 0.1  # between two looks whether it is this instance's turn

LIST_TABLES = "select tablename from pg_tables where schemaname = current_schema()"


class Backend(PostgresqlPsycopgBackend):
    """yoyo's backend over an open transaction, in which yoyo's own become savepoints.

    yoyo commits the steps of a migration and its mark separately: a process that dies between the two leaves a
    database on which the migration fails for ever."""

    def __init__(self, conn: psycopg.Connection) -> None:
        self.DatabaseError = psycopg.DatabaseError
        self.migration_table = default_migration_table
        self.has_transactional_ddl = True
        self._connection = conn
        self._in_transaction = True

    def copy(self) -> "Backend":
        """The connection on which yoyo runs the steps: the same, for they belong to the same transaction."""
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the connection open; yoyo closes what `copy` returns."""

    def list_tables(self, **_: Any) -> list[str]:
        return [row[0] for row in self.execute(LIST_TABLES).fetchall()]

    def ensure_internal_schema_updated(self) -> None:
        if internalmigrations.needs_upgrading(self):
            internalmigrations.upgrade(self)


def migrate(database_url: str) -> int:
    """Apply the missing migrations and return how many that were. Blocks; idempotent."""
    migrations, applied = read_migrations(PATTERN), 0
    with turn(database_url), connect(database_url) as conn:
        while True:
            with step(conn) as backend:
                missing = backend.to_apply(migrations)
                if not missing:
                    return applied
                backend.apply_one(missing[0])
            applied += 1


def rollback(database_url: str) -> int:
    """Undo every migration, newest first (tests only: it drops all data)."""
    migrations, undone = read_migrations(PATTERN), 0
    with turn(database_url), connect(database_url) as conn:
        while True:
            with step(conn) as backend:
                applied = backend.to_rollback(migrations)
                if not applied:
                    return undone
                backend.rollback_one(applied[0])
            undone += 1


def connect(database_url: str) -> psycopg.Connection:
    return psycopg.connect(**Address.parse(database_url).for_psycopg(), autocommit=True)


@contextmanager
def turn(database_url: str) -> Iterator[None]:
    """Wait until no other instance migrates; the others wait meanwhile.

    Instances that wait ask again and again instead of waiting in a transaction: each transaction occupies a connection
    of a pooler, and the instance that migrates needs a second one. Raises OperationalError after LOCK_SECONDS."""
    deadline = time.monotonic() + LOCK_SECONDS
    with connect(database_url) as conn:
        while time.monotonic() < deadline:
            with conn.transaction():
                conn.execute("set local idle_in_transaction_session_timeout = 0")
                (mine,) = conn.execute("select pg_try_advisory_xact_lock(%s)", [TURN_LOCK]).fetchone() or (False,)
                if mine:
                    yield
                    return
            time.sleep(TURN_SECONDS)
    raise psycopg.errors.LockNotAvailable(f"another instance has been migrating for {LOCK_SECONDS} seconds")


@contextmanager
def step(conn: psycopg.Connection) -> Iterator[Backend]:
    """A transaction for one migration and its mark. Raises DatabaseUnavailable after a fail-over to a standby."""
    try:
        with conn.transaction():
            lock(conn, STEP_LOCK)
            yield Backend(conn)
    except psycopg.errors.ReadOnlySqlTransaction as error:
        raise DatabaseUnavailable("it is read-only") from error


def lock(conn: psycopg.Connection, key: int) -> None:
    conn.execute(f"set local lock_timeout = '{LOCK_SECONDS}s'")
    conn.execute("select pg_advisory_xact_lock(%s)", [key])


def migration_ids() -> set[str]:
    """What a database must have applied to be ready for this version of the server."""
    return {path.stem for path in FOLDER.glob("*.sql") if not path.name.endswith(".rollback.sql")}


def main() -> int:
    from services.logs import write_out

    with database_of(load_settings()) as url:
        write_out(f"{migrate(url)} migrations applied")
    return 0


if __name__ == "__main__":
    from services.commands import program  # not above: the server imports this module too, and services import db

    sys.exit(program(main)())
