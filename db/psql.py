"""`.venv/bin/python -m db.psql` opens the database of DATABASE_URL, or the packaged one, in psql.

It passes its arguments to psql: `.venv/bin/python -m db.psql -c 'select count(*) from users'`.
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

NO_PSQL = "psql is missing. Install it (apt install postgresql-client, brew install libpq), then run the command again."


@program
def main(arguments: list[str]) -> int:
    psql = shutil.which("psql")
    if psql is None:
        print_failure(NO_PSQL)
        return 1
    with database_of(load_settings()) as url:
        options = Address.parse(url).for_libpq()
        password = {"PGPASSWORD": options.pop("password")} if "password" in options else {}  # others can read arguments
        command = [psql, "--dbname", make_conninfo(**options), *arguments]
        return subprocess.run(command, env={**os.environ, **password}).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
