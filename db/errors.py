"""Expected failures: each carries its status, its code and a sentence for a person (docs/api.md, Errors).

REST renders one as a response and the WebSocket as an `error` frame. Every other exception is a defect: a logged 500
with a fixed text.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import asyncpg

from db.error_codes import ErrorCode
from db.schemas.faults import Fault

MAX_SENTENCES = 5  # in the message of a failed validation; `details` has all of them


class DomainError(Exception):
    """A failure that is sent to the client unchanged. `error` and `message` must each be a helpful sentence.

    `message` is the same as `error` unless it says more. `extra` are further fields of the body.
    """

    status = 400
    code: ErrorCode = "BAD_REQUEST"
    error = "The request cannot be fulfilled"
    message = ""

    def __init__(
        self,
        error: str | None = None,
        message: str | None = None,
        *,
        code: ErrorCode | None = None,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(error or self.error)
        self.message = message or error or self.message or self.error
        self.error = error or self.error
        self.code = code or self.code
        self.headers = headers or {}
        self.extra = extra

    def body(self) -> dict[str, Any]:
        return {"error": self.error, "message": self.message, "code": self.code, **self.extra}


class BadRequest(DomainError):
    pass


class Invalid(DomainError):
    """Failed validation. `details` lists every invalid field, each with a sentence (db/schemas/faults.py)."""

    code: ErrorCode = "VALIDATION_ERROR"

    def __init__(self, details: list[Fault]) -> None:
        sentences = [each["message"] for each in details[:MAX_SENTENCES]]
        super().__init__(sentences[0], ". ".join(sentences), details=details)


class NotAuthenticated(DomainError):
    status = 401
    code: ErrorCode = "NOT_AUTHENTICATED"
    error = "Please sign in"


class Forbidden(DomainError):
    status = 403
    code: ErrorCode = "FORBIDDEN"
    error = "You are not allowed to do this"


class NotFound(DomainError):
    """It does not exist, or the caller may not know of it. `noun` begins the sentence; without it a page is missing."""

    status = 404
    code: ErrorCode = "NOT_FOUND"

    error = "Page not found; please check the address"

    def __init__(self, noun: str = "") -> None:
        super().__init__(f"{noun} not found; it may have been deleted, please reload the page" if noun else None)


class Conflict(DomainError):
    status = 409
    code: ErrorCode = "CONFLICT"
    error = "This is not possible in the present state. Please reload and try again"


class EmailTaken(Conflict):
    code: ErrorCode = "EMAIL_TAKEN"
    error = "E-mail is already registered"
    message = "Please sign in, or reset your password."


class HandleTaken(Conflict):
    """Another user has proven to be the owner of the social account."""

    code: ErrorCode = "HANDLE_TAKEN"
    error = "This account has been proven to belong to another user"
    message = "If the profile is yours, please write to us."


class UnsupportedMediaType(DomainError):
    status = 415
    code: ErrorCode = "UNSUPPORTED_MEDIA_TYPE"
    error = "This media type is not accepted here"


class RateLimited(DomainError):
    """`retry_after` is in seconds."""

    status = 429
    code: ErrorCode = "RATE_LIMITED"

    def __init__(self, retry_after: int, error: str = "Too many requests; please try again later") -> None:
        super().__init__(error, headers={"Retry-After": str(retry_after)}, retryAfter=retry_after)


class NotReady(DomainError):
    """A part of the server cannot serve the request now. `cause` is for the log."""

    status = 503
    code: ErrorCode = "NOT_READY"
    error = "The service is not ready; please try again in a moment"

    def __init__(self, cause: str = "") -> None:
        super().__init__(headers={"Retry-After": "2"})
        if cause:
            self.args = (cause,)


class Internal(DomainError):
    """The error that a client receives for a defect."""

    status = 500
    code: ErrorCode = "INTERNAL"
    error = "Something went wrong on our side"


# The expected failure for a violated constraint. A violation of any other constraint is a defect.
CONSTRAINTS: dict[str, Callable[[], DomainError]] = {
    "users_email_key": EmailTaken,
    "connection_requests_pair_key": partial(Conflict, "There is already a connection or a request between you two"),
    "social_media_accounts_proven_key": HandleTaken,
    "job_runs_running_key": partial(Conflict, "This job is already running"),
}


def find_domain_error(error: BaseException) -> DomainError | None:
    """Return the expected failure for an exception, or None if it is a defect."""
    if isinstance(error, DomainError):
        return error
    if isinstance(error, asyncpg.IntegrityConstraintViolationError):
        make = CONSTRAINTS.get(error.constraint_name or "")
        return make() if make else None
    return None
