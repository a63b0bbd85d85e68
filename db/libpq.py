"""Runs psql, pg_dump or pg_restore on the database of DATABASE_URL, or on the packaged one:
`.venv/bin/python -m db.libpq pg_dump --format=custom --file=encer.dump`.

DATABASE_URL may have parameters of Prisma and of hosters, which these programs do not know.
"""

import os
import shutil
import subprocess
import sys

from psycopg.conninfo import make_conninfo

from db.address import Address
from db.packaged.servers import database_of
from services.commands import program
from services.logs import print_failure
from settings import load_settings

PROGRAMS = ("psql", "pg_dump", "pg_restore")
MISSING = "{} is missing. Install it (apt install postgresql-client, brew install libpq), then run the command again."


def run_on_database(name: str, arguments: list[str]) -> int:
    """Run the program, and return its exit status."""
    found = shutil.which(name)
    if found is None:
        print_failure(MISSING.format(name))
        return 1
    with database_of(load_settings()) as url:
        options = Address.parse(url).for_libpq()
        password = {"PGPASSWORD": options.pop("password")} if "password" in options else {}  # others can read arguments
        command = [found, "--dbname", make_conninfo(**options), *arguments]
        return subprocess.run(command, env={**os.environ, **password}).returncode


@program
def main(arguments: list[str]) -> int:
    if not arguments or arguments[0] not in PROGRAMS:
        print_failure(f"Name a program: {', '.join(PROGRAMS)}. Example: .venv/bin/python -m db.libpq pg_dump")
        return 2
    return run_on_database(arguments[0], arguments[1:])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
