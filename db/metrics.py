"""Metrics of the database pool. services/metrics.py holds all others; `db` may not import it."""

from prometheus_client import Histogram

POOL_WAIT_SECONDS = Histogram(
    "encer_db_pool_wait_seconds",
    "Time that a statement or transaction waited for a connection of the pool",
    buckets=(0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2),
)
