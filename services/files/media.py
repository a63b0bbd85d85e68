"""Storage of accepted files, with one interface: Cloudinary if it is configured, else the server's own disk."""

import asyncio
import errno
import os
import re
import secrets
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol

from db.error_codes import ErrorCode
from db.errors import DomainError
from db.outage import Outage

Folder = Literal["influencer-profiles", "salon-profiles", "chat"]
MEDIA_TYPES = {
    "jpg": "image/jpeg",
    "png": "image/png",
    "webp": "image/webp",
    "gif": "image/gif",
    "pdf": "application/pdf",
}
ID = r"(?:influencer-profiles|salon-profiles|chat)/[0-9a-f]{32}"  # 128 random bits: a name cannot be guessed
NAME = re.compile(rf"{ID}\.(?:{'|'.join(MEDIA_TYPES)})")

FULL = (errno.ENOSPC, errno.EDQUOT)  # the disk is full, or the quota is used up

CLOUDINARY = ("cloudinary_cloud_name", "cloudinary_api_key", "cloudinary_api_secret")  # its settings
THREADS = 4


class StorageFull(DomainError):
    """The disk is full; nothing of the file is kept."""

    status = 507
    code: ErrorCode = "STORAGE_FULL"
    error = "The server's storage is full"
    message = "The server's storage is full, so nothing was stored. Please try again later."


class MediaStore(Protocol):
    """Keeps files under unguessable names. `save` and `delete` of a vendor raise VendorError or Busy, `save` on the
    server's own disk StorageFull."""

    async def save(self, folder: Folder, data: bytes, content_type: str, extension: str) -> str:
        """Store the file and return its absolute URL, which was never used before."""

    async def delete(self, url: str | None) -> None:
        """Delete the file. Do nothing if it does not exist or is not stored here."""

    def path_of(self, name: str) -> Path | None:
        """Return the path of the file `/media/{name}`, if it exists. Blocks for a few system calls."""

    def close(self) -> None:
        """Release the threads. A call that is running ends by its own timeouts."""


def media_faults(values: Mapping[str, Any]) -> list[str]:
    """Check the settings of Cloudinary at start, by name (settings.load_settings): all of them or none."""
    missing = [name.upper() for name in CLOUDINARY if not values.get(name)]
    return (
        [f"{name}: is required when Cloudinary is used" for name in missing] if len(missing) < len(CLOUDINARY) else []
    )


def new_name(folder: Folder, extension: str) -> str:
    name = f"{folder}/{secrets.token_hex(16)}.{extension}"
    if not NAME.fullmatch(name):
        raise ValueError(f"{name} is not a valid file name")
    return name


class LocalMedia:
    """Files under `root`, served at `{public_url}/media/`."""

    def __init__(self, root: Path, public_url: str) -> None:
        self._root = root.resolve()
        self._base = f"{public_url}/media/"
        self._executor = ThreadPoolExecutor(THREADS, "media")
        self._outage = Outage("the disk with DATA_DIR/media is full", "the disk with DATA_DIR/media has room again")

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def save(self, folder: Folder, data: bytes, content_type: str, extension: str) -> str:
        name = new_name(folder, extension)
        try:
            await self._in_thread(partial(write_durably, self._root / name, data))
        except OSError as error:
            if error.errno not in FULL:
                raise
            self._outage.begin(error)
            raise StorageFull from error
        self._outage.end()
        return self._base + name

    async def delete(self, url: str | None) -> None:
        if url and url.startswith(self._base) and NAME.fullmatch(name := url.removeprefix(self._base)):
            await self._in_thread(partial((self._root / name).unlink, missing_ok=True))

    def path_of(self, name: str) -> Path | None:
        if not NAME.fullmatch(name):
            return None
        path = self._root / name
        # A symbolic link, of the file or its folder, could lead out of the root.
        return path if path.is_file() and path.resolve() == path else None

    async def _in_thread(self, act: Callable[[], None]) -> None:
        await asyncio.get_running_loop().run_in_executor(self._executor, act)


def write_durably(path: Path, data: bytes) -> None:
    """Write the complete file or nothing, so that it survives a power failure."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
        sync_folder(path.parent)
    except BaseException:
        for half in (draft, path):
            with suppress(OSError):
                half.unlink()
        raise


def sync_folder(path: Path) -> None:
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
