"""Errors: one class per kind of failure, chosen by the `code` of the server's answer or by the client."""

from collections.abc import Mapping
from typing import Any


class EncerError(Exception):
    """`str(error)` is a sentence for people; `code` is for programs; `details` lists invalid fields."""

    code = "INTERNAL"

    def __init__(
        self,
        sentence: str,
        *,
        code: str | None = None,
        details: list[dict[str, str]] | None = None,
        retry_after: float | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(sentence)
        self.code = code or self.code
        self.details = details or []
        self.retry_after = retry_after
        self.status = status


# -- the server refuses ------------------------------------------------------------------------------------------------


class NotSignedIn(EncerError):
    """There are no tokens, or the server does not accept them. Sign in again."""

    code = "NOT_AUTHENTICATED"


class WrongCredentials(NotSignedIn):
    code = "INVALID_CREDENTIALS"


class SessionEnded(NotSignedIn):
    """The user was logged out, suspended or deleted."""

    code = "SESSION_ENDED"


class AccountSuspended(EncerError):
    code = "ACCOUNT_SUSPENDED"


class NotAllowed(EncerError):
    code = "FORBIDDEN"


class NotFound(EncerError):
    code = "NOT_FOUND"


class Invalid(EncerError):
    """The request is malformed or a field is invalid; `details` says which."""

    code = "VALIDATION_ERROR"


class TooLarge(Invalid):
    """The message, frame or file is over the limit."""

    code = "BODY_TOO_LARGE"


class Conflict(EncerError):
    code = "CONFLICT"


class RateLimited(EncerError):
    """Wait `retry_after` seconds."""

    code = "RATE_LIMITED"


class TooMany(EncerError):
    """Too many joined conversations or open sockets."""

    code = "TOO_MANY"


class Unavailable(EncerError):
    """The server cannot serve the request now. The same request may succeed later."""

    code = "NOT_READY"


# -- the client finds --------------------------------------------------------------------------------------------------


class Unreachable(EncerError):
    """The server does not answer."""

    code = "UNREACHABLE"


class CertificateRefused(EncerError):
    """The server's certificate is not valid for its name, or its authority is unknown."""

    code = "CERTIFICATE_REFUSED"


class WrongServer(EncerError):
    """The base URL does not lead to a Beautiful Encer server."""

    code = "WRONG_SERVER"


class WrongVersion(EncerError):
    """The server's version does not fit this client."""

    code = "WRONG_VERSION"


class OriginRefused(EncerError):
    """The server does not accept sockets of this web origin."""

    code = "ORIGIN_REFUSED"


class OutboxFull(EncerError):
    """Too many messages wait to be sent."""

    code = "OUTBOX_FULL"


class SendTimeout(EncerError):
    """A message was not confirmed in time. Sending it again with the same client message id stores it once."""

    code = "SEND_TIMEOUT"


class SlowConsumer(EncerError):
    """The program takes events from a stream more slowly than they arrive."""

    code = "SLOW_CONSUMER"


class Closed(EncerError):
    """The client or its socket is closed."""

    code = "CLOSED"


MAY_PASS = (Unreachable, Unavailable, RateLimited)  # the same request may succeed later

CLASSES: dict[str, type[EncerError]] = {
    **dict.fromkeys(("NOT_AUTHENTICATED", "TOKEN_EXPIRED", "INVALID_TOKEN"), NotSignedIn),
    "INVALID_CREDENTIALS": WrongCredentials,
    "SESSION_ENDED": SessionEnded,
    "ACCOUNT_SUSPENDED": AccountSuspended,
    **dict.fromkeys(("FORBIDDEN", "WRONG_PASSWORD", "EMAIL_NOT_VERIFIED", "TERMS_NOT_ACCEPTED"), NotAllowed),
    "NOT_FOUND": NotFound,
    **dict.fromkeys(
        (
            "VALIDATION_ERROR",
            "BAD_REQUEST",
            "INVALID_JSON",
            "INVALID_OTP",
            "INVALID_FILE",
            "URL_REFUSED",
            "INVALID_FRAME",
            "UNKNOWN_EVENT",
            "UNSUPPORTED_MEDIA_TYPE",
            "METHOD_NOT_ALLOWED",
            "NOT_ACCEPTABLE",
        ),
        Invalid,
    ),
    **dict.fromkeys(("BODY_TOO_LARGE", "HEADERS_TOO_LARGE", "URI_TOO_LONG"), TooLarge),
    **dict.fromkeys(
        (
            "CONFLICT",
            "EMAIL_TAKEN",
            "HANDLE_TAKEN",
            "CODE_NOT_FOUND",
            "PROFILE_PRIVATE",
            "PROFILE_RESTRICTED",
            "NEEDS_RECONNECT",
        ),
        Conflict,
    ),
    "RATE_LIMITED": RateLimited,
    "TOO_MANY": TooMany,
    **dict.fromkeys(
        (
            "INTERNAL",
            "NOT_READY",
            "BUSY",
            "REQUEST_TIMEOUT",
            "UPSTREAM_FAILED",
            "UPSTREAM_TIMEOUT",
            "NOT_CONFIGURED",
            "STORAGE_FULL",
        ),
        Unavailable,
    ),
    "CLOSED": Closed,
}


def error_of(body: Any, status: int | None = None) -> EncerError:
    """Return the error that an answer of the server describes: `{error, message, code, details?, retryAfter?}`."""
    if not isinstance(body, Mapping) or not isinstance(body.get("code"), str):
        return WrongServer("The answer does not come from a Beautiful Encer server. Check the base URL.", status=status)
    sentences = [str(body[name]).rstrip(".") for name in ("error", "message") if body.get(name)]
    text = ". ".join(dict.fromkeys(sentences)) + "."
    retry_after = body.get("retryAfter")
    return CLASSES.get(body["code"], EncerError)(
        text,
        code=body["code"],
        details=body.get("details"),
        status=status,
        retry_after=float(retry_after) if isinstance(retry_after, int | float) and retry_after > 0 else None,
    )
