"""What discovery answers: profiles of the other role, counts of a kind, and the words of all vocabularies."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.error_codes import ErrorCode
from db.schemas.shapes import ConnectionState, Gender, Shape, SocialAccount, Sql, Time, UserRef

# Of influencer `{t}`, the ones with the most followers first.
ACTIVE_ACCOUNTS = Sql(
    f"(select coalesce(json_agg({SocialAccount.sql('{a}')} order by {{a}}.followers_count desc, {{a}}.platform), '[]')"
    " from social_media_accounts {a} where {a}.influencer_id = {t}.id and {a}.is_active)"
)


class DiscoveredInfluencer(Shape):
    id: UUID
    bio: str | None
    profile_pic: str | None
    categories: list[str]
    region: str | None
    age: int | None
    gender: Gender | None
    created_at: Time
    user: UserRef
    social_media_accounts: Annotated[list[SocialAccount], ACTIVE_ACCOUNTS]
    connection: ConnectionState


class DiscoveredSalon(Shape):
    id: UUID
    business_name: str | None
    description: str | None
    profile_pic: str | None
    preferred_categories: list[str]
    region: str | None
    website: str | None
    established_year: int | None
    team_size: int | None
    instagram_handle: str | None
    tiktok_handle: str | None
    facebook_page: str | None
    created_at: Time
    user: UserRef
    connection: ConnectionState


class RegionCount(Shape):
    region: str
    count: int


class CategoryCount(Shape):
    category: str
    count: int


class Word(Shape):
    slug: str = Field(description="What requests and answers carry")
    name: str = Field(description="In English, for people")


class Vocabularies(Shape):
    regions: list[Word] = Field(description="Japanese prefectures from north to south, then countries by name")
    categories: list[Word]
    error_codes: list[ErrorCode] = Field(description="Every `code` of an error, of requests and socket frames alike")
