"""Error codes: every `code` of a failed request or a rejected frame (contract §1)."""

from typing import Annotated, Literal, get_args

from pydantic import Field
from typing_extensions import TypeAliasType

Code = Literal[
    "ACCOUNT_SUSPENDED",
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "BUSY",
    "CLOSED",
    "CODE_NOT_FOUND",
    "CONFLICT",
    "EMAIL_NOT_VERIFIED",
    "EMAIL_TAKEN",
    "FORBIDDEN",
    "HANDLE_TAKEN",
    "HEADERS_TOO_LARGE",
    "INTERNAL",
    "INVALID_CREDENTIALS",
    "INVALID_FILE",
    "INVALID_FRAME",
    "INVALID_JSON",
    "INVALID_OTP",
    "INVALID_TOKEN",
    "METHOD_NOT_ALLOWED",
    "NEEDS_RECONNECT",
    "NOT_ACCEPTABLE",
    "NOT_AUTHENTICATED",
    "NOT_CONFIGURED",
    "NOT_FOUND",
    "NOT_IMPLEMENTED",
    "NOT_READY",
    "PROFILE_PRIVATE",
    "PROFILE_RESTRICTED",
    "RATE_LIMITED",
    "REQUEST_TIMEOUT",
    "SESSION_ENDED",
    "STORAGE_FULL",
    "TERMS_NOT_ACCEPTED",
    "TOKEN_EXPIRED",
    "TOO_MANY",
    "UNKNOWN_EVENT",
    "UNSUPPORTED_MEDIA_TYPE",
    "UPGRADE_REQUIRED",
    "UPSTREAM_FAILED",
    "UPSTREAM_TIMEOUT",
    "URI_TOO_LONG",
    "URL_REFUSED",
    "VALIDATION_ERROR",
    "VERSION_NOT_SUPPORTED",
    "WRONG_PASSWORD",
]

ERROR_CODES: tuple[Code, ...] = get_args(Code)
# A named type, so that generated clients name it too.
ErrorCode = TypeAliasType("ErrorCode", Annotated[Code, Field(description="What failed, for programs")])
