"""Social accounts and public profiles as their owners and readers see them."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from db.schemas.shapes import MediaType, Platform, Shape, SocialAccount, Sql, Time

SHOWN_POSTS = 50


class SocialPost(Shape):
    id: UUID
    platform_post_id: str
    media_type: MediaType
    caption: str | None
    url: str | None
    media_url: str | None
    likes_count: int
    comments_count: int
    shares_count: int
    views_count: int
    hashtags: list[str]
    posted_at: Time | None
    created_at: Time
    updated_at: Time


class OwnAccount(SocialAccount):
    """What its owner alone may read."""

    verification_code: Annotated[str | None, Field(description="to be put into the bio; null once it is verified")]
    needs_reconnect: Annotated[bool, Field(description="TikTok no longer accepts the connection: connect again")]


class OwnAccountWithPosts(OwnAccount):
    posts: Annotated[
        list[SocialPost],
        Sql(
            f"coalesce((select json_agg({SocialPost.sql('{p}')} order by {{p}}.posted_at desc nulls last, {{p}}.id)"
            " from (select * from social_media_posts {q} where {q}.account_id = {t}.id"
            f" order by {{q}}.posted_at desc nulls last, {{q}}.id limit {SHOWN_POSTS}) {{p}}), '[]')"
        ),
    ]


class PublicProfile(Shape):
    """Somebody's profile on a platform, whether they are here or not."""

    platform: Platform
    username: str
    platform_username: str
    display_name: str | None
    profile_picture: str | None
    profile_url: str | None
    followers_count: int
    following_count: int
    posts_count: int
    engagement_rate: float
    is_verified: Annotated[bool, Field(description="by the platform")]
    metadata: dict[str, Any]
    fetched_at: Time


class Video(Shape):
    """One of the newest videos of a TikTok profile."""

    id: str
    share_url: str | None
    cover_image_url: str | None
    video_description: str
    likes_count: int
    comments_count: int
    shares_count: int
    views_count: int
