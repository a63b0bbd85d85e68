"""docs/operations.md: each SQL statement in its texts fits the tables. tests/deploy/test_install.py runs its blocks."""

import re

import psycopg
import pytest

from tests.helpers.processes import ROOT

PAGE = (ROOT / "docs" / "operations.md").read_text()
EXAMPLE = "display_name"  # of a migration that does not exist
STATEMENTS = [
    statement
    for statement in re.findall(r"`((?:select|update|delete) [^`]+)`", PAGE)
    if EXAMPLE not in statement and "pg_terminate_backend" not in statement
]


@pytest.mark.parametrize("statement", STATEMENTS)
def test_a_statement_of_the_page_fits_the_tables(servers, statement):
    complete = statement.replace("'…'", "'x'").replace("…", "now()")
    with psycopg.connect(servers.database_url) as conn:
        assert conn.execute(f"explain {complete}").fetchall()


def test_all_statements_are_found():
    assert len(STATEMENTS) >= 5
