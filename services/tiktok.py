"""TikTok profiles: as `clockworks/tiktok-scraper` writes them, and as TikTok's own API does."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import AliasChoices, Field, ValidationError

from services.apify import ApifyActors
from services.errors import UnreadableAnswer
from services.profiles import MAX_POSTS, Post, Profile, describe, engagement, hashtags, same_username
from services.public_profiles import PublicProfiles, complaint_of, explain_missing
from services.vendor_fields import (
    Bio,
    Caption,
    Count,
    Identifier,
    Link,
    Moment,
    Name,
    VendorModel,
    VendorPost,
    readable_posts,
)
from settings import Settings

VENDOR = "apify/tiktok"
API_VENDOR = "tiktok"


class VideoMeta(VendorModel):
    cover: Link = Field(None, validation_alias=AliasChoices("coverUrl", "originalCoverUrl"))


class TikTokVideo(VendorPost):
    """A video in either spelling: the scraper's (`diggCount`) or the API's (`like_count`)."""

    caption: Caption = Field(None, validation_alias=AliasChoices("text", "video_description", "title"))
    url: Link = Field(None, validation_alias=AliasChoices("webVideoUrl", "share_url"))
    video_meta: VideoMeta | None = Field(None, validation_alias="videoMeta")
    cover_image_url: Link = None
    is_slideshow: bool = Field(False, validation_alias="isSlideshow")
    likes_count: Count = Field(0, validation_alias=AliasChoices("diggCount", "like_count"))
    comments_count: Count = Field(0, validation_alias=AliasChoices("commentCount", "comment_count"))
    shares_count: Count = Field(0, validation_alias=AliasChoices("shareCount", "share_count"))
    views_count: Count = Field(0, validation_alias=AliasChoices("playCount", "view_count"))
    posted_at: Moment = Field(None, validation_alias=AliasChoices("createTime", "createTimeISO", "create_time"))

    @property
    def cover(self) -> str | None:
        return (self.video_meta and self.video_meta.cover) or self.cover_image_url

    def to_post(self) -> Post:
        return Post(
            platform_post_id=self.id,
            media_type="CAROUSEL" if self.is_slideshow else "VIDEO",
            caption=self.caption,
            url=self.url,
            media_url=self.cover,
            likes_count=self.likes_count,
            comments_count=self.comments_count,
            shares_count=self.shares_count,
            views_count=self.views_count,
            posted_at=self.posted_at,
            hashtags=hashtags(self.caption),
        )

    def to_metadata(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "shareUrl": self.url,
            "coverImageUrl": self.cover,
            "videoDescription": self.caption or "",
            "likesCount": self.likes_count,
            "commentsCount": self.comments_count,
            "sharesCount": self.shares_count,
            "viewsCount": self.views_count,
        }


class TikTokUser(VendorModel):
    """A person in either spelling: the scraper's `authorMeta` or the API's user."""

    id: Name = Field(None, validation_alias=AliasChoices("open_id", "id"))
    username: Identifier = Field(validation_alias=AliasChoices("name", "username"))
    display_name: Name = Field(None, validation_alias=AliasChoices("nickName", "display_name"))
    biography: Bio = Field(None, validation_alias=AliasChoices("signature", "bio_description"))
    picture: Link = Field(
        None, validation_alias=AliasChoices("avatar", "originalAvatarUrl", "avatar_large_url", "avatar_url")
    )
    followers: Count = Field(validation_alias=AliasChoices("fans", "follower_count"))
    following: Count = Field(0, validation_alias=AliasChoices("following", "following_count"))
    videos_count: Count = Field(0, validation_alias=AliasChoices("video", "video_count"))
    is_verified: bool = Field(False, validation_alias=AliasChoices("verified", "is_verified"))
    is_private: bool = Field(False, validation_alias="privateAccount")

    def to_profile(self, items: Sequence[Any]) -> Profile:
        videos = readable_posts(TikTokVideo, items, MAX_POSTS)
        posts = [video.to_post() for video in videos]
        return Profile(
            platform="TIKTOK",
            username=self.username,
            platform_user_id=self.id,
            display_name=self.display_name,
            biography=self.biography,
            profile_picture=self.picture,
            profile_url=f"https://www.tiktok.com/@{self.username}",
            followers_count=self.followers,
            following_count=self.following,
            posts_count=self.videos_count,
            engagement_rate=engagement(posts, self.followers),
            is_verified_by_platform=self.is_verified,
            is_private=self.is_private,
            metadata=describe(self.biography, self.is_verified, posts)
            | {"recentVideos": [video.to_metadata() for video in videos]},
            posts=posts,
        )


class TikTokProfiles(PublicProfiles):
    """The dataset is a list of videos, each with its author; the profile is the author's."""

    platform = "TIKTOK"
    max_items = MAX_POSTS

    @classmethod
    def from_settings(cls, settings: Settings, actors: ApifyActors) -> Self:
        return cls(actors, settings.apify_tiktok_actor_id)

    def run_input(self, username: str) -> dict[str, Any]:
        return {"profiles": [username], "resultsPerPage": MAX_POSTS}

    def read(self, items: Sequence[Any], username: str) -> Profile:
        authored = [item for item in items if isinstance(item, dict) and author_of(item)]
        own = [item for item in authored if same_username(str(author_of(item)["name"]), username)]
        for item in own:
            if "fans" in author_of(item) or not complaint_of(item):
                return read_user(VENDOR, author_of(item), own)
        raise explain_missing(VENDOR, items, username, others=bool(authored))


def read_own_profile(user: dict[str, Any], videos: Sequence[Any]) -> Profile:
    """The profile of somebody who has connected with TikTok, from the answers of `TikTokOAuth`."""
    return read_user(API_VENDOR, user, videos)


def read_user(vendor: str, user: Any, videos: Sequence[Any]) -> Profile:
    try:
        return TikTokUser.model_validate(user).to_profile(videos)
    except ValidationError as error:
        raise UnreadableAnswer(vendor, str(error)) from None


def author_of(item: dict[str, Any]) -> dict[str, Any]:
    """Who made the video; empty where the item does not say."""
    author = item.get("authorMeta")
    return author if isinstance(author, dict) and author.get("name") else {}
