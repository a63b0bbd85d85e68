"""Storage of files at Cloudinary. Only where it is configured, stores.py loads this module with the SDK."""

import asyncio
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import urllib3

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
from services.files.media import ID, THREADS, Folder, LocalMedia, new_name
from services.metrics import vendor_call
from services.slots import Slots
from settings import Settings

VENDOR = "Cloudinary"
CONNECT_SECONDS = 5
READ_SECONDS = 20  # the SDK's default of 60 s is longer than a user waits
CALL_SECONDS = 30  # for all attempts to connect, the upload and the answer


class CloudinaryMedia:
    """Files at Cloudinary. `local` still serves and deletes files that were stored before Cloudinary was configured."""

    def __init__(self, settings: Settings, api_secret: str, local: LocalMedia) -> None:
        cloud, prefix = settings.cloudinary_cloud_name, settings.cloudinary_upload_prefix
        # Passed with each call, so that the SDK never reads its global configuration.
        self._options: dict[str, Any] = {
            "cloud_name": cloud,
            "api_key": settings.cloudinary_api_key,
            "api_secret": api_secret,
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
