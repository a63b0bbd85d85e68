"""Log lines for outages of other servers: a WARNING when an outage begins, one line when it ends, none in between."""

import time

import structlog

log = structlog.get_logger()

REASON_CHARS = 200


class Outage:
    """An outage of a server. The texts are those of the two lines; `context` is added to both."""

    def __init__(self, begin_text: str, end_text: str, **context: str) -> None:
        self.begin_text = begin_text
        self.end_text = end_text
        self.context = context
        self.since: float | None = None

    def begin(self, error: BaseException) -> None:
        """Log the beginning of an outage, unless one is in progress."""
        if self.since is None:
            self.since = time.monotonic()
            reason = f"{type(error).__name__} {error}".strip()[:REASON_CHARS]
            log.warning(self.begin_text, reason=reason, **self.context)

    def end(self) -> None:
        """Log the end of an outage and its duration; do nothing if there is none."""
        if self.since is not None:
            seconds, self.since = time.monotonic() - self.since, None
            log.info(self.end_text, seconds=round(seconds, 1), **self.context)
