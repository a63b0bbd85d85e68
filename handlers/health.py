"""Health of the server, for people and load balancers."""

import time
from datetime import UTC, datetime
from typing import Literal

from db.migrations import check_database
from db.schemas.facts import about
from db.schemas.shape import Shape, Time
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, endpoint
from settings import VERSION

STARTED = time.monotonic()


class Alive(Shape):
    """The process runs."""

    status: Literal["ok"] = about("The server answers", "ok")


class HealthReport(Alive):
    """The server answers."""

    message: str = about("A sentence for people", "Beautiful Encer is running")
    version: str = about("Version of the server", VERSION)
    timestamp: Time = about("Time of the server", "2026-01-31T09:30:00.000Z")
    uptime: float = about("Seconds since the start", 86400.5)


class Checks(Shape):
    """The state of the parts that the server needs."""

    database: bool = about("Whether PostgreSQL answers and takes writes", True)
    migrations: bool = about("Whether all migrations are applied", True)
    redis: bool = about("Whether Redis answers", True)


class Readiness(Shape):
    """Whether the server can take requests."""

    status: Literal["ok", "degraded", "not_ready", "draining"] = about(
        "`degraded`: without Redis; `draining`: about to stop", "ok"
    )
    checks: Checks = about("The state of each part")


class ShowHealth(Handler):
    @endpoint(PUBLIC, counted=False, returns=HealthReport, bare=True)
    async def get(self) -> None:
        """Return the version and the uptime of the server."""
        self.send(
            {
                "status": "ok",
                "message": "Beautiful Encer is running",
                "version": VERSION,
                "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                "uptime": round(time.monotonic() - STARTED, 3),
            }
        )


class ShowLiveness(Handler):
    @endpoint(PUBLIC, counted=False, returns=Alive, bare=True)
    async def get(self) -> None:
        """Return 200 as long as the process runs; a liveness probe."""
        self.send({"status": "ok"})


class ShowReadiness(Handler):
    @endpoint(PUBLIC, counted=False, returns=Readiness, bare=True, statuses=(200, 503))
    async def get(self) -> None:
        """Return 200 if this instance can serve requests, else 503; a readiness probe.

        Without Redis the answer is `degraded`, and 200: events arrive later, but none is lost."""
        database, migrations = await check_database(self.db)
        redis = self.application.redis_is_connected()
        ready = database and migrations and not self.application.draining
        status = (
            "draining" if self.application.draining else "not_ready" if not ready else "ok" if redis else "degraded"
        )
        checks = {"database": database, "migrations": migrations, "redis": redis}
        self.send({"status": status, "checks": checks}, 200 if ready else 503)


routes = [
    ("/health", ShowHealth),
    ("/health/live", ShowLiveness),
    ("/health/ready", ShowReadiness),
]
