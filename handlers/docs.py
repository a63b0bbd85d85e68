"""The API description: OpenAPI, AsyncAPI, and a page to read and try it."""

from functools import cache
from typing import Any

import orjson

from db.errors import NotFound
from handlers.http.base import Handler
from handlers.http.endpoint import PUBLIC, endpoint
from handlers.http.openapi import openapi
from realtime.asyncapi import asyncapi
from services.swagger import CONTENT_TYPES, read_assets

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Beautiful Encer API</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"""
START = b'SwaggerUIBundle({url: "/openapi.json", dom_id: "#ui", docExpansion: "none", persistAuthorization: true})\n'
POLICY = "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"

assets = cache(read_assets)


class OpenApi(Handler):
    @endpoint(PUBLIC, returns=dict[str, Any], bare=True)
    async def get(self) -> None:
        """The REST API as OpenAPI 3.1."""
        self.describe(openapi(self.application.table, self.application.config.public_url))

    def describe(self, description: dict[str, Any]) -> None:
        self.set_header("Content-Type", "application/json; charset=utf-8")
        self.finish(orjson.dumps(description))


class AsyncApi(OpenApi):
    @endpoint(PUBLIC, returns=dict[str, Any], bare=True)
    async def get(self) -> None:
        """The WebSocket as AsyncAPI 3.0."""
        self.describe(asyncapi(self.application.config))


class Docs(Handler):
    @endpoint(PUBLIC, produces="text/html")
    async def get(self) -> None:
        """The API description as a page."""
        self.set_header("Content-Type", "text/html; charset=utf-8")
        self.set_header("Content-Security-Policy", POLICY)
        self.finish(PAGE)


class Asset(Handler):
    @endpoint(PUBLIC, produces="text/*")
    async def get(self, name: str) -> None:
        """A file of that page."""
        content = START if name == "start.js" else assets().get(name)
        if content is None:
            raise NotFound("File")
        self.set_header("Content-Type", CONTENT_TYPES.get(name, "text/javascript; charset=utf-8"))
        self.set_header("Cache-Control", "public, max-age=86400")
        self.finish(content)


routes = [
    ("/openapi.json", OpenApi),
    ("/asyncapi.json", AsyncApi),
    ("/docs", Docs),
    ("/docs/assets/{name:str}", Asset),
]
