"""Map Apify's errors to ours, and decide which calls may be repeated."""

import impit
from apify_client.errors import ApifyApiError

from services.apify.bounded import VENDOR
from services.errors import (
    OutOfCredit,
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)

# Too many runs at once, also a 402. It passes when runs end; an empty account does not.
RESOURCE_LIMITS = {"actor-memory-limit-exceeded", "concurrent-runs-limit-exceeded"}
# The 403 of an account whose monthly usage is exhausted.
USAGE_LIMITS = {"platform-feature-disabled", "not-enough-usage-to-run-paid-actor"}
# Errors of an answer that is not JSON or not an object, is too large, lacks fields, or is nested too deep.
UNREADABLE = (ValueError, RecursionError)
# Everything that the SDK and its transport raise.
SDK_ERRORS = (ApifyApiError, impit.HTTPError, impit.InvalidURL, impit.StreamError, *UNREADABLE)


def translate(error: Exception) -> VendorError:
    detail = describe(error)
    if isinstance(error, ApifyApiError):
        return translate_status(error.status_code, error.type or "", detail)
    if isinstance(error, impit.TimeoutException):
        return VendorTimeout(VENDOR, detail)
    if isinstance(error, UNREADABLE):
        return UnreadableAnswer(VENDOR, detail)
    return VendorUnreachable(VENDOR, detail)


def translate_status(status: int, error_type: str, detail: str) -> VendorError:
    if status == 429 or error_type in RESOURCE_LIMITS:
        return VendorRateLimited(VENDOR, detail)
    if status == 402 or error_type in USAGE_LIMITS:
        return OutOfCredit(VENDOR, detail)
    if status == 408:
        return VendorTimeout(VENDOR, detail)
    if 400 <= status < 500:
        return VendorRefused(VENDOR, detail)
    return VendorUnavailable(VENDOR, detail)


def is_surely_not_started(error: Exception) -> bool:
    """Return whether a start may be sent again: it was refused, or no connection was made."""
    if isinstance(error, ApifyApiError):
        return error.status_code == 429
    return isinstance(error, impit.ConnectError | impit.ConnectTimeout)


def is_transient(error: Exception) -> bool:
    """Return whether a read may be sent again."""
    if isinstance(error, ApifyApiError):
        return error.status_code in (408, 429) or error.status_code >= 500
    return isinstance(error, impit.HTTPError)


def describe(error: BaseException) -> str:
    """Return a text for the log."""
    if isinstance(error, ApifyApiError):
        return f"{error.status_code} {error.type}: {error.message}"
    return f"{type(error).__name__}: {error}"
