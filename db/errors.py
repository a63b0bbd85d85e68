"""Expected failures: each carries its status, its code and a sentence for a person (docs/api.md, Errors).

REST renders one as a response and the WebSocket as an `error` frame. Every other exception is a defect: a logged 500
with a fixed text.
"""

from typing import Any

from db.error_codes import ErrorCode


class DomainError(Exception):
    """A failure that is sent to the client as it is. `error` and `message` must each help by themselves."""

    status = 400
    code: ErrorCode = "BAD_REQUEST"
    error = "The request cannot be fulfilled"

    def __init__(
        self,
        error: str | None = None,
        message: str | None = None,
        *,
        code: ErrorCode | None = None,
        details: list[dict[str, str]] | None = None,
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


class Invalid(DomainError):
    """Failed validation. `details` lists every invalid field."""

    code: ErrorCode = "VALIDATION_ERROR"
    error = "Some fields are not valid"

    def __init__(self, details: list[dict[str, str]]) -> None:
        super().__init__(describe(details[0]), "; ".join(describe(fault) for fault in details[:5]), details=details)


def describe(fault: dict[str, str]) -> str:
    """Return one sentence about a fault; a fault without a field concerns the body as a whole."""
    return f"{fault['field']}: {fault['message']}" if fault["field"] else fault["message"]


class NotAuthenticated(DomainError):
    status = 401
    code: ErrorCode = "NOT_AUTHENTICATED"
    error = "Please sign in"


class Forbidden(DomainError):
    status = 403
    code: ErrorCode = "FORBIDDEN"
    error = "You are not allowed to do this"


class NotFound(DomainError):
    status = 404
    code: ErrorCode = "NOT_FOUND"

    def __init__(self, noun: str = "Page") -> None:
        super().__init__(f"{noun} not found")


class Conflict(DomainError):
    status = 409
    code: ErrorCode = "CONFLICT"
    error = "This conflicts with the present state"


class RateLimited(DomainError):
    status = 429
    code: ErrorCode = "RATE_LIMITED"

    def __init__(self, retry_after: int, error: str = "Too many requests; please try again later") -> None:
        super().__init__(error, headers={"Retry-After": str(retry_after)}, retryAfter=retry_after)


class NotReady(DomainError):
    status = 503
    code: ErrorCode = "NOT_READY"
    error = "The service is not ready; please try again in a moment"

    def __init__(self) -> None:
        super().__init__(headers={"Retry-After": "2"})


class Internal(DomainError):
    status = 500
    code: ErrorCode = "INTERNAL"
    error = "Something went wrong on our side"
