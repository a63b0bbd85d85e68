"""The hand-rolled router: one table of routes, and a tree of path segments in which fixed ones precede `{id}`.

Serving, `make routes`, the access guard and the API description all read the same table. `{name}` matches a
UUID, and another value is a 404; `{name:str}` matches any single segment.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import unquote

from tornado.httputil import HTTPHeaders, HTTPServerRequest
from tornado.routing import Router
from tornado.web import Application, RequestHandler, stream_request_body

from db.schemas.fields import UUID_PATTERN
from handlers.http.endpoint import Endpoint

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
UUID = re.compile(UUID_PATTERN)
PARAMETER = re.compile(r"\{(\w+)(?::(str))?\}")
ABSOLUTE_FORM = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)  # of a request's target, RFC 9112 §3.2.2


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    handler: type[RequestHandler]
    endpoint: Endpoint
    alias_of: "Route | None" = None

    @cached_property
    def kinds(self) -> list[str]:
        return [kind for _, kind in PARAMETER.findall(self.path)]

    @cached_property
    def streaming(self) -> type[RequestHandler]:
        return make_streaming(self.handler)

    def accepts(self, values: list[str]) -> bool:
        return all(kind == "str" or UUID.fullmatch(v) for kind, v in zip(self.kinds, values, strict=True))


@dataclass
class Node:
    fixed: dict[str, "Node"] = field(default_factory=dict)
    parameter: "Node | None" = None
    routes: dict[str, Route] = field(default_factory=dict)

    def add(self, segments: list[str], route: Route) -> "Node":
        """Add a route below this node, and return its own node."""
        if segments and PARAMETER.fullmatch(segments[0]):
            self.parameter = self.parameter or Node()
            return self.parameter.add(segments[1:], route)
        if segments:
            return self.fixed.setdefault(segments[0], Node()).add(segments[1:], route)
        if route.method in self.routes:
            raise ValueError(f"{route.method} {route.path} is declared twice")
        self.routes[route.method] = route
        return self

    def find(self, segments: list[str], values: list[str], depth: int = 0) -> tuple[dict[str, Route], list[str]]:
        """Return the routes of a path by method, and the values of its parameters. Segments above `depth` are read."""
        if depth == len(segments):
            if not values:
                return self.routes, values
            return {m: route for m, route in self.routes.items() if route.accepts(values)}, values
        segment = segments[depth]
        if segment in self.fixed:
            routes, found = self.fixed[segment].find(segments, values, depth + 1)
            if routes:
                return routes, found
        if self.parameter and segment:
            return self.parameter.find(segments, [*values, unquote(segment, errors="replace")], depth + 1)
        return {}, values


def make_streaming(handler: type[RequestHandler]) -> type[RequestHandler]:
    """Return a subclass that streams the body. Tornado's decorator would change the class itself for all its users."""
    return stream_request_body(type(handler.__name__, (handler,), {}))


def may_have_body(headers: HTTPHeaders) -> bool:
    """Return whether to stream, which costs a request without a body two loop iterations. Tornado parses a body
    that is not streamed, so a Content-Type alone counts too."""
    return "Content-Length" in headers or "Transfer-Encoding" in headers or "Content-Type" in headers


class Table(Router):
    """All routes of the application. Refuses a handler whose method does not declare its access."""

    def __init__(self, declared: Iterable[tuple[str, type[RequestHandler]]], not_found: type[RequestHandler]) -> None:
        self.application: Application  # set by App, which has the table as its router
        self.not_found = make_streaming(not_found)
        self.routes: list[Route] = []
        self.root = Node()
        self.fixed: dict[str, Node] = {}  # the nodes of paths without parameters, which precede all others
        for path, handler in declared:
            for method in METHODS:
                function = getattr(handler, method.lower())
                if function is getattr(RequestHandler, method.lower()):  # not overridden
                    continue
                if not isinstance(getattr(function, "endpoint", None), Endpoint):
                    raise TypeError(f"{handler.__name__}.{method.lower()} does not declare its access: use @endpoint")
                self.add(Route(method, path, handler, function.endpoint))

    def add(self, route: Route) -> None:
        self.routes.append(route)
        path = route.path.strip("/")
        node = self.root.add(path.split("/"), route)
        if not route.kinds:
            self.fixed[path] = node

    def add_alias(self, method: str, path: str, canonical_method: str, canonical_path: str) -> None:
        """Add another spelling of a route. For another verb, a subclass of the handler gives the method that name."""
        target = next(r for r in self.routes if (r.method, r.path) == (canonical_method, canonical_path))
        run = getattr(target.handler, canonical_method.lower())
        handler = type(target.handler.__name__, (target.handler,), {method.lower(): run})
        self.add(Route(method, path, handler, target.endpoint, alias_of=target))

    def find_handler(self, request: HTTPServerRequest, **kwargs: Any) -> Any:
        path = request.path if request.path.startswith("/") else ABSOLUTE_FORM.sub("", request.path)
        path = path.strip("/")
        node = self.fixed.get(path)
        routes, values = (node.routes, []) if node else self.root.find(path.split("/"), [])
        route = routes.get("GET" if request.method == "HEAD" else request.method or "")
        request.route = route  # type: ignore[attr-defined]
        streams = may_have_body(request.headers)
        if streams:
            request.connection.stream.begin_body()  # type: ignore[union-attr]
        if route is None:
            handler: type[RequestHandler] = self.not_found
            allowed = routes.keys() | ({"HEAD"} if "GET" in routes else set())
            request.allowed = sorted(allowed)  # type: ignore[attr-defined]
        else:
            handler = route.streaming if streams else route.handler
        return self.application.get_handler_delegate(request, handler, path_args=[value.encode() for value in values])
