"""/metrics: the counters of the code (services/metrics.py), and the state of this instance at the scrape."""

import asyncio
import platform
import time
from collections.abc import Iterable, Iterator

import asyncpg
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from db.migrations import check_database
from db.pool import DatabaseUnavailable
from handlers.http.application import App
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, endpoint
from settings import VERSION

DATABASE_SECONDS = 1.0  # a scrape waits no longer for the database; without it these metrics are absent
STORED_SECONDS = 5.0  # scrapes within this time share one read of the database

# A mail that waits for its next attempt is not due: one recipient that refuses mails must not look like an outage.
COUNT_OUTBOX = """
    select count(*) as waiting, greatest(extract(epoch from now() - min(next_attempt_at)), 0)::float8 as oldest
    from email_outbox where sent_at is null and failed_at is null
"""

# Housekeeping keeps the runs of 90 days: a few hundred rows. A job that has never succeeded counts too.
SUM_UP_JOBS = """
    select job,
        coalesce(extract(epoch from max(finished_at) filter (where status = 'SUCCEEDED')), 0)::float8 as succeeded_at,
        (array_agg(extract(epoch from finished_at - started_at)::float8 order by finished_at desc)
            filter (where finished_at is not null))[1] as seconds,
        coalesce(bool_or(status = 'RUNNING' and lease_until > now()), false) as running
    from unnest($1::text[]) job left join job_runs using (job) group by job
"""


def gauge(name: str, text: str, value: float, **labels: str) -> Metric:
    family = GaugeMetricFamily(f"encer_{name}", text, labels=list(labels))
    family.add_metric(list(labels.values()), value)
    return family


def by_job(name: str, text: str, rows: Iterable[asyncpg.Record], column: str) -> Metric:
    family = GaugeMetricFamily(f"encer_{name}", text, labels=["job"])
    for row in rows:
        if row[column] is not None:
            family.add_metric([row["job"]], float(row[column]))
    return family


class InstanceState:
    """A registry for `generate_latest`: the counters of the process and the state of one instance."""

    def __init__(self, app: App, stored: list[Metric], ready: bool) -> None:
        self.app = app
        self.ready = ready
        self.stored = stored

    def collect(self) -> Iterator[Metric]:
        yield from REGISTRY.collect()
        yield from self.health()
        yield from self.queues()
        yield from self.pool()
        yield from self.backup()
        yield from self.stored

    def health(self) -> Iterator[Metric]:
        app = self.app
        yield gauge("build_info", "Version of the server", 1, version=VERSION, python=platform.python_version())
        yield gauge("clock_timestamp_seconds", "The time on the clock of this machine", time.time())
        yield gauge("ready", "1 if this instance takes requests, as /health/ready says", self.ready)
        yield gauge("draining", "1 while this instance stops", app.draining)
        yield gauge("postgresql_up", "1 unless PostgreSQL is unavailable or read-only", not app.db.is_unavailable)
        yield gauge("redis_up", "1 if events of other instances arrive through Redis", app.redis_is_connected())

    def queues(self) -> Iterator[Metric]:
        realtime, passwords = self.app.realtime, self.app.services.passwords
        waiting = [client.queued_bytes for client in realtime.sockets]
        yield gauge("websocket_queued_bytes", "Bytes of frames that wait to be written to WebSockets", sum(waiting))
        yield gauge("websocket_queued_bytes_max", "The most such bytes of one WebSocket", max(waiting, default=0))
        yield gauge("redis_queued_events", "Events that wait to be published on Redis", realtime.relay.queued_events)
        yield gauge("held_events", "Events held back while PostgreSQL is unavailable", len(realtime.gate.held))
        yield gauge("bcrypt_waiting", "Passwords that wait to be hashed or checked", passwords.waiting)

    def pool(self) -> Iterator[Metric]:
        db = self.app.db
        size, idle = db.pool.get_size(), db.pool.get_idle_size()
        yield gauge("db_pool_max_connections", "The most connections that the pool may open", db.pool.get_max_size())
        yield gauge("db_pool_connections", "Open connections of the pool", size)
        yield gauge("db_pool_used_connections", "Connections of the pool in use", size - idle)
        yield gauge("db_pool_waiting", "Statements and transactions that wait for a connection", db.waiting)

    def backup(self) -> Iterator[Metric]:
        """Return the time that deploy/backup leaves in DATA_DIR; nothing where another program makes the backups."""
        try:
            made_at = (self.app.config.data_dir / "last-backup").stat().st_mtime
        except OSError:
            return
        yield gauge("backup_last_success_timestamp_seconds", "When deploy/backup last succeeded", made_at)


class Metrics(Handler):
    stored: tuple[float, list[Metric]] = (float("-inf"), [])  # when the database was last asked, and its answer

    @endpoint(PUBLIC, counted=False, produces="text/plain")
    async def get(self) -> None:
        """Return metrics as Prometheus text; the proxy must not expose it to the public."""
        stored, ready = await asyncio.gather(self.read_stored(), self.is_ready())
        state = InstanceState(self.application, stored, ready)
        self.set_header("Content-Type", CONTENT_TYPE_LATEST)
        self.finish(generate_latest(state))

    async def is_ready(self) -> bool:
        return not (self.application.draining or self.db.is_unavailable) and all(await check_database(self.db))

    async def read_stored(self) -> list[Metric]:
        """Return the backlog of mails and the state of the jobs, the same for all instances; nothing without them."""
        read_at, known = Metrics.stored
        if time.monotonic() - read_at < STORED_SECONDS:
            return known
        found: list[Metric] = []
        if not self.db.is_unavailable:
            try:
                async with asyncio.timeout(DATABASE_SECONDS):
                    outbox = await self.db.fetchrow(COUNT_OUTBOX)
                    jobs = await self.db.fetch(SUM_UP_JOBS, list(self.application.jobs.schedules))
            except (DatabaseUnavailable, TimeoutError):
                pass
            else:
                found = list(describe(outbox, jobs))
        Metrics.stored = (time.monotonic(), found)
        return found


def describe(outbox: asyncpg.Record | None, jobs: list[asyncpg.Record]) -> Iterator[Metric]:
    if outbox is not None:
        yield gauge("outbox_waiting_mails", "Mails that wait to be sent", outbox["waiting"])
        yield gauge("outbox_oldest_seconds", "How long the oldest mail that is due waits", outbox["oldest"])
    yield by_job("job_last_success_timestamp_seconds", "When the job last succeeded, 0 if never", jobs, "succeeded_at")
    yield by_job("job_last_duration_seconds", "How long the job's last ended run took", jobs, "seconds")
    yield by_job("job_running", "1 while an instance runs the job", jobs, "running")


routes = [("/metrics", Metrics)]
