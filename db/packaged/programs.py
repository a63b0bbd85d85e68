"""Runs programs of the machine and of packages with a time bound, and reports their output if they fail."""

import fcntl
import pwd
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

POLL_SECONDS = 0.05
TAIL_LINES = 15


class ServersError(Exception):
    """The packaged servers cannot be started; the text says why and what to do next."""


def run_program(
    *command: str | Path,
    timeout: float,
    user: pwd.struct_passwd | None = None,
    input: str | None = None,
    check: bool = True,
) -> subprocess.CompletedProcess[str]:
    """Run a program and return its result. Raises ServersError with the output of the program if it fails."""
    name = Path(command[0]).name
    try:
        ended = subprocess.run(
            command,
            text=True,
            errors="surrogateescape",
            input=input,
            capture_output=True,
            timeout=timeout,
            cwd="/",
            **run_as(user),
        )
    except OSError as error:
        raise ServersError(f"{name} cannot be started: {error}") from None
    except subprocess.TimeoutExpired:
        raise ServersError(f"{name} has not ended within {timeout:.0f} seconds") from None
    if check and ended.returncode != 0:
        output = (ended.stderr.strip() or ended.stdout.strip()) or "It printed nothing."
        raise ServersError(f"{name} failed with status {ended.returncode}:\n{output}")
    return ended


def run_as(user: pwd.struct_passwd | None) -> dict[str, Any]:
    """Return arguments for `subprocess` that run a program as the user, without root's groups."""
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}


def end_of(log: Path) -> str:
    """Return the last lines of a log for an error message."""
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    return "\n".join(lines[-TAIL_LINES:])


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Hold an exclusive lock of a file during the block; the kernel releases it if this process dies."""
    deadline = time.monotonic() + seconds
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise ServersError(f"Another process has held {path} for {seconds:.0f} seconds.") from None
                time.sleep(POLL_SECONDS)
        yield
