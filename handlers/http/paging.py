"""Pages of a list: opaque keyset cursors, and page numbers for the web client (contract §1)."""

import base64
import binascii
import math
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Annotated, Any, NamedTuple
from uuid import UUID

import asyncpg
import orjson
from pydantic import AfterValidator, AwareDatetime, Field, TypeAdapter, ValidationError

from db.errors import Invalid
from db.pool import Queries
from db.schemas.faults import fault
from db.schemas.shape import Shape
from handlers.http.endpoint import MAX_NUMBERED_ROWS, NumberedPaging, Paging


def key_or_latest(time: str, id: str) -> str:
    """Return SQL of the key that a page, newest first, continues after; by default it is later than all rows. Unlike
    “$1 is null or …”, a plan that PostgreSQL keeps for all pages still seeks in the index, however deep the page is."""
    return f"(coalesce({time}, 'infinity'::timestamptz), coalesce({id}, '{UUID(int=2**128 - 1)}'::uuid))"


def to_utc(time: datetime) -> datetime:
    try:
        return time.astimezone(UTC)
    except OverflowError:
        raise ValueError("is out of range") from None


def without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


# Clients can invent cursors, so values that a column cannot hold are refused before they reach PostgreSQL.
WITHIN_RANGE: dict[Any, Any] = {
    str: Annotated[str, AfterValidator(without_nul)],
    datetime: Annotated[AwareDatetime, AfterValidator(to_utc)],
    int: Annotated[int, Field(ge=-(2**63), lt=2**63)],
}


class PageInfo(Shape):
    """Where a page of a list ends."""

    next_cursor: str | None = Field(
        description="Send it as `cursor` for the next page; null on the last one", examples=["WyIyMDI2LTAxLTMxIl0"]
    )
    has_more: bool = Field(description="Whether there is a next page", examples=[True])


class Pagination(Shape):
    """Pages by number; answered where the request has `page`."""

    page: int = Field(description="The number of this page, from 1", examples=[1])
    limit: int = Field(description="Entries on a page", examples=[20])
    total: int = Field(description="Entries on all pages", examples=[134])
    total_pages: int = Field(description="Number of pages", examples=[7])
    has_more: bool = Field(description="Whether there is a next page", examples=[True])


class Cursor:
    """The sort key of a page's last row, as an opaque text. `types` are the types of its columns."""

    def __init__(self, *types: Any) -> None:
        self.size = len(types)
        within_range = tuple(WITHIN_RANGE.get(each, each) for each in types)
        self.key: TypeAdapter[Any] = TypeAdapter(tuple[within_range])  # type: ignore[valid-type]

    def encode(self, values: Sequence[Any]) -> str:
        return base64.urlsafe_b64encode(orjson.dumps(tuple(values))).decode().rstrip("=")

    def decode(self, text: str | None) -> tuple[Any, ...]:
        """Return the key to continue after; all None at the start of the list."""
        if text is None:
            return (None,) * self.size
        try:
            raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            key: tuple[Any, ...] = self.key.validate_json(raw)
        except (binascii.Error, ValueError, ValidationError):
            raise Invalid([fault("cursor", "is not a cursor of this list; please start at the first page")]) from None
        return key


class Window(NamedTuple):
    """The rows to fetch: after `key`, skipping `offset`, and one more than `limit` to see if there are more."""

    key: tuple[Any, ...]
    limit: int
    offset: int
    page: int | None

    @property
    def fetch(self) -> int:
        return self.limit + 1


def window(query: Paging, cursor: Cursor) -> Window:
    page = query.page if isinstance(query, NumberedPaging) else None
    if page is not None and page * query.limit > MAX_NUMBERED_ROWS:
        raise Invalid([fault("page", f"is too high: page times limit must be at most {MAX_NUMBERED_ROWS:,}")])
    key = cursor.decode(query.cursor)
    if page is not None:
        key = cursor.decode(None)
    return Window(key, query.limit, (page - 1) * query.limit if page else 0, page)


@cache
def with_total(page: str, count: str) -> str:
    """Return one statement for a page and the total, which stands in an additional last column. Both statements have
    the same first parameters. An empty page has a row of nulls. A join `on true` is a loop, so the order stays."""
    return f"""
        select page.*, counted.total from (select ({count}) as total) counted left join lateral ({page}) page on true
    """


async def fetch_page(queries: Queries, asked: Window, cursor: Cursor, page: str, count: str, *args: Any) -> "PageOf":
    """Return the page of a statement; its rows are (body, *key columns). A numbered page also has the total."""
    if asked.page is None:
        return page_of(await queries.fetch(page, *args), asked, cursor)
    rows = await queries.fetch(with_total(page, count), *args)
    return page_of([row for row in rows if row[0] is not None], asked, cursor, rows[0]["total"])


class PageOf(NamedTuple):
    data: list[Any]
    page_info: dict[str, Any]
    pagination: dict[str, Any] | None


def page_of(rows: Sequence[asyncpg.Record], asked: Window, cursor: Cursor, total: int | None = None) -> PageOf:
    """Return the page from rows of (body, *key columns), fetched with `asked.fetch`; `total` if pages are numbered."""
    shown, more = rows[: asked.limit], len(rows) > asked.limit
    info = {"nextCursor": cursor.encode(tuple(shown[-1])[1 : cursor.size + 1]) if more else None, "hasMore": more}
    pagination = None
    if asked.page is not None and total is not None:
        pages = math.ceil(total / asked.limit)
        pagination = {
            "page": asked.page,
            "limit": asked.limit,
            "total": total,
            "totalPages": pages,
            "hasMore": asked.page < pages,
        }
    return PageOf([row[0] for row in shown], info, pagination)
