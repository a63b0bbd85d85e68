"""`.venv/bin/python -m db.psql` opens the database of DATABASE_URL, or the packaged one, in psql.

It passes its arguments to psql: `.venv/bin/python -m db.psql -c 'select count(*) from users'`.
"""

import sys

from db.libpq import run_on_database
from services.commands import program


@program
def main(arguments: list[str]) -> int:
    return run_on_database("psql", arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
