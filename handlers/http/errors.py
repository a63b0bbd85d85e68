"""Expected failures, each with its status, its code and a sentence for a person (contract §1)."""

import math
from typing import Any

import asyncpg

from db.error_codes import ErrorCode
from db.pool import DatabaseUnavailable
from db.queries.conversations import ConversationNotFound, ConversationReadOnly, UnknownAttachment
from db.queries.profiles import ProfileNotFound
from db.queries.social_accounts import HandleTaken
from db.schemas.decode import NotJson, TooDeep
from db.schemas.faults import Fault, fault
from services.errors import VendorError
from services.files.image_proxy import UrlRefused
from services.files.images import BadImage, UnsupportedMedia
from services.files.media import StorageFull
from services.security.passwords import WAIT_SECONDS as PASSWORD_WAIT_SECONDS
from services.security.turns import TooBusy
from services.slots import Busy
from services.tiktok.accounts import RefreshUnderWay

MAX_SENTENCES = 5  # of the message of a failed validation; `details` has them all


class ApiError(Exception):
    """A failure that is told to the client as it stands. `error` and `message` must each help by themselves."""

    status = 400
    code: ErrorCode = "BAD_REQUEST"
    error = "The request cannot be fulfilled"

    def __init__(
        self,
        error: str | None = None,
        message: str | None = None,
        *,
        code: ErrorCode | None = None,
        details: list[Fault] | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(error or self.error)
        self.error = error or self.error
        self.message = message or self.error
        self.code = code or self.code
        self.headers = headers or {}
        self.extra = {**({"details": details} if details else {}), **extra}

    def body(self) -> dict[str, Any]:
        return {"error": self.error, "message": self.message, "code": self.code, **self.extra}


class BadRequest(ApiError):
    pass


class InvalidJson(ApiError):
    code = "INVALID_JSON"
    error = "The request body is not valid JSON"


class Invalid(ApiError):
    """Failed validation: every bad field is listed, each with a sentence (db/schemas/faults.py)."""

    code = "VALIDATION_ERROR"
    error = "Some fields are not valid"

    def __init__(self, details: list[Fault]) -> None:
        sentences = [each["message"] for each in details[:MAX_SENTENCES]]
        super().__init__(sentences[0], ". ".join(sentences), details=details)


class NotAuthenticated(ApiError):
    status = 401
    code = "NOT_AUTHENTICATED"
    error = "Please sign in"


class Forbidden(ApiError):
    status = 403
    code: ErrorCode = "FORBIDDEN"  # subclasses say more
    error = "You are not allowed to do this"


class NotFound(ApiError):
    status = 404
    code = "NOT_FOUND"

    def __init__(self, noun: str = "Page") -> None:
        super().__init__(f"{noun} not found")


class MethodNotAllowed(ApiError):
    status = 405
    code = "METHOD_NOT_ALLOWED"

    def __init__(self, method: str | None, allowed: list[str]) -> None:
        super().__init__(f"{method} is not possible here", headers={"Allow": ", ".join(allowed)})


class TooLarge(ApiError):
    status = 413
    code = "BODY_TOO_LARGE"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The request is larger than {max_bytes:,} bytes")


class HeadersTooLarge(ApiError):
    status = 431
    code = "HEADERS_TOO_LARGE"
    error = "The headers of the request are too large; please send shorter ones"


class RequestTimeout(ApiError):
    status = 408
    code = "REQUEST_TIMEOUT"
    error = "The request did not arrive completely in time; please send it again"


class UnsupportedMediaType(ApiError):
    status = 415
    code = "UNSUPPORTED_MEDIA_TYPE"
    error = "This media type is not accepted here"


class Conflict(ApiError):
    status = 409
    code: ErrorCode = "CONFLICT"  # subclasses say more
    error = "This conflicts with the present state"


class RateLimited(ApiError):
    status = 429
    code = "RATE_LIMITED"

    def __init__(self, retry_after: int, error: str = "Too many requests; please try again later") -> None:
        super().__init__(error, headers={"Retry-After": str(retry_after)}, retryAfter=retry_after)


class NotReady(ApiError):
    status = 503
    code = "NOT_READY"
    error = "The service is not ready; please try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class ServerBusy(ApiError):
    status = 503
    code = "BUSY"
    error = "The server is busy; please try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": str(PASSWORD_WAIT_SECONDS)})


class InsufficientStorage(ApiError):
    status = 507
    code = "STORAGE_FULL"
    error = "The server has no room for more files"

    def __init__(self) -> None:
        super().__init__(message="Nothing was stored. Please try again later.")


class Internal(ApiError):
    status = 500
    code = "INTERNAL"
    error = "Something went wrong on our side"


class UpstreamFailed(ApiError):
    """What a vendor did, in the words that are meant for clients."""

    def __init__(self, error: VendorError) -> None:
        wait = {"Retry-After": str(max(1, math.ceil(error.retry_after)))} if error.retry_after else {}
        super().__init__(error.title, error.message, code=error.code, headers=wait, reason=error.reason)
        self.status = error.status


class EmailTaken(Conflict):
    code = "EMAIL_TAKEN"

    def __init__(self) -> None:
        super().__init__("E-mail is already registered", "Please sign in, or reset your password.")


class ProvenByAnother(Conflict):
    code = "HANDLE_TAKEN"

    def __init__(self) -> None:
        super().__init__(
            "This account has been proven to belong to another user", "If the profile is yours, please write to us."
        )


# Told, never raised: an exception that is raised again and again keeps the frames of every time.
# What a violated constraint means to the client; any other violation is our fault and a 500.
CONSTRAINTS: dict[str, ApiError] = {
    "users_email_key": EmailTaken(),
    "connection_requests_pair_key": Conflict("There is already a connection or a request between you two"),
    "social_media_accounts_proven_key": ProvenByAnother(),
    "job_runs_running_key": Conflict("This job is already running"),
}


def to_api_error(error: BaseException) -> ApiError | None:
    """What to tell the client of this failure; None if it is a defect of ours."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, NotJson):
        return InvalidJson()
    if isinstance(error, TooDeep):
        return Invalid([{"field": "", "message": f"The body {error}"}])
    if isinstance(error, ConversationNotFound):
        return NotFound("Conversation")
    if isinstance(error, ConversationReadOnly):
        return Forbidden("You are no longer connected; this conversation is read-only")
    if isinstance(error, UnknownAttachment):
        return Invalid([fault("fileUrl", "must come from an upload to this conversation")])
    if isinstance(error, UrlRefused):
        return BadRequest(str(error), code="URL_REFUSED")
    if isinstance(error, HandleTaken):
        return ProvenByAnother()
    if isinstance(error, RefreshUnderWay):
        return Conflict("The account is being synchronised; please try again in a moment")
    if isinstance(error, ProfileNotFound):
        return NotFound("Profile")
    if isinstance(error, UnsupportedMedia):
        return UnsupportedMediaType(str(error))
    if isinstance(error, BadImage):
        return BadRequest(str(error), code="INVALID_FILE")
    if isinstance(error, VendorError):
        return UpstreamFailed(error)
    if isinstance(error, StorageFull):
        return InsufficientStorage()
    if isinstance(error, TooBusy):
        return ServerBusy()
    if isinstance(error, DatabaseUnavailable | Busy):
        return NotReady()
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        return CONSTRAINTS.get(error.constraint_name or "")
    return None
