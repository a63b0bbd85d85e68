"""The shapes of social accounts, for their owners and for other users, and of public profiles."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import Field

from db.schemas import facts
from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time
from db.schemas.words import AccountConnection, MediaType, Platform

SHOWN_POSTS = 50
# Fields beside a profile that may come from the cache.
AGE: dict[str, Any] = {
    "cached": Annotated[bool, about("Whether the profile comes from the cache", True)],
    "cacheAge": Annotated[int, about("Seconds since the profile was read from the platform", 5400)],
}


class RecentPost(Shape):
    """One of the newest posts of an Instagram profile."""

    id: str = facts.PLATFORM_POST_ID
    type: str = about("Kind of the post in Instagram's terms: `Image`, `Video` or `Sidecar`", "Sidecar")
    caption: str = facts.CAPTION
    likes_count: int = facts.LIKES_COUNT
    comments_count: int = facts.COMMENTS_COUNT
    timestamp: Time | None = facts.POSTED_AT
    url: str | None = facts.POST_URL
    display_url: str | None = about(
        "Address of the picture of the post", "https://scontent.cdninstagram.com/v/t51/2.jpg"
    )


class Video(Shape):
    """One of the newest videos of a TikTok profile."""

    id: str = about("Id of the video on TikTok", "7312345678901234567")
    share_url: str | None = about(
        "Address of the video", "https://www.tiktok.com/@hanako.beauty/video/7312345678901234567"
    )
    cover_image_url: str | None = about(
        "Address of a picture of the video", "https://p16-sign.tiktokcdn.com/obj/1.jpeg"
    )
    video_description: str = about("Text of the video", "New nails! #beauty")
    likes_count: int = facts.LIKES_COUNT
    comments_count: int = facts.COMMENTS_COUNT
    shares_count: int = facts.SHARES_COUNT
    views_count: int = facts.VIEWS_COUNT


class ProfileMetadata(Shape):
    bio: str = about("What the profile says about itself; may be empty", "Beauty and travel from Tokyo")
    is_verified: bool = about("Whether the platform has verified the profile", False)
    average_likes: float = about("Mean number of likes of the recent posts, without posts that hide them", 530.5)
    average_comments: float = about("Mean number of comments of the recent posts", 21.4)
    average_shares: float = about("Mean number of shares of the recent posts; 0 on Instagram", 8.1)
    average_views: float = about("Mean number of views of the recent videos", 9120.3)
    top_hashtags: list[str] = about("The most used hashtags of the recent posts, without `#`", ["beauty", "東京"])


class InstagramMetadata(ProfileMetadata):
    """More of a profile of Instagram."""

    recent_posts: list[RecentPost] = Field(description="The newest posts, at most 24")


class TikTokMetadata(ProfileMetadata):
    """More of a profile of TikTok."""

    recent_videos: list[Video] = Field(description="The newest videos, at most 24")


METADATA = about("More of the profile: a bio, means and the newest posts; `platform` decides about its type")


class SocialAccount(Shape):
    """A connected account, without tokens and verification code. Name and sync time have two spellings for clients."""

    id: UUID = facts.ACCOUNT_ID
    platform: Platform = facts.PLATFORM
    username: str = facts.USERNAME
    platform_username: Annotated[str, Sql("{t}.username")] = facts.PLATFORM_USERNAME
    display_name: str | None = facts.DISPLAY_NAME
    profile_picture: str | None = facts.PROFILE_PICTURE
    profile_url: str | None = facts.PROFILE_URL
    followers_count: int = facts.FOLLOWERS_COUNT
    following_count: int = facts.FOLLOWING_COUNT
    posts_count: int = facts.POSTS_COUNT
    engagement_rate: float = facts.ENGAGEMENT_RATE
    is_active: bool = about("Whether the account is shown and updated", True)
    is_verified: bool = about("Whether the user has proven to be the owner of the account", True)
    connection: AccountConnection = about("How the server reads the account", "PUBLIC")
    last_synced: Annotated[Time, Sql("iso({t}.last_synced_at)")] = about(
        "The same as `lastSyncedAt`", "2026-01-31T03:00:00.000Z"
    )
    last_synced_at: Time = about("When the account was last read from the platform", "2026-01-31T03:00:00.000Z")
    metadata: InstagramMetadata | TikTokMetadata | None = METADATA


class SocialPost(Shape):
    """A post of a connected account."""

    id: UUID = about("Id of the post", "6e5d4c3b-2a1f-4e0d-9c8b-7a6f5e4d3c2b")
    platform_post_id: str = facts.PLATFORM_POST_ID
    media_type: MediaType = facts.MEDIA_TYPE
    caption: str | None = facts.CAPTION
    url: str | None = facts.POST_URL
    media_url: str | None = about("Address of the picture of the post", "https://scontent.cdninstagram.com/v/t51/2.jpg")
    likes_count: int = facts.LIKES_COUNT
    comments_count: int = facts.COMMENTS_COUNT
    shares_count: int = facts.SHARES_COUNT
    views_count: int = facts.VIEWS_COUNT
    hashtags: list[str] = facts.HASHTAGS
    posted_at: Time | None = facts.POSTED_AT
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT


class OwnAccount(SocialAccount):
    """A connected account, with the fields that only its owner may read."""

    verification_code: str | None = about("Code to put into the bio; null after the verification", "encer-7K2M9QXA")
    needs_reconnect: bool = about("Whether to connect again, because TikTok no longer accepts the tokens", False)


class OwnAccountWithPosts(OwnAccount):
    """A connected account with its posts, for its owner."""

    posts: Annotated[
        list[SocialPost],
        Sql(
            f"coalesce((select json_agg({SocialPost.sql('{p}')} order by {{p}}.posted_at desc nulls last, {{p}}.id)"
            " from (select * from social_media_posts {q} where {q}.account_id = {t}.id"
            f" order by {{q}}.posted_at desc nulls last, {{q}}.id limit {SHOWN_POSTS}) {{p}}), '[]')"
        ),
    ] = Field(description="The newest posts, at most 50")


class PublicProfile(Shape):
    """A public profile on a platform; its owner need not have an account here."""

    platform: Platform = facts.PLATFORM
    username: str = facts.USERNAME
    platform_username: str = facts.PLATFORM_USERNAME
    display_name: str | None = facts.DISPLAY_NAME
    profile_picture: str | None = facts.PROFILE_PICTURE
    profile_url: str | None = facts.PROFILE_URL
    followers_count: int = facts.FOLLOWERS_COUNT
    following_count: int = facts.FOLLOWING_COUNT
    posts_count: int = facts.POSTS_COUNT
    engagement_rate: float = facts.ENGAGEMENT_RATE
    is_verified: bool = about("Whether the platform has verified the profile", False)
    metadata: InstagramMetadata | TikTokMetadata = METADATA
    fetched_at: Time = about("When the profile was read from the platform", "2026-01-31T03:00:00.000Z")


class TikTokSignIn(Shape):
    """The start of a sign-in at TikTok."""

    auth_url: str = Field(
        description="Address to send the person to; valid for 10 minutes",
        examples=["https://www.tiktok.com/v2/auth/authorize/?client_key=aw1b2c3&state=…"],
    )
