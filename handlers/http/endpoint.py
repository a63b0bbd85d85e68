"""`@endpoint`: what a method needs and answers, said on the method; serving, guards and API description read it."""

import functools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from db.schemas.fields import Body, Digits

JSON_BYTES = 256 * 1024  # the longest text field is 5,000 characters; this leaves room for escapes


@dataclass(frozen=True)
class Access:
    """Who may call: anybody (`roles` is None), or active accounts of these roles."""

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

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="ignore")


PageSize = Annotated[int, Field(ge=1, le=100), Digits]
Seq = Annotated[int, Field(ge=0, lt=2**53), Digits]


class Paging(Query):
    """`limit` and `cursor` of every list (contract §1)."""

    limit: PageSize = 20
    cursor: str | None = Field(None, max_length=400)


class NumberedPaging(Paging):
    """Lists that also take `page` for the web client."""

    page: Annotated[int, Field(ge=1), Digits] | None = None


@dataclass(frozen=True)
class Endpoint:
    access: Access
    body: type[Body] | None = None
    query: type[Query] | None = None
    returns: Any = None  # the type of `data`, for tests and the API description
    top: tuple[str, ...] = ()  # fields of `data` that stand at the top level too, where the web client reads them
    bare: bool = False  # the answer is `returns` itself, without `success` and `data` around it
    data_as: str | None = None  # a name under which `data` as a whole stands at the top level too
    beside: dict[str, Any] = field(default_factory=dict)  # what else may stand at the top level: names and types
    limit: str | None = None  # a setting's name (`limit_message`) beside the general one
    files: tuple[str, ...] = ()  # multipart file fields that are read
    max_bytes: int = JSON_BYTES  # of the whole body
    acts: bool = False  # whether this GET changes or pays for something; HEAD then runs the checks alone
    produces: str = "application/json"  # what a success is; failures are always JSON
    counted: bool = True  # whether the general rate limit counts it
    statuses: tuple[int, ...] = (200,)
    summary: str = ""


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
