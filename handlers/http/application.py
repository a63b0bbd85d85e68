"""The Tornado application: the parts that handlers use, client addresses, and one log line per request."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol
from weakref import WeakSet

import structlog
from tornado.httputil import HTTPServerRequest
from tornado.web import Application, RequestHandler

from db.queries.job_runs import ClaimedRun
from handlers.http.router import Table
from realtime.wiring import Realtime
from services.metrics import request_metrics
from services.resources import Resources
from services.schedule import Schedule
from services.security.addresses import client_address, read_network

QUIET_PATHS = ("/health", "/metrics")


class Jobs(Protocol):
    """The jobs of this instance, for admins (jobs/loop.py)."""

    scheduled: bool  # whether this instance runs jobs on their schedules
    runner: str

    @property
    def schedules(self) -> Mapping[str, Schedule]: ...

    def launch(self, claimed: ClaimedRun) -> None: ...


STORAGE_FULL = 507


class App(Application):
    def __init__(
        self,
        table: Table,
        resources: Resources,
        realtime: Realtime,
        wake_outbox: Callable[[], None],
        jobs: Jobs,
        **tornado_settings: Any,
    ) -> None:
        super().__init__([], log_function=log_request, **tornado_settings)
        self.config = resources.settings  # not `settings`, which is a dictionary of Tornado's
        self.db = resources.db
        self.sessions = resources.sessions
        self.services = resources.services
        self.realtime = realtime
        self.publisher = realtime.publisher
        self.wake_outbox = wake_outbox
        self.jobs = jobs
        self.table = table
        self.log = structlog.get_logger().bind()  # once; a logger that is not bound does it for each line
        self.proxies = [read_network(network) for network in self.config.trusted_proxies]
        self.draining = False
        self.running: WeakSet[RequestHandler] = (
            WeakSet()
        )  # weak references, because the request of a client that has disconnected may never finish
        table.application = self
        for route in table.routes:
            if route.endpoint.files:  # `increase()` needs a series that existed before its first error
                request_metrics(route.method, route.path, STORAGE_FULL)

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        return self.table.find_handler(request, **kwargs)

    def client_ip(self, request: HTTPServerRequest) -> str:
        """Return the client's address behind trusted proxies (services/security/addresses.py)."""
        return client_address(request.remote_ip, request.headers.get("X-Forwarded-For", ""), self.proxies)

    def redis_is_connected(self) -> bool:
        return self.realtime.relay.healthy


def log_request(handler: RequestHandler) -> None:
    request, route = handler.request, getattr(handler.request, "route", None)
    seconds, status = request.request_time(), handler.get_status()
    path = route.path if route else "(unknown)"
    # Clients can invent methods, and Prometheus stores each label permanently.
    method = request.method if request.method in handler.SUPPORTED_METHODS else "(other)"
    answered, duration = request_metrics(method or "", path, status)
    answered.inc()
    duration.observe(seconds)
    if request.path.startswith(QUIET_PATHS):
        return
    caller = getattr(handler, "caller", None)
    handler.application.log.info(  # type: ignore[attr-defined]
        "request",
        method=request.method,
        path=request.path,
        status=status,
        ms=round(seconds * 1000, 1),
        user=str(caller.id) if caller else None,
        request_id=getattr(handler, "request_id", None),
    )
