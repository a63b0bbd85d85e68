"""The one base handler: request id, caller, limits, parsed input, answers and errors. It knows no noun."""

import re
import uuid
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import orjson
import structlog
from pydantic import BaseModel, ValidationError
from tornado.httputil import HTTPInputError
from tornado.web import HTTPError, MissingArgumentError, RequestHandler, stream_request_body

from db.errors import (
    BadRequest,
    DomainError,
    Forbidden,
    Internal,
    Invalid,
    NotAuthenticated,
    NotFound,
    RateLimited,
    find_domain_error,
)
from db.pool import Database, Transaction
from db.queries.sessions import Caller
from db.schemas.faults import fault, list_faults
from db.schemas.fields import group_by_name
from handlers.http.application import App
from handlers.http.bodies import DRAINED_BYTES, Body
from handlers.http.endpoint import Endpoint
from handlers.http.errors import MethodNotAllowed, TooLarge
from handlers.http.paging import PageOf
from realtime.events import Event
from services.errors import VendorError
from services.mail.queue import queue_mail
from services.resources import Services
from services.security.addresses import network_of
from services.security.rate_limit import Claim, Verdict
from services.security.tokens import TokenError, TokenExpired
from settings import Limit

log = structlog.get_logger()

REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,128}")
MAX_QUERY_FIELDS = 100
UNBOUNDED = 2**62  # for Tornado, which closes without a word: the bounds of a body are in handlers/http/bodies.py
ALLOWED_METHODS = "GET, POST, PUT, PATCH, DELETE, OPTIONS"
ALLOWED_HEADERS = "Authorization, Content-Type, X-Request-ID"
EXPOSED_HEADERS = "X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"
PREFLIGHT_SECONDS = "600"


@stream_request_body
class Handler(RequestHandler):
    """A request: `caller` is who asks (None on public routes), `db` and `services` what it works with."""

    application: App
    caller: Caller

    def initialize(self) -> None:
        self.application.running.add(self)
        self.body = Body(self.request.headers)
        self.refusal: Exception | None = None  # to be told when the request is over

    @property
    def db(self) -> Database:
        return self.application.db

    @property
    def services(self) -> Services:
        return self.application.services

    @cached_property
    def ip(self) -> str:
        return self.application.client_ip(self.request)

    @cached_property
    def network(self) -> str:
        """Rate-limit key of anonymous callers: the IPv4 address or the IPv6 /64."""
        return network_of(self.ip)

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    # -- before the method -------------------------------------------------------------------------------------------

    def set_default_headers(self) -> None:
        given = self.request.headers.get("X-Request-ID", "")
        self.request_id = given if REQUEST_ID.fullmatch(given) else str(uuid.uuid4())
        self.set_header("X-Request-ID", self.request_id)
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Cache-Control", "no-store")
        self.set_header("Vary", "Origin")
        self.clear_header("Server")
        origin = self.request.headers.get("Origin", "").rstrip("/")
        if origin in self.application.config.origins:
            self.set_header("Access-Control-Allow-Origin", origin)
            self.set_header("Access-Control-Allow-Credentials", "true")
            self.set_header("Access-Control-Expose-Headers", EXPOSED_HEADERS)

    async def prepare(self) -> None:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(request_id=self.request_id)
        self.request.connection.set_max_body_size(UNBOUNDED)  # type: ignore[union-attr]
        if self.request.method == "OPTIONS":
            return
        try:
            await self.admit()
        except Exception as refusal:
            if not self.body.is_worth_draining():
                self.set_header("Connection", "close")
                raise
            self.refusal = refusal
            self.body.drain()

    async def admit(self) -> None:
        """Caller, limits, access and body size, or the failure that refuses the request."""
        declared: Endpoint = self.request.route.endpoint  # type: ignore[attr-defined]
        caller, refusal = await self.identify() if declared.access.roles is not None else (None, None)
        if caller:
            self.caller = caller
        if declared.counted:
            await self.count_request(f"user:{caller.id}" if caller else f"ip:{self.network}", declared.limit)
        if declared.access.roles is not None:
            if caller is None:
                raise refusal or NotAuthenticated()
            if caller.role not in declared.access.roles:
                raise Forbidden()
        self.body.expect(declared)

    def no_route(self) -> DomainError:
        """Another method may lead somewhere from this path, or nothing does."""
        allowed: list[str] = self.request.allowed  # type: ignore[attr-defined]
        return MethodNotAllowed(self.request.method, allowed) if allowed else NotFound()

    async def identify(self) -> tuple[Caller | None, DomainError | None]:
        """Whose token this is, or why it is nobody's."""
        scheme, _, token = self.request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            return None, NotAuthenticated()
        try:
            claims = self.services.tokens.read_access(token.strip())
        except TokenExpired:
            return None, NotAuthenticated("Your session has expired; please sign in again", code="TOKEN_EXPIRED")
        except TokenError:
            return None, NotAuthenticated("Please sign in again", code="INVALID_TOKEN")
        caller = await self.application.sessions.caller(claims.session_id, claims.user_id)
        return caller, None if caller else NotAuthenticated("Please sign in again", code="INVALID_TOKEN")

    async def count_request(self, owner: str, name: str | None) -> None:
        limits = [("general", self.limit("limit_general")), *([(name, self.limit(name))] if name else [])]
        await self.take([Claim(owner, label, limit) for label, limit in limits])

    def limit(self, name: str) -> Limit | None:
        return getattr(self.application.config, name)

    async def take(self, claims: list[Claim], error: str | None = None) -> None:
        """Count a hit on all of these limits, or refuse with 429."""
        self.heed(await self.services.rate_limits.take(claims), error)

    def heed(self, verdicts: list[Verdict], error: str | None = None) -> None:
        """Refuse with 429 if a limit is exhausted; the headers describe the limit that is nearest to it."""
        if verdicts:
            tightest = min(verdicts, key=lambda verdict: (verdict.allowed, verdict.remaining))
            self.set_header("RateLimit-Limit", tightest.limit)
            self.set_header("RateLimit-Remaining", tightest.remaining)
            self.set_header("RateLimit-Reset", tightest.reset)
        waits = [verdict.retry_after for verdict in verdicts if not verdict.allowed]
        if waits:
            raise RateLimited(max(1, *waits), *([error] if error else []))

    # -- what is sent ------------------------------------------------------------------------------------------------

    def data_received(self, chunk: bytes) -> None:
        self.body.feed(chunk)
        if self.body.size > DRAINED_BYTES:
            self.set_header("Connection", "close")
            self._handle_request_exception(self.refusal or TooLarge(self.body.max_bytes))

    def inputs(self, declared: Endpoint) -> list[BaseModel]:
        """The body and the query, as far as the endpoint declares them, validated."""
        if self.refusal:
            raise self.refusal
        self.body.check()
        inputs: list[BaseModel] = []
        try:
            if declared.body:
                inputs.append(self.body.read(declared, self.application.config.production))
            if declared.query:
                inputs.append(declared.query.model_validate(self.read_query()))
        except ValidationError as error:
            raise Invalid(list_faults(error)) from None
        return inputs

    def read_query(self) -> dict[str, Any]:
        try:
            # Tornado reads the request line as Latin-1; some clients send UTF-8 there without escaping it.
            text = self.request.query.encode("latin-1").decode()
            parameters = parse_qsl(text, keep_blank_values=False, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
        except ValueError:
            raise Invalid([fault("query", "is not valid UTF-8, or has too many fields")]) from None
        return group_by_name(parameters)

    # -- answers -----------------------------------------------------------------------------------------------------

    def reply(self, data: Any = None, *, message: str | None = None, status: int = 200, **top: Any) -> None:
        """`{"success": true, "data": …}`; JSON that PostgreSQL built goes out as it is, `top` at the top level."""
        more = {"message": message, **top}
        told = {key: value for key, value in more.items() if value is not None}
        self.send({"success": True, "data": data, **told}, status)

    def reply_page(self, page: PageOf) -> None:
        self.reply(page.data, pageInfo=page.page_info, pagination=page.pagination)

    def send(self, body: dict[str, Any], status: int = 200) -> None:
        self.set_status(status)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(orjson.dumps(body))

    async def mail(self, tx: Transaction, to: str, template: str, **params: str) -> None:
        """Queue a mail in the transaction that causes it; a sender wakes up with the commit."""
        await queue_mail(tx, self.services.encryption, to, template, params)
        tx.after_commit(self.application.wake_outbox)

    def publish(self, event: Event) -> None:
        """Tell whom it concerns; after the commit, never before."""
        self.application.publisher.publish(event)

    def _handle_request_exception(self, error: BaseException) -> None:
        """Tornado's hook for what a request raises: an expected failure is told, anything else is logged and a 500."""
        known = find_domain_error(error) or self.from_tornado(error)
        if known is None:
            log.error("request failed", exc_info=error, method=self.request.method, path=self.request.path)
        elif isinstance(error, VendorError):
            log.warning("a vendor failed", error=repr(error), path=self.request.path)
        if self._finished:
            return
        if self._headers_written:  # half of an answer is out: cut it off, so that it is not taken for whole
            self.application.running.discard(self)
            self.request.connection.stream.close()  # type: ignore[union-attr]
        else:
            self.fail(known or Internal())

    def from_tornado(self, error: BaseException) -> DomainError | None:
        status = error.status_code if isinstance(error, HTTPError) else None
        if isinstance(error, MissingArgumentError | HTTPInputError) or status == 400:
            return BadRequest("The request is malformed")
        if status != 405:
            return None
        # A method that is unknown even to Tornado, which refuses it unprepared and may close without a word.
        self.set_header("Connection", "close")
        return self.no_route()

    def fail(self, error: DomainError) -> None:
        self.clear_header("Content-Type")
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.send({**error.body(), "requestId": self.request_id}, error.status)

    def options(self, *_: str) -> None:
        """Preflight: never limited, the same everywhere."""
        self.set_header("Access-Control-Allow-Methods", ALLOWED_METHODS)
        self.set_header("Access-Control-Allow-Headers", ALLOWED_HEADERS)
        self.set_header("Access-Control-Max-Age", PREFLIGHT_SECONDS)
        self.set_status(204)
        self.finish()

    async def head(self, *ids: str) -> None:
        """Answer as GET; Tornado leaves the body out. A GET that acts is not run: only its checks are."""
        declared: Endpoint = self.request.route.endpoint  # type: ignore[attr-defined]
        if declared.acts:
            self.inputs(declared)
            self.clear_header("Content-Type")
            await self.flush()  # before Tornado adds a Content-Length of 0, which GET would not have
        elif answer := self.get(*ids):
            await answer

    def compute_etag(self) -> None:
        """Answers are private and change; hashing them would buy nothing."""

    def on_finish(self) -> None:
        self.application.running.discard(self)
        structlog.contextvars.clear_contextvars()
