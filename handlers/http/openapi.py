"""The table of routes as OpenAPI 3.1."""

from functools import cache
from typing import Any

from handlers.http.description.errors import RETRY_AFTER, error_schemas
from handlers.http.description.operations import Schemas, describe_operation, tag_of
from handlers.http.description.parameters import describe_path
from handlers.http.router import Route, Table
from settings import VERSION

Json = dict[str, Any]

ABOUT = """
Errors are JSON for every status: `{error, message, code, requestId, details?}`. `error` and `message` each help a
person; `code` is for programs. A list takes `limit` and `cursor` and answers `pageInfo`; lists with `page` also answer
`pagination`. Times are UTC with milliseconds. Ids are UUIDs. Unknown fields of a body are ignored. In PATCH and PUT an
absent field is unchanged and `null` clears it. A list in a query is written as `name=a,b`, as a repeated `name` or as a
repeated `name[]`. HEAD is answered as GET without a body; where GET changes data, HEAD checks sign-in, role and input
only, and answers 200. The realtime part is described in `/asyncapi.json`.
"""

# In the order in which a client meets them.
TAGS: dict[str, str] = {
    "auth": "Sign up, verify an e-mail, sign in, renew tokens, reset a password",
    "onboarding": "Complete the first profile of an influencer or a salon",
    "profile": "The caller's profile, account and data, and the profiles of others",
    "social-media": "Instagram and TikTok accounts of an influencer",
    "discovery": "Find influencers and salons; words that the API uses",
    "connections": "Requests to connect, and connections between an influencer and a salon",
    "chat": "Contacts, conversations, messages and attachments",
    "notifications": "The caller's notifications",
    "files": "Uploaded files, and pictures of other platforms",
    "realtime": "The WebSocket; `/asyncapi.json` describes its events and commands",
    "admin": "For admins: users, connections, jobs, statistics and the activity log",
    "server": "Health, metrics and descriptions of the API",
}

SECURITY: Json = {
    "bearer": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The `accessToken` of `login` or `refreshTokens`",
    },
    "refreshCookie": {
        "type": "apiKey",
        "in": "cookie",
        "name": "refreshToken",
        "description": "Set by `login` and `refreshTokens`, for browsers; others send `refreshToken` in the body",
    },
}


@cache
def openapi(table: Table, public_url: str) -> Json:
    """Return the description of all routes. It is created once, because that takes a moment."""
    routes = sorted(table.routes, key=lambda route: list(TAGS).index(tag_of(route.path)))
    schemas = Schemas(routes)
    paths: Json = {}
    for route in routes:
        operation = describe_operation(route, schemas, aliases_of(table, route))
        paths.setdefault(describe_path(route.path), {})[route.method.lower()] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Beautiful Encer",
            "version": VERSION,
            "summary": "Connects influencers with beauty salons",
            "description": ABOUT,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": public_url, "description": "This server"}],
        "tags": [{"name": name, "description": about} for name, about in TAGS.items()],
        "paths": paths,
        "components": {
            "schemas": keep_used({**error_schemas(), **schemas.defs}, paths),
            "headers": {"RetryAfter": {"description": "Seconds to wait", "schema": RETRY_AFTER}},
            "securitySchemes": SECURITY,
        },
    }


def aliases_of(table: Table, route: Route) -> list[Route]:
    return [other for other in table.routes if other.alias_of is route]


def keep_used(schemas: Json, paths: Json) -> Json:
    """Return the schemas that the paths refer to, directly or not: a query is described by parameters instead."""
    used: set[str] = set()
    found = find_references(paths)
    while found:
        used |= found
        found = {name for each in found for name in find_references(schemas[each])} - used
    return {name: schemas[name] for name in sorted(used)}


def find_references(part: Any) -> set[str]:
    if isinstance(part, dict):
        own = part.get("$ref")
        inner = {name for each in part.values() for name in find_references(each)}
        return inner | {own.rpartition("/")[2]} if isinstance(own, str) and "/schemas/" in own else inner
    return {name for each in part for name in find_references(each)} if isinstance(part, list) else set()
