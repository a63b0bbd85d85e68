"""What the command-line programs share, such as `.venv/bin/python -m db.seed`."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec

import psycopg

from db.connect import UnusableDatabase, reason_of
from db.packaged.programs import ServersError
from db.pool import UNAVAILABLE, DatabaseUnavailable
from services.logs import print_failure
from settings import SettingsError

P = ParamSpec("P")


def program(main: Callable[P, int]) -> Callable[P, int]:
    """Make a program end with a sentence on stderr, not a traceback, if settings are wrong or a server is missing."""

    @wraps(main)
    def run(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return main(*args, **kwargs)
        except SettingsError as error:
            print_failure("Invalid settings:", str(error).splitlines())
            return 2
        except (ServersError, UnusableDatabase) as error:
            print_failure(str(error))
        except (psycopg.OperationalError, DatabaseUnavailable, *UNAVAILABLE) as error:
            reason = reason_of(error.__cause__ or error)
            print_failure(f"The database does not answer: {reason}. Start the database, then run the command again.")
        return 1

    return run
