"""The base handler, in the order in which a request passes through it: prepare, body, method, publish.

The router has found the route, and `@endpoint` on the method declares what this file checks. responses.py has the
half that answers. The base handler contains nothing about the product's nouns.
"""

from collections.abc import Sequence
from functools import cached_property

from pydantic import BaseModel

from db.errors import Forbidden, NotAuthenticated
from db.pool import Database, Transaction
from db.queries.sessions import Caller
from handlers.http.bodies import DISCARDED_BYTES, RequestBody
from handlers.http.callers import identify
from handlers.http.endpoint import Endpoint
from handlers.http.errors import BodyTooLarge
from handlers.http.inputs import read_inputs
from handlers.http.limits import find_refusal, limit_headers
from handlers.http.responses import Responder
from realtime.events import Event
from services.logs import current_request_id
from services.mail.queue import queue_mail
from services.resources import Services
from services.security.addresses import network_of
from services.security.rate_limit import Claim, Verdict
from settings import Limit

UNBOUNDED = 2**62  # for Tornado, which closes the connection without a response; handlers/http/bodies.py has the bounds


class Handler(Responder):
    """A request. `caller` is set by `prepare` on routes that need a sign-in, and absent on public ones.

    The router streams a body to `data_received`; a request without a body is handled at once."""

    caller: Caller

    def initialize(self) -> None:
        self.application.running.add(self)
        self.body = RequestBody(self.request.headers)
        self.refusal: Exception | None = None  # raised when the body has arrived

    @property
    def db(self) -> Database:
        return self.application.db

    @property
    def services(self) -> Services:
        return self.application.services

    @property
    def declared(self) -> Endpoint:
        """What `@endpoint` declares about the route; the router sets it on the request."""
        endpoint: Endpoint = self.request.route.endpoint  # type: ignore[attr-defined]
        return endpoint

    @cached_property
    def ip(self) -> str:
        return self.application.client_ip(self.request)

    @cached_property
    def network(self) -> str:
        """Rate-limit key of anonymous callers: the IPv4 address or the IPv6 /64 prefix."""
        return network_of(self.ip)

    @property
    def user_agent(self) -> str:
        return self.request.headers.get("User-Agent", "")

    # -- before the method -------------------------------------------------------------------------------------------

    async def prepare(self) -> None:
        """Check the caller before the body is read. An error is sent after the end of the body, if that is small."""
        current_request_id.set(self.request_id)
        self.request.connection.set_max_body_size(UNBOUNDED)  # type: ignore[union-attr]
        if self.request.method == "OPTIONS":
            return
        try:
            await self.admit()
        except Exception as refusal:
            if not self.body.should_discard():
                self.set_lasting_headers({"Connection": "close"})
                raise
            self.refusal = refusal
            self.body.discard()

    async def admit(self) -> None:
        """Check sign-in, rate limits, role and the announced size of the body, in this order."""
        access = self.declared.access
        found: Caller | NotAuthenticated | None = None
        if access.roles is not None:
            authorization = self.request.headers.get("Authorization", "")
            found = await identify(authorization, self.services.tokens, self.application.sessions)
        if isinstance(found, Caller):
            self.caller = found
        if self.declared.counted:
            await self.count_request(found if isinstance(found, Caller) else None, self.declared.limit)
        if isinstance(found, NotAuthenticated):
            raise found
        if access.roles is not None and self.caller.role not in access.roles:
            raise Forbidden()
        self.body.expect(self.declared)

    async def count_request(self, caller: Caller | None, name: str | None = None) -> None:
        """Count the request against the general limit and, if it has one, the limit of its route."""
        claim = self.user_claim if caller else self.network_claim
        await self.count([claim(each) for each in ("limit_general", name) if each])

    def user_claim(self, setting: str, name: str | None = None) -> Claim:
        """Return the caller's counter `name`, whose limit is a setting; by default `name` is that of the setting."""
        return Claim.of_user(self.caller.id, name or setting, self.limit(setting))

    def network_claim(self, setting: str) -> Claim:
        return Claim(f"ip:{self.network}", setting, self.limit(setting))

    def limit(self, setting: str) -> Limit | None:
        limit: Limit | None = getattr(self.application.config, setting)
        return limit

    async def count(self, claims: Sequence[Claim], error: str | None = None) -> None:
        """Count a hit of each limit, or refuse with 429 and the sentence `error`. All claims have one owner."""
        self.apply(await self.services.rate_limits.take(claims), error)

    def apply(self, verdicts: Sequence[Verdict], error: str | None = None) -> None:
        self.set_lasting_headers(limit_headers(verdicts))
        if refusal := find_refusal(verdicts, error):
            raise refusal

    # -- the body and the query --------------------------------------------------------------------------------------

    def data_received(self, chunk: bytes) -> None:
        self.body.feed(chunk)
        if self.body.size > DISCARDED_BYTES:
            self.set_lasting_headers({"Connection": "close"})
            refusal = self.refusal or BodyTooLarge(self.body.max_bytes)
            self.send_error(exc_info=(type(refusal), refusal, None))

    def inputs(self) -> list[BaseModel]:
        """Return the body and the query, as far as the endpoint declares them, validated."""
        if self.refusal:
            raise self.refusal
        self.body.check()
        return self.parse_inputs()

    def parse_inputs(self) -> list[BaseModel]:
        return read_inputs(self.declared, self.body, self.request.query_arguments, self.application.config.production)

    # -- what a method does ------------------------------------------------------------------------------------------

    async def mail(self, tx: Transaction, to: str, template: str, **params: str) -> None:
        """Queue a mail in the transaction that causes it; the sender starts with the commit."""
        await queue_mail(tx, self.services.encryption, to, template, params)
        tx.after_commit(self.application.wake_outbox)

    def publish(self, event: Event) -> None:
        """Deliver an event to the sockets of its recipients. Call it after the commit, never before."""
        self.application.publisher.publish(event)

    async def head(self, *ids: str) -> None:
        """Answer as GET; Tornado omits the body. A GET that has effects does not run: HEAD checks its input only."""
        if self.declared.acts:
            self.inputs()
            self.clear_header("Content-Type")
            await self.flush()  # before Tornado adds a Content-Length of 0, which GET would not have
        elif answer := self.get(*ids):
            await answer

    def on_finish(self) -> None:
        self.application.running.discard(self)
        current_request_id.set(None)
