"""Failures of vendors. Clients receive fixed sentences; only the log has the vendor's text.

`error` and `message` are fixed sentences, safe for any client. The vendor's own words are in `detail` (and in
`str(error)`), for the log alone.
"""

import logging
import math

from db.error_codes import ErrorCode
from db.errors import DomainError

# A vendor's error page can be a whole HTML document; the beginning is enough to find the cause.
DETAIL_MAX_CHARS = 500


class VendorError(DomainError):
    """A failure of a vendor. The client receives `status`, `code` and, more exactly, `reason`."""

    status = 502
    code: ErrorCode = "UPSTREAM_FAILED"
    reason = "UPSTREAM_FAILED"
    error = "The service did not answer properly"
    message = "The service behind this feature did not answer properly. Please try again later."
    log_level = logging.INFO  # most failures end without an action of the operator

    def __init__(self, vendor: str, detail: str = "", *, retry_after: float | None = None) -> None:
        """`vendor` names the vendor, `detail` is for the log, `retry_after` is in seconds if the vendor gave it."""
        self.vendor = vendor
        self.detail = detail[:DETAIL_MAX_CHARS]
        self.retry_after = retry_after
        wait = {"Retry-After": str(max(1, math.ceil(retry_after)))} if retry_after else {}
        super().__init__(headers=wait, reason=self.reason)
        self.args = (f"{vendor}: {self.detail}" if detail else vendor,)


class NotConfigured(VendorError):
    """This server has no credentials for the vendor, so it sent no request."""

    status = 503
    code = "NOT_CONFIGURED"
    reason = "NOT_CONFIGURED"
    error = "This feature is not set up"
    message = "This feature is not set up on this server. Please ask the operator to set it up."


class VendorUnavailable(VendorError):
    """The vendor is unavailable or failed temporarily; the call may be repeated later."""


class VendorUnreachable(VendorUnavailable):
    """No connection could be made, or it failed before the answer arrived."""

    reason = "UPSTREAM_UNREACHABLE"
    error = "The service cannot be reached"
    message = "The service behind this feature cannot be reached at the moment. Please try again later."


class UnreadableAnswer(VendorUnavailable):
    """The vendor sent an answer that does not match its documentation."""

    reason = "UPSTREAM_UNREADABLE"
    error = "The service sent an unexpected answer"
    message = "The service behind this feature sent an unexpected answer. Please try again later."


class ActorFailed(VendorUnavailable):
    """The scrape started and ended without a result: failed, aborted, or unknown to the vendor by now."""

    reason = "UPSTREAM_RUN_FAILED"
    error = "The profile could not be read"
    message = "The profile could not be read this time. Please try again later."


class VendorTimeout(VendorError):
    """The vendor did not answer within our own bound."""

    status = 504
    code = "UPSTREAM_TIMEOUT"
    reason = "UPSTREAM_TIMEOUT"
    error = "The service took too long"
    message = "The service behind this feature took too long to answer. Please try again later."


class ActorTimedOut(VendorTimeout):
    """The vendor reports that the scrape exceeded its timeout."""


class VendorRateLimited(VendorError):
    """The vendor's rate limit refused the call; nothing was done."""

    reason = "UPSTREAM_BUSY"
    error = "The service is busy"
    message = "The service behind this feature is busy. Please try again in a few minutes."


class VendorRefused(VendorError):
    """The vendor refuses our token, key or request. Neither the user nor a retry can change that."""

    reason = "UPSTREAM_REFUSED"
    error = "The service refused the request"
    log_level = logging.WARNING
    message = "The service behind this feature refused the request. Please tell the operator of this server."


class OutOfCredit(VendorRefused):
    """The credit of our account at the vendor is used up."""

    reason = "UPSTREAM_PAUSED"
    error = "This feature is paused"
    message = "This feature is paused at the moment. Please try again tomorrow."


class AccessTokenRefused(VendorRefused):
    """A user's access token has expired or was withdrawn; refreshing it may help."""

    status = 409
    code = "NEEDS_RECONNECT"
    reason = "NEEDS_RECONNECT"
    log_level = logging.INFO
    error = "Please connect the account again"
    message = "The platform no longer accepts this connection. Please connect the account again."


class NeedsReconnect(AccessTokenRefused):
    """The user's grant has ended; the user must connect the account again."""

    refused: bytes | None = None  # the encrypted refresh token of the grant, if it is newer than the caller's


class ProfileNotFound(VendorError):
    status = 404
    code = "NOT_FOUND"
    reason = "PROFILE_NOT_FOUND"
    error = "Profile not found"
    message = "There is no profile with this username. Please check the spelling."


class EmptyDataset(ProfileNotFound):
    """The scrape succeeded and found nothing at all."""

    message = "Nothing was found under this username. Please check the spelling, or try again later."


class ProfilePrivate(VendorError):
    status = 409
    code = "PROFILE_PRIVATE"
    reason = "PROFILE_PRIVATE"
    error = "Profile is private"
    message = "This profile is private. Please make it public and try again."


class ProfileRestricted(VendorError):
    """The platform shows the profile to some ages or countries only, so not to a scraper. A retry cannot help."""

    status = 409
    code = "PROFILE_RESTRICTED"
    reason = "PROFILE_RESTRICTED"
    error = "Profile is restricted to some viewers"
    message = (
        "This profile is shown only to people of a certain age or in certain countries. "
        "Please remove its minimum age and its country limits in the settings of the account, then try again."
    )
