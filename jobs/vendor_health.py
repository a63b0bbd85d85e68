"""When a vendor as a whole is in trouble: going on would only cost time, money and the patience of all accounts."""

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

OUTAGE = 20  # failures in a row that may be the vendor's; more than a few bad accounts in a row make
REFUSALS = 5  # refusals of *us* in a row: another one would not be different
# The vendor took the order, and it came to nothing: the account may be at fault as well.
OF_ONE_RUN = (ActorFailed, UnreadableAnswer, VendorTimeout)


class VendorHealth:
    """Told of each outcome; `trouble` is what admins should know, once it makes no sense to go on."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.outages = 0
        self.refusals = 0
        self.trouble: str | None = None

    def worked(self) -> None:
        self.outages = self.refusals = 0

    def failed(self, error: VendorError, failed_before: bool = False) -> None:
        """`failed_before`: the account did so the last time too."""
        if is_refusal_of_us(error):
            self.refusals += 1
        elif failed_before and isinstance(error, OF_ONE_RUN):
            pass  # says nothing of the vendor; nights after, such accounts come one after the other
        elif isinstance(error, VendorUnavailable | VendorTimeout | VendorRateLimited):
            self.outages += 1
        else:
            self.worked()  # it answered, of this account
        if isinstance(error, NotConfigured) or self.refusals >= REFUSALS:
            self.trouble = f"{self.name}: {error.error}"
        elif self.outages >= OUTAGE:
            self.trouble = f"{self.name} failed {OUTAGE} times in a row: {error.error}"


def is_refusal_of_us(error: VendorError) -> bool:
    """The operator's to mend: no account is at fault."""
    return isinstance(error, VendorRefused | NotConfigured) and not isinstance(error, AccessTokenRefused)
