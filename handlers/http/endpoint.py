"""`@endpoint` declares what a method needs and returns. Serving, guards and the API description read it."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from db.error_codes import ErrorCode
from db.schemas.facts import about
from db.schemas.fields import Body, Digits

JSON_BYTES = 256 * 1024  # the longest text field is 5,000 characters; this leaves room for escapes


@dataclass(frozen=True)
class Access:
    """Who may call: everyone (`roles` is None), or active accounts of these roles."""

    name: str
    roles: frozenset[str] | None = None

    def __or__(self, other: "Access") -> "Access":
        return Access(f"{self.name} or {other.name}", (self.roles or frozenset()) | (other.roles or frozenset()))


PUBLIC = Access("public")
INFLUENCER = Access("influencer", frozenset({"INFLUENCER"}))
SALON = Access("salon", frozenset({"SALON"}))
ADMIN = Access("admin", frozenset({"ADMIN"}))
MEMBER = INFLUENCER | SALON
USER = Access("user", (MEMBER | ADMIN).roles)


class Query(BaseModel):
    """Parameters after the `?`; a repeated one arrives as a list."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="ignore", defer_build=True)


PAGE_SIZE = 20
MAX_NUMBERED_ROWS = 10_000  # numbered pages read all rows from the start, so their depth is bounded
PageSize = Annotated[int, Field(ge=1, le=100), Digits, about("Entries on a page", 20)]
Seq = Annotated[int, Field(ge=0, lt=2**53), Digits]


class Paging(Query):
    """`limit` and `cursor` of every list (contract §1)."""

    limit: PageSize = PAGE_SIZE
    cursor: (
        Annotated[str, Field(max_length=400), about("`nextCursor` of the page before", "WyIyMDI2LTAxLTMxIl0")] | None
    ) = None


class NumberedPaging(Paging):
    """Lists that also take `page` for the web client."""

    page: (
        Annotated[
            int,
            Field(ge=1, le=MAX_NUMBERED_ROWS),
            Digits,
            about("Number of the page, instead of `cursor`; page times limit is at most 10,000", 1),
        ]
        | None
    ) = None


@dataclass(frozen=True)
class Endpoint:
    access: Access
    body: type[Body] | None = None
    query: type[Query] | None = None
    returns: Any = None  # the type of `data`, for tests and the API description
    top: tuple[str, ...] = ()  # fields of `data` that are also at the top level, where the web client reads them
    bare: bool = False  # the answer is `returns` itself, without `success` and `data` around it
    data_as: str | None = None  # a name under which the whole `data` is also at the top level
    beside: dict[str, Any] = field(default_factory=dict)  # further fields of the top level: names and types
    limit: str | None = None  # a setting's name (`limit_message`) beside the general one
    files: tuple[str, ...] = ()  # multipart file fields that are read
    max_bytes: int = JSON_BYTES  # of the whole body
    acts: bool = False  # whether this GET changes data or costs money; HEAD then runs only the checks
    produces: str = "application/json"  # the media type of a success; errors are always JSON
    counted: bool = True  # whether the general rate limit counts it
    statuses: tuple[int, ...] = (200,)
    errors: tuple[ErrorCode, ...] = ()  # beside those that follow from the rest (handlers/http/description/errors.py)
    fails: bool = True  # whether a failure is an error response; otherwise a success reports it
    reads_cookie: bool = False  # whether the refresh cookie signs in
    reads_token: bool = False  # whether a public route signs in by an access token, if there is one
    deprecated: bool = False  # kept for the web client
    summary: str = ""

    @property
    def takes_json(self) -> bool:
        """Whether the body may be JSON; one that consists of files is always a form."""
        return self.body is not None and (not self.files or bool(self.body.model_fields))


# Errors of reading a profile of Instagram or TikTok.
SCRAPE_ERRORS: tuple[ErrorCode, ...] = (
    "NOT_FOUND",
    "PROFILE_PRIVATE",
    "PROFILE_RESTRICTED",
    "UPSTREAM_FAILED",
    "NOT_CONFIGURED",
    "UPSTREAM_TIMEOUT",
)

Method = Callable[..., Awaitable[None]]


def endpoint(access: Access, **about: Any) -> Callable[[Method], Method]:
    """Mark a handler's method. It is called with the ids of its path, then its body, then its query, as declared."""

    def mark(method: Method) -> Method:
        declared = Endpoint(access, summary=(method.__doc__ or "").strip().split("\n")[0], **about)

        @functools.wraps(method)
        async def run(self: Any, *ids: str) -> None:
            await method(self, *ids, *self.inputs())

        run.endpoint = declared  # type: ignore[attr-defined]
        return run

    return mark
