"""What /metrics shows (prometheus-client). Labels are route templates and codes, never ids or addresses."""

from prometheus_client import Counter, Gauge, Histogram

REQUEST_SECONDS = Histogram(
    "http_request_seconds",
    "Time from a request's first byte to its answer",
    ["method", "route", "status"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
)
SOCKETS = Gauge("websockets", "Open WebSockets of this instance")
EVENTS = Counter("realtime_events_total", "Events handed to sockets of this instance", ["event"])
SOCKET_CLOSES = Counter("websocket_closes_total", "WebSockets closed by this instance", ["code"])
CATCH_UPS = Counter("realtime_catch_ups_total", "Times events were fetched from the database because Redis missed them")
MAILS = Counter("mails_total", "Mails of the outbox", ["outcome"])
JOB_RUNS = Counter("job_runs_total", "Runs of jobs", ["job", "outcome"])
