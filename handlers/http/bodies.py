"""The body of a request: bounded while it arrives, then read as JSON or a form, as the endpoint declares."""

import contextlib
from collections.abc import Collection
from typing import Any

import orjson
from tornado.httputil import HTTPHeaders

from db.errors import BadRequest, Invalid, UnsupportedMediaType
from db.schemas.decode import NotJson, TooDeep, decode_json
from db.schemas.faults import fault
from db.schemas.fields import Body, group_by_name
from handlers.http.endpoint import JSON_BYTES, Endpoint
from handlers.http.errors import BodyTooLarge, InvalidJson
from handlers.http.headers import read_header
from services.files.multipart import Form, FormTooLarge, Malformed, MultipartReader, UploadedFile

# Read and discard at most this much of a rejected body, because most clients read no response before they have sent
# everything, and would find the connection reset instead of a 401 or 413.
DISCARDED_BYTES = 16 * 1024 * 1024
MAX_LENGTH_DIGITS = 18


class RequestBody:
    """Usage: `expect` what the endpoint declares, `feed` the chunks, then `read` the body."""

    def __init__(self, headers: HTTPHeaders) -> None:
        self.headers = headers
        self.content_type = read_header(headers, "Content-Type")
        self.max_bytes = JSON_BYTES
        self.size = 0  # bytes that have arrived, kept or not
        self.content = bytearray()
        self.form: MultipartReader | None = None
        self.files: dict[str, list[UploadedFile]] = {}

    # -- before it arrives -------------------------------------------------------------------------------------------

    def expect(self, declared: Endpoint) -> None:
        """Refuse a body that is announced as too large, is compressed, or is a form where the route takes none."""
        if "Content-Encoding" in self.headers:
            raise UnsupportedMediaType("Please send the body without Content-Encoding")
        is_form = self.content_type.lower().startswith("multipart/form-data")
        self.max_bytes = declared.max_bytes if is_form else min(declared.max_bytes, JSON_BYTES)
        if self.announced() > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)
        if is_form:
            if not declared.files:
                raise UnsupportedMediaType("Please send the body as JSON, with Content-Type: application/json")
            try:
                self.form = MultipartReader(self.content_type, max_file_bytes=declared.max_bytes)
            except Malformed as error:
                raise BadRequest(str(error)) from None

    def announced(self) -> int:
        """Return the announced length; 0 for no body and for a chunked one."""
        length = read_header(self.headers, "Content-Length") or "0"
        if not (length.isascii() and length.isdigit() and len(length) <= MAX_LENGTH_DIGITS):
            raise BadRequest("The request is malformed; please correct it", headers={"Connection": "close"})
        return int(length)

    def should_discard(self) -> bool:
        """Return whether an error waits until the body has been read; sent earlier, it makes Tornado close the
        connection. A client that asks first (Expect) or announces too much receives the error at once."""
        try:
            return "Expect" not in self.headers and self.announced() <= DISCARDED_BYTES
        except BadRequest:
            return False

    def discard(self) -> None:
        """Discard what arrives from now on."""
        self.max_bytes = 0

    # -- while it arrives --------------------------------------------------------------------------------------------

    def feed(self, chunk: bytes) -> None:
        """Store a chunk within the bound. `check` and `read` raise the faults, because Tornado ignores errors here."""
        self.size += len(chunk)
        if self.size > self.max_bytes:
            self.content.clear()
        elif self.form is None:
            self.content += chunk
        else:
            with contextlib.suppress(Malformed, FormTooLarge):  # the reader raises it again at the end
                self.form.feed(chunk)

    # -- afterwards --------------------------------------------------------------------------------------------------

    def check(self) -> None:
        if self.size > self.max_bytes:
            raise BodyTooLarge(self.max_bytes)

    def read(self, model: type[Body], files: Collection[str], production: bool) -> Body:
        """Validate the body with the endpoint's model; in production some values are refused (db/schemas/fields.py)."""
        context = {"production": production}
        if self.form is not None:
            return model.model_validate(self.read_form(self.form, files), context=context)
        kind = self.content_type.partition(";")[0].strip().lower()
        # A browser sends another site's body without a type and without asking; with the type it asks first.
        is_json = kind == "application/json" or (not kind and "Origin" not in self.headers)
        if self.content and not is_json:
            raise UnsupportedMediaType("Please send the body as JSON, with Content-Type: application/json")
        try:
            content = decode_json(bytes(self.content) or b"{}")
        except NotJson:
            raise InvalidJson from None
        except TooDeep as error:
            raise Invalid([{"field": "", "message": f"The body {error}"}]) from None
        # Strict: a number is not converted to a text, nor a text to a number.
        return model.model_validate_json(orjson.dumps(content), strict=True, context=context)

    def read_form(self, reader: MultipartReader, files: Collection[str]) -> dict[str, Any]:
        try:
            form: Form = reader.finish()
        except FormTooLarge:
            raise BodyTooLarge(self.max_bytes) from None
        except Malformed as error:
            raise BadRequest(str(error)) from None
        misplaced = {name: "does not take a file" for name in form.files if name not in files}
        misplaced |= {name: "must be a file" for name in files if "".join(form.fields.get(name, [])).strip()}
        if misplaced:
            raise Invalid([fault(name, predicate) for name, predicate in misplaced.items()])
        self.files = form.files
        return group_by_name((name, value) for name, values in form.fields.items() for value in values if value.strip())
