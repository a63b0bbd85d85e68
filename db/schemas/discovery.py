"""Responses of discovery: profiles of the other role, counts per region and category, and all vocabularies."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.error_codes import ErrorCode
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time
from db.schemas.shapes import ConnectionState, UserRef
from db.schemas.social import SocialAccount
from db.schemas.words import Category, Gender

# The active accounts of influencer `{t}`, those with the most followers first.
ACTIVE_ACCOUNTS = Sql(
    f"(select coalesce(json_agg({SocialAccount.sql('{a}')} order by {{a}}.followers_count desc, {{a}}.platform), '[]')"
    " from social_media_accounts {a} where {a}.influencer_id = {t}.id and {a}.is_active)"
)


class DiscoveredInfluencer(Shape):
    """The profile of an influencer, as salons discover it."""

    id: UUID = about("Id of the profile, not of the user", "2b7f1d3c-5a69-4e8b-9c0d-3f1e2d4c5b6a")
    bio: str | None = facts.BIO
    profile_pic: str | None = facts.PROFILE_PIC
    categories: list[Category] = facts.CATEGORIES
    region: str | None = facts.REGION
    age: int | None = facts.AGE
    gender: Gender | None = facts.GENDER
    created_at: Time = facts.CREATED_AT
    user: UserRef = about("The user of this profile")
    social_media_accounts: Annotated[list[SocialAccount], ACTIVE_ACCOUNTS] = Field(
        description="Connected accounts, one for each platform"
    )
    connection: ConnectionState = facts.CONNECTION_STATE


class DiscoveredSalon(Shape):
    """The profile of a salon, as influencers discover it."""

    id: UUID = about("Id of the profile, not of the user", "d41c8e2f-7b60-4a95-8e3d-5c6f7a8b9d0e")
    business_name: str | None = facts.BUSINESS_NAME
    description: str | None = facts.DESCRIPTION
    profile_pic: str | None = facts.SALON_PIC
    preferred_categories: list[Category] = facts.PREFERRED_CATEGORIES
    region: str | None = facts.REGION
    website: str | None = facts.WEBSITE
    established_year: int | None = facts.ESTABLISHED_YEAR
    team_size: int | None = facts.TEAM_SIZE
    instagram_handle: str | None = facts.INSTAGRAM_HANDLE
    tiktok_handle: str | None = facts.TIKTOK_HANDLE
    facebook_page: str | None = facts.FACEBOOK_PAGE
    created_at: Time = facts.CREATED_AT
    user: UserRef = about("The user of this profile", facts.SALON_USER)
    connection: ConnectionState = facts.CONNECTION_STATE


class RegionCount(Shape):
    """The number of profiles with a region."""

    region: str = facts.REGION
    count: int = about("Number of profiles with this region", 31)


class CategoryCount(Shape):
    """The number of profiles with a category."""

    category: Category = about("The category", "beauty")
    count: int = about("Number of profiles with this category", 58)


class Word(Shape):
    """A word of the API."""

    slug: str = about("The value in requests and responses", "kanagawa")
    name: str = about("English name to show to people", "Kanagawa")


class Vocabularies(Shape):
    """Words that the API uses."""

    regions: list[Word] = Field(description="Japanese prefectures from north to south, then countries by name")
    categories: list[Word] = about("Categories of influencers", [{"slug": "beauty", "name": "Beauty"}])
    error_codes: list[ErrorCode] = about(
        "Every `code` of an error, of requests and of socket frames", ["NOT_FOUND", "VALIDATION_ERROR"]
    )
