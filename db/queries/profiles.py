"""Fields of influencers' and salons' profiles with their checks, and the statements that change them."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any
from urllib.parse import urlsplit

import orjson
from pydantic import AfterValidator, BeforeValidator, Field, HttpUrl, TypeAdapter, ValidationError

from db.errors import NotFound
from db.pool import Queries, Transaction
from db.schemas import facts
from db.schemas.decode import decode_json
from db.schemas.facts import about
from db.schemas.fields import Body, Category, Digits, Gender, Line, PhoneNo, Region, Text

FIRST_YEAR = 1900
MAX_TEAM = 100_000
MAX_CATEGORIES = 12
MAX_WEBSITE_CHARS = 500
WEB_PATTERN = "^[Hh][Tt][Tt][Pp][Ss]?://"

HTTP_URL = TypeAdapter(HttpUrl)


def read_list(value: Any) -> Any:
    """Return a list from a form's field: repeated fields, JSON text, or words separated by commas."""
    if not isinstance(value, str):
        return value
    if not value.lstrip().startswith("["):
        return [part for part in value.split(",") if part.strip()]
    return decode_json(value)


def distinct(words: list[str]) -> list[str]:
    return list(dict.fromkeys(words))


def check_website(url: str) -> str:
    try:
        parsed = HTTP_URL.validate_python(url)
    except ValidationError:
        parsed = None
    if parsed is None or not re.match(WEB_PATTERN, url):
        raise ValueError("must be a web address that begins with http:// or https://")
    if parsed.username or parsed.password or " " in url:
        raise ValueError("must be a plain web address")
    return url


def check_page(text: str) -> str:
    """Check that this is a page's name or web address, and not a link with another scheme, such as `javascript:`."""
    try:
        scheme = urlsplit(text).scheme
    except ValueError:
        scheme = "?"
    if scheme not in ("", "http", "https"):
        raise ValueError("must be a name or a web address")
    return text


def check_year(year: int) -> int:
    if not FIRST_YEAR <= year <= datetime.now(UTC).year:
        raise ValueError(f"must be a year from {FIRST_YEAR} to this one")
    return year


Name = Annotated[str, Line(100), facts.NAME]
Bio = Annotated[str, Text(2000), facts.BIO]
Categories = Annotated[
    list[Category], Field(min_length=1, max_length=MAX_CATEGORIES), BeforeValidator(read_list), AfterValidator(distinct)
]
Age = Annotated[int, Field(ge=13, le=120), Digits, facts.AGE]
BusinessName = Annotated[str, Line(120), facts.BUSINESS_NAME]
Description = Annotated[str, Text(5000), facts.DESCRIPTION]
Website = Annotated[
    str,
    Line(MAX_WEBSITE_CHARS),
    AfterValidator(check_website),
    about("Web address of the salon, with `http://` or `https://`", *facts.WEBSITE.examples),
    Field(json_schema_extra={"format": "iri", "pattern": WEB_PATTERN}),
]
Year = Annotated[
    int,
    AfterValidator(check_year),
    Digits,
    about("Year in which the salon opened, at most the present one", *facts.ESTABLISHED_YEAR.examples),
    Field(json_schema_extra={"minimum": FIRST_YEAR}),
]
TeamSize = Annotated[int, Field(ge=1, le=MAX_TEAM), Digits, facts.TEAM_SIZE]
Hours = Annotated[str, Text(500), facts.OPERATING_HOURS]
Handle = Annotated[str, Line(100)]
Page = Annotated[str, Line(300), AfterValidator(check_page), facts.FACEBOOK_PAGE]


class InfluencerFields(Body):
    phone_no: PhoneNo | None = None
    bio: Bio | None = None
    categories: Annotated[Categories, facts.CATEGORIES] | None = None
    region: Region | None = None
    age: Age | None = None
    gender: Gender | None = None


class SalonFields(Body):
    phone_no: PhoneNo | None = None
    business_name: BusinessName | None = None
    description: Description | None = None
    preferred_categories: Annotated[Categories, facts.PREFERRED_CATEGORIES] | None = None
    region: Region | None = None
    website: Website | None = None
    established_year: Year | None = None
    team_size: TeamSize | None = None
    operating_hours: Hours | None = None
    instagram_handle: Annotated[Handle, facts.INSTAGRAM_HANDLE] | None = None
    tiktok_handle: Annotated[Handle, facts.TIKTOK_HANDLE] | None = None
    facebook_page: Page | None = None


LISTS = ("categories", "preferred_categories")  # never null; empty if cleared

LOCK_INFLUENCER = "select profile_pic from influencers where user_id = $1 for update"

LOCK_SALON = "select profile_pic from salons where user_id = $1 for update"

# Columns that are not in the JSON keep their value.
CHANGE_INFLUENCER = """
    update influencers i set (phone_no, bio, profile_pic, categories, region, age, gender, updated_at) = (
        select n.phone_no, n.bio, n.profile_pic, n.categories, n.region, n.age, n.gender, now()
        from jsonb_populate_record(i, $2::jsonb) n
    )
    where i.user_id = $1
"""

CHANGE_SALON = """
    update salons s set (phone_no, business_name, description, profile_pic, preferred_categories, region, website,
        established_year, team_size, operating_hours, instagram_handle, tiktok_handle, facebook_page, updated_at) = (
        select n.phone_no, n.business_name, n.description, n.profile_pic, n.preferred_categories, n.region, n.website,
            n.established_year, n.team_size, n.operating_hours, n.instagram_handle, n.tiktok_handle, n.facebook_page,
            now()
        from jsonb_populate_record(s, $2::jsonb) n
    )
    where s.user_id = $1
"""

STATEMENTS = {"INFLUENCER": (LOCK_INFLUENCER, CHANGE_INFLUENCER), "SALON": (LOCK_SALON, CHANGE_SALON)}
FIELDS: dict[str, frozenset[str]] = {
    "INFLUENCER": frozenset({*InfluencerFields.model_fields, "profile_pic"}),
    "SALON": frozenset({*SalonFields.model_fields, "profile_pic"}),
    "ADMIN": frozenset(),
}


async def change_profile(tx: Transaction, user_id: str, role: str, changes: dict[str, Any]) -> str | None:
    """Set these columns (None clears); ignore columns of the other role. Raises NotFound.

    Return the URL of the replaced picture, if any; the caller deletes its file after the commit."""
    changes = {name: value for name, value in changes.items() if name in FIELDS[role]}
    if not changes:
        return None
    for name in changes.keys() & set(LISTS):
        changes[name] = changes[name] or []
    lock, change = STATEMENTS[role]
    profile = await tx.fetchrow(lock, user_id)
    if profile is None:
        raise NotFound("Profile")  # the account was deleted meanwhile
    await tx.execute(change, user_id, orjson.dumps(changes).decode())
    return profile["profile_pic"] if "profile_pic" in changes else None


RENAME = "update users set name = $2, updated_at = now() where id = $1 and status <> 'DELETED'"


async def rename(queries: Queries, user_id: str, name: str) -> None:
    await queries.execute(RENAME, user_id, name)
