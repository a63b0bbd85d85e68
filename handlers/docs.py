"""The descriptions of the API, the pages to read and try it, and the files of these pages."""

import asyncio
import html
from collections.abc import Callable
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import orjson
from tornado.web import RequestHandler

from db.error_codes import ErrorCode
from db.errors import DomainError, NotFound
from db.pool import DatabaseUnavailable
from db.seed.people import PASSWORD, influencer_email, salon_email
from handlers.http.application import App
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, endpoint
from services.swagger import read_assets

STATIC = Path(__file__).with_name("static")
CONTENT_TYPES = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
# Scripts, styles and requests of this server only; the socket is same-origin too. Pictures may come from PUBLIC_URL.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob: $public; "
    "connect-src 'self' $socket; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

FIND_DEMO_PEOPLE = """
    select u.name, u.email, u.role from users u
    where lower(u.email) = any($1::text[]) and u.status = 'ACTIVE' order by u.role
"""


class NotAcceptable(DomainError):
    status = 406
    code: ErrorCode = "NOT_ACCEPTABLE"


ERRORS: tuple[ErrorCode, ...] = ("NOT_FOUND", "NOT_ACCEPTABLE")  # not found: in production, unless DOCS_ENABLED


@cache
def read_files() -> dict[str, bytes]:
    """Return the files of the pages by name, without the templates of the pages."""
    own = {path.name: path.read_bytes() for path in STATIC.iterdir() if path.suffix in CONTENT_TYPES}
    return own | read_assets()


@cache
def read_page(name: str) -> Template:
    return Template((STATIC / name).read_text())


class DocsHandler(Handler):
    """A route that exists only where the documentation is shown (DOCS_ENABLED)."""

    media_type: str | None = "application/json"  # None: every Accept header is good
    advice = "This description is JSON; please send the header Accept: application/json"

    async def admit(self) -> None:
        await super().admit()
        if not self.application.config.shows_docs:
            raise NotFound()
        if self.media_type and not accepts(self.request.headers.get("Accept", ""), self.media_type):
            raise NotAcceptable(self.advice)

    async def describe(self, make_text: Callable[[App], bytes]) -> None:
        """Answer with a text that is made at the first request, in a thread, because that takes up to 0.3 s."""
        text = await asyncio.to_thread(make_text, self.application)
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(text)


@cache
def openapi_text(app: App) -> bytes:
    from handlers.http.openapi import openapi

    return orjson.dumps(openapi(app.table, app.config.public_url))


@cache
def asyncapi_text(app: App) -> bytes:
    from realtime.asyncapi import asyncapi

    return orjson.dumps(asyncapi(app.config))


def accepts(header: str, media_type: str) -> bool:
    """Return whether an Accept header (RFC 9110 §12.5.1) names the type; `+json` types count as JSON."""
    family, _, kind = media_type.partition("/")
    for choice in header.lower().split(","):
        name, *parameters = [part.strip() for part in choice.split(";")]
        refused = any(part.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for part in parameters)
        if not refused and (name in ("", "*/*", f"{family}/*", media_type) or name.endswith(f"+{kind}")):
            return True
    return False


class OpenApi(DocsHandler):
    @endpoint(PUBLIC, returns=dict[str, Any], bare=True, errors=ERRORS)
    async def get(self) -> None:
        """Return the REST API as OpenAPI 3.1."""
        await self.describe(openapi_text)


class AsyncApi(DocsHandler):
    @endpoint(PUBLIC, returns=dict[str, Any], bare=True, errors=ERRORS)
    async def get(self) -> None:
        """Return the WebSocket as AsyncAPI 3.1."""
        await self.describe(asyncapi_text)


class Page(DocsHandler):
    media_type = "text/html"
    advice = "This is a page for people, in HTML. Programs read /openapi.json and /asyncapi.json"
    file = "reference.html"

    @endpoint(PUBLIC, produces="text/html", errors=ERRORS)
    async def get(self) -> None:
        """Return the page to read and try the REST API."""
        await self.show()

    async def show(self) -> None:
        config = self.application.config
        own = config.public_url.removesuffix(config.public_path)
        policy = Template(POLICY).substitute(public=own, socket=own.replace("http", "ws", 1))
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", policy)
        self.set_header("Referrer-Policy", "no-referrer")
        people = html.escape(orjson.dumps(await self.demo_people()).decode())
        # Relative, so that the page works under every prefix that a proxy may add.
        root = "../" * (self.request.path.count("/") - 1) or "./"
        self.finish(
            read_page(self.file).substitute(root=root, people=people, public_url=html.escape(config.public_url))
        )

    async def demo_people(self) -> list[dict[str, str]]:
        """Return the people of `make seed` for signing in on the page, on development machines only.

        Without the database there are none, because the page can be read without it."""
        if self.application.config.production:
            return []
        try:
            rows = await self.db.fetch(FIND_DEMO_PEOPLE, [influencer_email(0), salon_email(0)])
        except DatabaseUnavailable:
            return []
        return [{**row, "password": PASSWORD} for row in rows]


class RealtimePage(Page):
    file = "realtime.html"

    @endpoint(PUBLIC, produces="text/html", errors=ERRORS)
    async def get(self) -> None:
        """Return the page about the WebSocket, with a console for two people."""
        await self.show()


class Asset(DocsHandler):
    media_type = None

    @endpoint(PUBLIC, produces="*/*", statuses=(200, 304))
    async def get(self, name: str) -> None:
        """Return a file of these pages."""
        content = read_files().get(name)
        if content is None:
            raise NotFound("File")
        self.set_header("Content-Type", CONTENT_TYPES[Path(name).suffix])
        self.set_header("Cache-Control", "public, no-cache")  # a browser asks with its ETag, and gets 304
        self.finish(content)

    def compute_etag(self) -> str | None:
        return RequestHandler.compute_etag(self)


class Home(Handler):
    async def admit(self) -> None:
        await super().admit()
        if self.application.config.production or not self.application.config.shows_docs:
            raise NotFound()

    @endpoint(PUBLIC, statuses=(302,), errors=("NOT_FOUND",))
    async def get(self) -> None:
        """Redirect to the documentation, outside production."""
        self.redirect("docs")


routes = [
    ("/", Home),
    ("/openapi.json", OpenApi),
    ("/asyncapi.json", AsyncApi),
    ("/docs", Page),
    ("/docs/realtime", RealtimePage),
    ("/docs/assets/{name:str}", Asset),
]
