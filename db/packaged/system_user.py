"""The system user that PostgreSQL runs as when the caller is root, because PostgreSQL refuses to run as root."""

import os
import pwd
import time
from functools import cache
from pathlib import Path

from db.packaged.programs import POLL_SECONDS, ServersError, locked, run_program

USER = "embedded_postgres"
SHARED = Path("/var/lib/beautiful-encer")  # writable only for root; shared by all processes of root
CREATE_SECONDS = 60  # useradd itself waits up to 15 s for the locks of other programs
LOOKUP_SECONDS = 10  # caches of the machine (nscd, sssd) may find a new user late
EXISTS_ALREADY = 9  # useradd(8)
ORDINARY_USER = "Run this command as an ordinary user instead; then no system user is needed."


@cache
def system_user() -> pwd.struct_passwd | None:
    """Return the system user, created if it is missing, or None when the caller is not root. Raises ServersError."""
    if os.geteuid() != 0:
        return None
    return find_user() or create_user()


def find_user() -> pwd.struct_passwd | None:
    """Return the user if a program that runs as this user can look it up, as initdb does; otherwise None."""
    try:
        user = pwd.getpwnam(USER)
    except KeyError:
        return None
    looked_up = run_program("id", "-u", "-n", user=user, timeout=LOOKUP_SECONDS, check=False)
    return user if looked_up.stdout.strip() == USER else None


def create_user() -> pwd.struct_passwd:
    """Create the user under a lock, because a concurrent useradd replaces the entry by one with another id."""
    with locked(make_shared() / "user.lock", CREATE_SECONDS):
        return find_user() or add_user()


def add_user() -> pwd.struct_passwd:
    options = ("--system", "--user-group", "--no-create-home", "--shell", "/bin/sh")
    added = run_program("useradd", *options, USER, timeout=CREATE_SECONDS, check=False)
    if added.returncode not in (0, EXISTS_ALREADY):
        raise ServersError(f"useradd cannot create the system user {USER}:\n{added.stderr.strip()}\n{ORDINARY_USER}")
    deadline = time.monotonic() + LOOKUP_SECONDS
    while (user := find_user()) is None:
        if time.monotonic() > deadline:
            raise ServersError(f"The new system user {USER} cannot be looked up. {ORDINARY_USER}")
        time.sleep(POLL_SECONDS)
    return user


def make_shared() -> Path:
    """Create and return SHARED. All users may enter it."""
    try:
        SHARED.mkdir(parents=True, exist_ok=True)
        SHARED.chmod(0o755)
    except OSError as error:
        raise ServersError(f"{SHARED} cannot be created: {error}. {ORDINARY_USER}") from None
    return SHARED
