"""Types of the fields that clients send, in bodies, queries and frames."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import email_validator
from annotated_types import GroupedMetadata
from email_validator import EmailNotValidError, validate_email
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    ValidationInfo,
    WithJsonSchema,
)
from pydantic.alias_generators import to_camel
from pydantic_core import CoreSchema, PydanticKnownError, core_schema

from db.schemas import facts, words
from db.schemas.facts import about
from db.schemas.vocabularies import read_category, read_gender, read_region

UUID_PATTERN = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
LONG_TEXT_CONTROLS = "\n\t"
JOINTS = {"Zs", "Pd", "Cf"}  # Unicode categories: spaces, dashes, invisible characters
HYPHENS = "\u2212\u30fc\uff70"  # the minus sign, and the characters of a Japanese keyboard for a hyphen
UNSEEN = {"Cc", "Cf", "Zs", "Zl", "Zp"}  # Unicode categories of invisible characters
BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters by their category, but invisible


def with_plain_newlines(value: Any) -> Any:
    """Return the text with LF for each newline; browsers send CR LF in forms."""
    return value.replace("\r\n", "\n").replace("\r", "\n") if isinstance(value, str) else value


def without_controls(text: str) -> str:
    """Reject NUL and other control characters, except the newlines and tabs of long texts."""
    if any((char < " " and char not in LONG_TEXT_CONTROLS) or "\x7f" <= char <= "\x9f" for char in text):
        raise ValueError("must not contain control characters")
    return text


def with_something_to_see(text: str) -> str:
    """Reject a text that has only invisible characters."""
    if all(unicodedata.category(char) in UNSEEN or char in BLANK_LETTERS for char in text):
        raise ValueError("must contain a visible character")
    return text


def on_one_line(text: str) -> str:
    if "\n" in text or "\t" in text:
        raise ValueError("must not contain line breaks or tabs")
    return text


def with_plain_digits(value: Any) -> Any:
    """Return the text with decimal digits of all scripts and widths as 0 to 9, because keyboards differ."""
    if not isinstance(value, str) or value.isascii():
        return value
    return "".join(str(unicodedata.decimal(char, char)) for char in value)


def without_joints(code: str) -> str:
    """Return the code without spaces and hyphens between its digits and without invisible characters."""
    return "".join(char for char in code if unicodedata.category(char) not in JOINTS and char not in HYPHENS)


def blank_to_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def group_by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, str | list[str]]:
    """Return the values of a query or form by name: a repeated name has a list, and `name[]` counts as `name`."""
    values: dict[str, list[str]] = {}
    for name, value in pairs:
        values.setdefault(name.removesuffix("[]"), []).append(value)
    return {name: found[0] if len(found) == 1 else found for name, found in values.items()}


def split_commas(value: Any) -> Any:
    """Return a list from `a,b` or from repeated parameters."""
    parts = value if isinstance(value, list) else [value]
    return [piece for part in parts for piece in (part.split(",") if isinstance(part, str) else [part]) if piece != ""]


@dataclass(frozen=True)
class Text(GroupedMetadata):
    """`Annotated[str, Text(5000)]`: several lines, `min` to `max` characters after trimming."""

    max: int
    min: int = 1

    def __iter__(self) -> Iterator[Any]:
        yield StringConstraints(strip_whitespace=True, min_length=self.min, max_length=self.max)
        yield AfterValidator(without_controls)
        yield BeforeValidator(with_plain_newlines)


@dataclass(frozen=True)
class Line(Text):
    """`Text` without line breaks and tabs."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        yield AfterValidator(on_one_line)
        if self.min:
            yield AfterValidator(with_something_to_see)


# RFC 6761: no mail reaches these top-level domains. The library refuses them everywhere, Email in production only.
SPECIAL_USE_DOMAINS = frozenset(email_validator.SPECIAL_USE_DOMAIN_NAMES)
email_validator.SPECIAL_USE_DOMAIN_NAMES.clear()


def normalise_email(text: str, info: ValidationInfo) -> str:
    """Return the address in lower case. The mailed code shows whether the address receives mail.

    With `production` in the context of the validation, refuse special-use domains.
    """
    try:
        checked = validate_email(text.strip(), check_deliverability=False, globally_deliverable=False)
    except EmailNotValidError:
        raise ValueError("is not a valid e-mail address, such as name@example.com") from None
    top_level = checked.ascii_domain.rpartition(".")[2].lower()
    if top_level in SPECIAL_USE_DOMAINS and (info.context or {}).get("production"):
        raise ValueError("has a domain that cannot receive mail. Please give an address that you can read")
    return checked.normalized.lower()


Email = Annotated[
    str,
    StringConstraints(max_length=254),
    AfterValidator(without_controls),
    AfterValidator(normalise_email),
    Field(json_schema_extra={"format": "email"}),
    facts.EMAIL,
]
# Ids are text in Python, as they are on the wire.
Id = Annotated[str, StringConstraints(pattern=UUID_PATTERN, to_lower=True), Field(json_schema_extra={"format": "uuid"})]


class BlankAsNone:
    """Read a blank text as None, so the schema of the field accepts `''`."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(blank_to_none, handler(source))

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        described = handler(schema)
        for kind in described.get("anyOf", []):
            kind.pop("minLength", None)
        return described


CommaList = BeforeValidator(split_commas)

# Every number of a form or query has it, besides its bounds: `Annotated[int, Field(ge=1), Digits]`.
Digits = BeforeValidator(with_plain_digits)
Code = Annotated[
    str,
    Line(40),
    AfterValidator(without_joints),
    AfterValidator(with_plain_digits),
    about("The six digits of the mail; spaces and hyphens are skipped", "483920"),
]
PhoneNo = Annotated[str, Line(30), AfterValidator(with_plain_digits), facts.PHONE_NO]

MAX_WORD_CHARS = 60  # no spelling is longer (db/schemas/vocabularies.py)


def lenient(read: Callable[[str], str]) -> BeforeValidator:
    """Convert other spellings of a word to the stored one before its type is checked."""

    def read_word(value: Any) -> str:
        if not isinstance(value, str):
            raise PydanticKnownError("string_type")
        if len(value) > MAX_WORD_CHARS:
            raise PydanticKnownError("string_too_long", {"max_length": MAX_WORD_CHARS})
        return read(value)

    return BeforeValidator(read_word)


Category = Annotated[words.Category, lenient(read_category)]
Region = Annotated[
    str,
    StringConstraints(max_length=MAX_WORD_CHARS),
    AfterValidator(read_region),
    WithJsonSchema(
        {
            "type": "string",
            "maxLength": MAX_WORD_CHARS,
            "description": "A prefecture or large city of Japan, or an ISO 3166-1 alpha-2 code, in any case",
            "examples": facts.REGION.examples,
        }
    ),
]
Gender = Annotated[words.Gender, lenient(read_gender), facts.GENDER]


class Body(BaseModel):
    """The base of models of requests: camelCase in JSON, unknown fields are ignored, JSON types are not converted."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=False, extra="ignore", defer_build=True)
