"""Log lines for what goes away and comes back: one line when it goes, one when it is back, none in between."""

import time

import structlog

log = structlog.get_logger()

REASON_CHARS = 200


class Outage:
    """`gone` and `back` are the texts of the two lines; `context` stands in both."""

    def __init__(self, gone: str, back: str, **context: str) -> None:
        self.gone = gone
        self.back = back
        self.context = context
        self.since: float | None = None

    def begin(self, error: BaseException) -> None:
        """Log that it has failed, unless that is known."""
        if self.since is None:
            self.since = time.monotonic()
            reason = f"{type(error).__name__} {error}".strip()[:REASON_CHARS]
            log.warning(self.gone, reason=reason, **self.context)

    def end(self) -> None:
        """Log that it works again and how long it did not; does nothing if it was not away."""
        if self.since is not None:
            seconds, self.since = time.monotonic() - self.since, None
            log.warning(self.back, seconds=round(seconds, 1), **self.context)
