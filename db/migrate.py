"""Migrations of sql/ by yoyo, safe when several instances start at once. `python -m db.migrate` runs them."""

import warnings
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from yoyo import get_backend, read_migrations

from db.embedded import database_of
from settings import load_settings

FOLDER = Path(__file__).parent.parent / "sql"
# Any number that no one else uses: instances that start together take turns by it. (yoyo's own lock is a row that a
# crash leaves behind; a session's advisory lock dies with the session.)
LOCK_KEY = 7_203_115
LOCK_SECONDS = 120


def migrate(database_url: str) -> int:
    """Apply what is missing and answer how many that were. Blocks; idempotent."""
    with psycopg.connect(database_url, autocommit=True, connect_timeout=10) as guard:
        guard.execute(f"set lock_timeout = '{LOCK_SECONDS}s'")
        guard.execute("select pg_advisory_lock(%s)", [LOCK_KEY])
        with open_backend(database_url) as backend:
            missing = backend.to_apply(read_migrations(str(FOLDER)))
            backend.apply_migrations(missing)
            return len(missing)


def rollback(database_url: str) -> int:
    """Undo every migration, newest first (tests only: it drops all data)."""
    with open_backend(database_url) as backend:
        applied = backend.to_rollback(read_migrations(str(FOLDER)))
        backend.rollback_migrations(applied)
        return len(applied)


class open_backend:
    """yoyo's backend for `database_url`, whose connection is closed at the end (yoyo itself keeps it)."""

    def __init__(self, database_url: str) -> None:
        parts = urlsplit(database_url)
        self.backend = get_backend(parts._replace(scheme="postgresql+psycopg").geturl())

    def __enter__(self):
        return self.backend

    def __exit__(self, *_: object) -> None:
        self.backend.connection.close()


def migration_ids() -> set[str]:
    """What a database must have applied to be ready for this version of the server."""
    return {path.stem for path in FOLDER.glob("*.sql") if not path.name.endswith(".rollback.sql")}


def main() -> None:
    with database_of(load_settings()) as url:
        print(f"{migrate(url)} migrations applied")


if __name__ == "__main__":
    main()
