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
from urllib.parse import urlsplit

import urllib3

from db.error_codes import ErrorCode
from db.errors import DomainError
from db.outage import Outage
from services.errors import (
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from services.files.cloudinary_sdk import exceptions as sdk
from services.files.cloudinary_sdk import uploader
from services.metrics import vendor_call
from services.slots import Slots
from settings import Settings, SettingsError

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

VENDOR = "Cloudinary"
CLOUDINARY = ("cloudinary_cloud_name", "cloudinary_api_key", "cloudinary_api_secret")  # its settings
CONNECT_SECONDS = 5
READ_SECONDS = 20  # the SDK's default of 60 s is longer than a user waits
CALL_SECONDS = 30  # for all attempts to connect, the upload and the answer
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


def media_from_settings(settings: Settings) -> MediaStore:
    faults = media_faults(dict(settings))
    if faults:
        raise SettingsError("\n".join(faults))
    local = LocalMedia(settings.data_dir / "media", settings.public_url)
    return CloudinaryMedia(settings, local) if settings.cloudinary_cloud_name else local


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


class CloudinaryMedia:
    """Files at Cloudinary. `local` still serves and deletes files that were stored before Cloudinary was configured."""

    def __init__(self, settings: Settings, local: LocalMedia) -> None:
        assert settings.cloudinary_api_secret
        cloud, prefix = settings.cloudinary_cloud_name, settings.cloudinary_upload_prefix
        # Passed with each call, so that the SDK never reads its global configuration.
        self._options: dict[str, Any] = {
            "cloud_name": cloud,
            "api_key": settings.cloudinary_api_key,
            "api_secret": settings.cloudinary_api_secret.get_secret_value(),
            "oauth_token": None,
            "upload_prefix": prefix,
            "timeout": urllib3.Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS),
        }
        self._hosts = {"res.cloudinary.com", f"{cloud}-res.cloudinary.com", urlsplit(prefix).netloc}
        self._path = re.compile(rf"(?:/{re.escape(cloud or '')})?/(image|raw)/upload/(?:v\d+/)?({ID})(\.\w+)?")
        self._local = local
        self._executor = ThreadPoolExecutor(THREADS, "cloudinary")
        self._slots = Slots(running=THREADS, waiting=32)

    def close(self) -> None:
        self._executor.shutdown(wait=False, cancel_futures=True)
        self._local.close()

    def path_of(self, name: str) -> Path | None:
        return self._local.path_of(name)

    async def save(self, folder: Folder, data: bytes, content_type: str, extension: str) -> str:
        file = new_name(folder, extension).removeprefix(f"{folder}/")
        if extension == "pdf":  # Cloudinary converts images; a raw file stays, with its extension in its id
            kind = {"resource_type": "raw", "public_id": file}
        else:
            kind = {"resource_type": "image", "public_id": file.removesuffix(f".{extension}")}
        answer = await self._call(uploader.upload, data, folder=folder, filename=file, **kind)
        if not isinstance(url := answer.get("secure_url"), str):
            raise UnreadableAnswer(VENDOR, f"upload without a URL: {answer}")
        return url

    async def delete(self, url: str | None) -> None:
        await self._local.delete(url)
        if asset := self.asset_of(url or ""):
            resource_type, public_id = asset
            answer = await self._call(uploader.destroy, public_id, resource_type=resource_type, invalidate=True)
            if answer.get("result") not in ("ok", "not found"):
                raise UnreadableAnswer(VENDOR, f"destroy: {answer}")

    def asset_of(self, url: str) -> tuple[str, str] | None:
        """Return resource type and public id of a file that this store keeps under `url`."""
        _, _, rest = url.partition("://")
        host, _, path = rest.partition("/")
        match = self._path.fullmatch(f"/{path}")
        if not match or host not in self._hosts:
            return None
        resource_type, public_id, extension = match.groups("")
        return resource_type, public_id + extension if resource_type == "raw" else public_id

    async def _call(self, act: Callable[..., Any], what: bytes | str, **options: Any) -> dict[str, Any]:
        call = partial(act, what, **self._options, **options)
        try:
            async with self._slots.take(), asyncio.timeout(CALL_SECONDS):
                with vendor_call("cloudinary"):
                    answer = await asyncio.get_running_loop().run_in_executor(self._executor, call)
        except TimeoutError:
            raise VendorTimeout(VENDOR) from None
        except sdk.Error as error:
            raise translate(error) from error
        except (TypeError, LookupError) as error:  # the SDK does not check the shape of an answer
            raise UnreadableAnswer(VENDOR, repr(error)) from error
        if not isinstance(answer, dict):
            raise UnreadableAnswer(VENDOR, repr(answer))
        return answer


def translate(error: sdk.Error) -> VendorError:
    """Return our error for what the SDK raised. Only its context contains the cause."""
    cause = error.__context__
    if isinstance(cause, urllib3.exceptions.MaxRetryError):
        cause = cause.reason
    kind: type[VendorError] = VendorError
    if isinstance(cause, urllib3.exceptions.NewConnectionError):  # urllib3 counts it as a TimeoutError
        kind = VendorUnreachable
    elif isinstance(cause, urllib3.exceptions.TimeoutError):
        kind = VendorTimeout
    elif isinstance(cause, (urllib3.exceptions.HTTPError, OSError)):
        kind = VendorUnreachable
    elif isinstance(cause, ValueError):  # invalid JSON
        kind = UnreadableAnswer
    elif isinstance(error, (sdk.AuthorizationRequired, sdk.NotAllowed)):
        kind = VendorRefused
    elif isinstance(error, sdk.RateLimited):
        kind = VendorRateLimited
    elif isinstance(error, sdk.GeneralError):
        kind = VendorUnavailable
    return kind(VENDOR, str(error))
