"""The metrics that the code counts (prometheus-client). handlers/metrics.py adds what is read at each scrape.

Every label has few values that are known in advance: route templates, codes, names of limits; never ids or addresses.
docs/operations.md lists all metrics.
"""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from prometheus_client import (
    GC_COLLECTOR,
    PLATFORM_COLLECTOR,
    PROCESS_COLLECTOR,
    REGISTRY,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)

# One prefix for everything, so that the process's own metrics are renamed.
for collector in (GC_COLLECTOR, PLATFORM_COLLECTOR, PROCESS_COLLECTOR):
    REGISTRY.unregister(collector)
ProcessCollector(namespace="encer")
# they are a third of all lines, and no query needs them
disable_created_metrics()  # type: ignore[no-untyped-call]

FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# -- HTTP --------------------------------------------------------------------------------------------------------------
REQUESTS = Counter("encer_http_requests_total", "Requests answered", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "encer_http_request_duration_seconds",
    "Time from a request's first byte to its answer",
    ["method", "route"],
    buckets=(*FAST, 30, 120),
)
REFUSALS = Counter("encer_limit_refusals_total", "Requests, commands and frames refused by a rate limit", ["limit"])


@cache
def request_metrics(method: str, route: str, status: int) -> tuple[Counter, Histogram]:
    """Return the counter and the histogram of a route, cached because `labels` costs more than both together."""
    return REQUESTS.labels(method, route, status), REQUEST_SECONDS.labels(method, route)


# -- WebSockets and events ---------------------------------------------------------------------------------------------
SOCKETS = Gauge("encer_websockets", "Open WebSockets")
SOCKETS_OPENED = Counter("encer_websockets_opened_total", "WebSockets opened")
SOCKETS_CLOSED = Counter(
    "encer_websockets_closed_total",
    "WebSockets closed, by close code and by the side that closed; code none: without a close frame",
    ["code", "by"],
)
FRAMES_SENT = Counter("encer_websocket_frames_sent_total", "Frames queued for WebSockets")
EVENTS_PUBLISHED = Counter("encer_events_published_total", "Events published by this instance", ["event"])
events_published = cache(EVENTS_PUBLISHED.labels)
DELIVERY_SECONDS = Histogram(
    "encer_event_delivery_seconds",
    "Time from an event's publication after the commit until it is written to this instance's sockets: once for those "
    "that take it at once, and once for each that makes its frame wait; by the instance that published it. Of other "
    "instances it includes the difference between the clocks",
    ["origin"],
    buckets=FAST,
)
DELIVERED = {origin: DELIVERY_SECONDS.labels(origin) for origin in ("own", "other")}
CATCH_UPS = Counter("encer_catch_ups_total", "Conversations read from the database because Redis lost an event")


# -- background work ---------------------------------------------------------------------------------------------------
MAILS = Counter("encer_mails_total", "Mails of the outbox", ["outcome"])
JOB_RUNS = Counter("encer_job_runs_total", "Runs of jobs that ended on this instance", ["job", "outcome"])
for outcome in ("sent", "retried", "failed"):
    MAILS.labels(outcome)
BCRYPT_REFUSED = Counter("encer_bcrypt_refused_total", "Passwords that were not checked because too many were waiting")
LOOP_LAG_SECONDS = Histogram(
    "encer_event_loop_lag_seconds",
    "Delay of timers of the event loop after their due time",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5),
)

# -- vendors -----------------------------------------------------------------------------------------------------------
VENDOR_SECONDS = Histogram(
    "encer_vendor_request_duration_seconds",
    "Calls of vendors: duration, and whether they succeeded",
    ["vendor", "outcome"],
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120),
)


for vendor in ("apify", "tiktok", "cloudinary", "mail", "images"):
    for outcome in ("ok", "timeout", "failed"):
        VENDOR_SECONDS.labels(vendor, outcome)


class VendorCall:
    outcome = "ok"

    def answered(self, status: int) -> None:
        """Set the outcome by the status of an HTTP answer. Answers to our own mistakes do not count as failures."""
        self.outcome = "failed" if status == 429 or status >= 500 else "ok"


@contextmanager
def vendor_call(vendor: str) -> Iterator[VendorCall]:
    """Measure a call. It fails if the block raises, else it succeeds, unless `answered` sets the outcome.

    A call that our side cancels is not counted, because it shows nothing about the vendor."""
    began, call = time.monotonic(), VendorCall()
    try:
        yield call
    except asyncio.CancelledError:
        raise
    except BaseException as error:
        call.outcome = "timeout" if "Timeout" in type(error).__name__ else "failed"
        count_call(vendor, call, began)
        raise
    count_call(vendor, call, began)


def count_call(vendor: str, call: VendorCall, began: float) -> None:
    VENDOR_SECONDS.labels(vendor, call.outcome).observe(time.monotonic() - began)
