"""Headers of requests and responses."""

from collections.abc import Collection
from functools import lru_cache

from tornado.httputil import HTTPHeaders, format_timestamp

PREFLIGHT = {
    "Access-Control-Allow-Methods": "GET, POST, PUT, PATCH, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "Authorization, Content-Type, X-Request-ID",
    "Access-Control-Max-Age": "600",
}
JSON = "application/json; charset=utf-8"
EXPOSED = "X-Request-ID, Retry-After, RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset"


def read_header(headers: HTTPHeaders, name: str) -> str:
    """Return a header, or an empty text. `get` raises and catches a KeyError if it is absent, as most are."""
    return ",".join(headers.get_list(name))


def common_headers(headers: HTTPHeaders, request_id: str, origins: Collection[str]) -> dict[str, str]:
    """Return the headers of every response; pages of `origins` may read it. Routes whose responses may be cached set
    another Cache-Control."""
    common = {
        "X-Request-ID": request_id,
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Vary": "Origin",
    }
    origin = read_header(headers, "Origin").rstrip("/")
    if origin in origins:
        common["Access-Control-Allow-Origin"] = origin
        common["Access-Control-Allow-Credentials"] = "true"
        common["Access-Control-Expose-Headers"] = EXPOSED
    return common


@lru_cache(1)
def date_of(second: int) -> str:
    return format_timestamp(second)
