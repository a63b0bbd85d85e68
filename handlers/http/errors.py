"""Expected failures that only HTTP has. Others are in db/errors.py, which realtime/ shares."""

from db.error_codes import ErrorCode
from db.errors import DomainError


class InvalidJson(DomainError):
    code: ErrorCode = "INVALID_JSON"
    error = "The request body is not valid JSON; please correct it"


class MethodNotAllowed(DomainError):
    status = 405
    code: ErrorCode = "METHOD_NOT_ALLOWED"

    def __init__(self, method: str | None, allowed: list[str]) -> None:
        error = f"This address does not accept {method}; please use {' or '.join(allowed)}"
        super().__init__(error, headers={"Allow": ", ".join(allowed)})


class BodyTooLarge(DomainError):
    status = 413
    code: ErrorCode = "BODY_TOO_LARGE"

    def __init__(self, max_bytes: int) -> None:
        super().__init__(f"The request is larger than {max_bytes:,} bytes; please send less")


class HeadersTooLarge(DomainError):
    status = 431
    code: ErrorCode = "HEADERS_TOO_LARGE"
    error = "The headers of the request are too large; please send shorter ones"


class RequestTimeout(DomainError):
    status = 408
    code: ErrorCode = "REQUEST_TIMEOUT"
    error = "The request did not arrive completely in time; please send it again"
