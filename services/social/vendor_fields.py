"""Field types for vendors' data: lenient about spelling and shape, strict about the values that they return.

No value breaks PostgreSQL (NUL, lone surrogates), the range of JSON numbers, or a link in a page.
"""

import math
import re
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, model_validator

MAX_COUNT = 2**53 - 1  # the largest whole number that all JSON parsers read exactly
MAX_LINK_CHARS = 2048
UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "b": 1_000_000_000}
# Texts need no control characters except newline and tab.
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
MAX_UNIX_SECONDS = 10**11  # a larger number means milliseconds


def read_count(value: Any) -> int:
    """Read a whole number, `"1,204"` or `"1.2M"`; null and negative values count as 0."""
    if value is None or isinstance(value, bool):
        return 0
    if isinstance(value, str):
        match = re.fullmatch(r"(-?\d{1,15}(?:\.\d{1,6})?)([kmb]?)", value.strip().replace(",", "").lower())
        if match is None:
            raise ValueError("is not a count")
        value = float(match[1]) * UNITS[match[2]] if match[2] or "." in match[1] else int(match[1])
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("is not a count")
        value = round(value)
    if not isinstance(value, int):
        raise ValueError("is not a count")
    return min(max(value, 0), MAX_COUNT)


def read_visible_count(value: Any) -> int | None:
    """Read a count like `Count`, but hidden (-1) and missing (null) counts are None."""
    if value is None or (isinstance(value, int | float) and value < 0) or str(value).strip().startswith("-"):
        return None
    return read_count(value)


def read_moment(value: Any) -> datetime | None:
    """Read ISO 8601 or Unix time in seconds or milliseconds; None for anything else, because posts may lack a date."""
    if isinstance(value, datetime):
        return value
    try:
        if isinstance(value, str) and not value.isdecimal():
            moment = datetime.fromisoformat(value)
            return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        seconds = float(value)
        return (
            datetime.fromtimestamp(seconds / 1000 if seconds > MAX_UNIX_SECONDS else seconds, UTC) if seconds else None
        )
    except (ValueError, TypeError, OverflowError, OSError):
        return None


def read_link(value: Any) -> str | None:
    """Accept web addresses only: a `javascript:` link must never reach a page."""
    if isinstance(value, str) and len(value) <= MAX_LINK_CHARS and re.fullmatch(r"https?://[!-~]+", value.strip()):
        return value.strip()
    return None


def text_reader(max_chars: int) -> BeforeValidator:
    def read_text(value: Any) -> str | None:
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str):
            return None
        return CONTROLS.sub("", value[:max_chars].replace("\r\n", "\n")).strip() or None

    return BeforeValidator(read_text)


Count = Annotated[int, BeforeValidator(read_count)]
VisibleCount = Annotated[int | None, BeforeValidator(read_visible_count)]
Moment = Annotated[datetime | None, BeforeValidator(read_moment)]
Link = Annotated[str | None, BeforeValidator(read_link)]
Name = Annotated[str | None, text_reader(200)]
Identifier = Annotated[str, text_reader(100)]
Bio = Annotated[str | None, text_reader(2_000)]
Caption = Annotated[str | None, text_reader(5_000)]
MediaType = Literal["IMAGE", "VIDEO", "CAROUSEL", "REEL", "STORY"]


class VendorModel(BaseModel):
    """An object from a vendor: unknown keys are ignored, null and '' count as absent.

    So if the first spelling of an `AliasChoices` is present but empty, the next one is read.
    """

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def drop_empty(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {key: value for key, value in data.items() if value is not None and value != ""}
        return data
