"""Notice when a vendor as a whole fails, so that a job ends instead of trying all accounts."""

from services.errors import (
    AccessTokenRefused,
    ActorFailed,
    NotConfigured,
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
)

OUTAGE = 20  # failures in a row; a few bad accounts in a row cause fewer
REFUSALS = 5  # refusals of our credentials in a row
# The vendor started the work and it failed; the account may be the cause.
RUN_FAILURES = (ActorFailed, UnreadableAnswer, VendorTimeout)


class VendorHealth:
    """Counts outcomes. `reason_to_end` is set when the job should end; admins see its text."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outages = 0
        self.refusals = 0
        self.reason_to_end: str | None = None

    def succeeded(self) -> None:
        self.outages = self.refusals = 0

    def failed(self, error: VendorError, failed_before: bool = False) -> None:
        """Count a failure. `failed_before`: the account failed the last time too."""
        if refuses_credentials(error):
            self.refusals += 1
        elif failed_before and isinstance(error, RUN_FAILURES):
            pass  # such accounts are due in a row every night, so they do not show the vendor's state
        elif isinstance(error, VendorUnavailable | VendorTimeout | VendorRateLimited):
            self.outages += 1
        else:
            self.succeeded()  # the vendor answered; the failure concerns this account
        if isinstance(error, NotConfigured) or self.refusals >= REFUSALS:
            self.reason_to_end = f"{self.name}: {error.error}"
        elif self.outages >= OUTAGE:
            self.reason_to_end = f"{self.name} failed {OUTAGE} times in a row: {error.error}"


def refuses_credentials(error: VendorError) -> bool:
    """Return whether the vendor refuses our credentials, which only the operator can change."""
    return isinstance(error, VendorRefused | NotConfigured) and not isinstance(error, AccessTokenRefused)
