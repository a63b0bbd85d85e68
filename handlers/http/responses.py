"""The half of a handler that answers: headers, JSON bodies and errors. base.py has the half that reads the request."""

import time
from types import TracebackType
from typing import Any

import orjson
import structlog
from tornado.httputil import HTTPHeaders, HTTPInputError, HTTPServerRequest
from tornado.web import HTTPError, RequestHandler

from db.errors import BadRequest, DomainError, Internal, find_domain_error
from handlers.http.application import App
from handlers.http.headers import JSON, PREFLIGHT, common_headers, date_of, read_header
from handlers.http.paging import PageOf
from services.errors import VendorError
from services.logs import read_request_id

log = structlog.get_logger()


class Responder(RequestHandler):
    """`lasting_headers` are those of every response to this request. Tornado clears all others before it sends an
    error."""

    application: App

    def __init__(self, application: App, request: HTTPServerRequest, **about: Any) -> None:
        self.request_id = read_request_id(read_header(request.headers, "X-Request-ID"))
        self.lasting_headers = common_headers(request.headers, self.request_id, application.config.origins)
        super().__init__(application, request, **about)

    # -- headers -----------------------------------------------------------------------------------------------------

    def clear(self) -> None:
        """Reset the response. Tornado's own method formats the date for each request, and checks each default header:
        these are constants or checked (tests/handlers/http/test_responses.py)."""
        self._headers = HTTPHeaders(self.lasting_headers)
        self._headers["Date"] = date_of(int(time.time()))
        self._write_buffer: list[bytes] = []
        self.set_status(200)

    def set_lasting_headers(self, headers: dict[str, str]) -> None:
        self.lasting_headers.update(headers)
        self._headers.update(headers)  # `set_header` checks each of these constants and numbers

    # -- responses -----------------------------------------------------------------------------------------------------

    def reply(self, data: Any = None, *, message: str | None = None, status: int = 200, **top: Any) -> None:
        """Send `{"success": true, "data": …}`, with `message` and `top` beside them. JSON from PostgreSQL stays as it
        is."""
        beside = {key: value for key, value in {"message": message, **top}.items() if value is not None}
        self.send({"success": True, "data": data, **beside}, status)

    def reply_page(self, page: PageOf) -> None:
        self.reply(page.data, pageInfo=page.page_info, pagination=page.pagination)

    def send(self, body: dict[str, Any], status: int = 200) -> None:
        if status != self.get_status():
            self.set_status(status)
        self._headers["Content-Type"] = JSON
        self.finish(orjson.dumps(body))

    def options(self, *_: str) -> None:
        """Answer a preflight, which is never limited and the same for every path."""
        for name, value in PREFLIGHT.items():
            self.set_header(name, value)
        self.set_status(204)
        self.finish()

    def compute_etag(self) -> str | None:
        """Omit the ETag: responses are private and change often, so a hash of each would cost more than it saves."""
        return None

    def check_etag_header(self) -> bool:
        return "Etag" in self._headers and super().check_etag_header()

    # -- errors: Tornado calls log_exception, then send_error, then write_error --------------------------------------

    def log_exception(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.find_error(error) is None:
            log.error("request failed", exc_info=error, method=self.request.method, path=self.request.path)
        elif isinstance(error, VendorError):
            log.log(error.log_level, "vendor failed", error=repr(error), path=self.request.path)

    def send_error(self, status_code: int = 500, **about: Any) -> None:
        # Tornado would end a response that has begun as if it were complete. It has no public name for this state.
        if self._headers_written:
            self.application.running.discard(self)
            self.request.connection.stream.close()  # type: ignore[union-attr]
        else:
            super().send_error(status_code, **about)

    def write_error(self, status_code: int, **about: Any) -> None:
        error = about["exc_info"][1] if "exc_info" in about else None
        self.fail(self.find_error(error) or Internal())

    def fail(self, error: DomainError) -> None:
        for name, value in error.headers.items():
            self.set_header(name, value)
        self.send({**error.body(), "requestId": self.request_id}, error.status)

    def find_error(self, error: BaseException | None) -> DomainError | None:
        """Return the error to send; None for a defect. Tornado's own 400 means input that it could not parse."""
        if isinstance(error, HTTPInputError) or (isinstance(error, HTTPError) and error.status_code == 400):
            return BadRequest("The request is malformed; please correct it")
        return find_domain_error(error) if error else None
