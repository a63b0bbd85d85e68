"""TikTok profiles: as `clockworks/tiktok-scraper` writes them, and as TikTok's own API does."""

from collections.abc import Sequence
from typing import Any, Self

from pydantic import ValidationError

from services.apify.runs import ApifyActors
from services.errors import UnreadableAnswer
from services.social.profiles import MAX_POSTS, SocialProfile, same_username
from services.social.public_profiles import PublicProfiles, complaint_of, explain_missing
from services.social.vendor_fields import Link, MediaType, VendorModel, VisibleCount
from services.social.vendor_profiles import VendorPost, VendorProfile, read_from, readable_posts
from settings import Settings

VENDOR = "apify/tiktok"
API_VENDOR = "tiktok"


class VideoMeta(VendorModel):
    model_config = read_from(cover="coverUrl originalCoverUrl")

    cover: Link = None


class TikTokVideo(VendorPost):
    """A video in either spelling: the scraper's (`diggCount`) or the API's (`like_count`)."""

    model_config = read_from(
        caption="text video_description title",
        url="webVideoUrl share_url",
        likes_count="diggCount like_count",
        comments_count="commentCount comment_count",
        shares_count="shareCount share_count",
        views_count="playCount view_count",
        posted_at="createTime createTimeISO create_time",
        video_meta="videoMeta",
        is_slideshow="isSlideshow",
    )

    video_meta: VideoMeta | None = None
    cover_image_url: Link = None
    is_slideshow: bool = False

    @property
    def media_type(self) -> MediaType:
        return "CAROUSEL" if self.is_slideshow else "VIDEO"

    @property
    def media_url(self) -> str | None:
        return (self.video_meta and self.video_meta.cover) or self.cover_image_url

    def to_metadata(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "shareUrl": self.url,
            "coverImageUrl": self.media_url,
            "videoDescription": self.caption or "",
            "likesCount": self.likes_count or 0,
            "commentsCount": self.comments_count,
            "sharesCount": self.shares_count,
            "viewsCount": self.views_count,
        }


class TikTokUser(VendorProfile):
    """A person in either spelling: the scraper's `authorMeta` or the API's user."""

    followers: VisibleCount = None  # null where TikTok hides it; `read_user` requires the field
    platform = "TIKTOK"
    address = "https://www.tiktok.com/@{}"
    metadata_key = "recentVideos"
    model_config = read_from(
        id="open_id id",
        username="name username",
        display_name="nickName display_name",
        biography="signature bio_description",
        picture="avatar originalAvatarUrl avatar_large_url avatar_url",
        followers="fans follower_count",
        following="following following_count",
        posts_count="video video_count",
        is_verified="verified is_verified",
        is_private="privateAccount",
    )


class TikTokProfiles(PublicProfiles):
    """The dataset is a list of videos, each with its author. The profile is that of the author."""

    platform = "TIKTOK"
    max_items = MAX_POSTS

    @classmethod
    def from_settings(cls, settings: Settings, actors: ApifyActors) -> Self:
        return cls(actors, settings.apify_tiktok_actor_id)

    def run_input(self, username: str) -> dict[str, Any]:
        return {"profiles": [username], "resultsPerPage": MAX_POSTS}

    def read(self, items: Sequence[Any], username: str) -> SocialProfile:
        authored = [item for item in items if isinstance(item, dict) and author_of(item)]
        own = [item for item in authored if same_username(str(author_of(item)["name"]), username)]
        for item in own:
            if "fans" in author_of(item) or not complaint_of(item):
                return read_user(VENDOR, author_of(item), own)
        raise explain_missing(VENDOR, items, username, others=bool(authored))


def read_own_profile(user: dict[str, Any], videos: Sequence[Any]) -> SocialProfile:
    """Return the profile of a connected user from the answers of `TikTokOAuth`."""
    return read_user(API_VENDOR, user, videos)


def read_user(vendor: str, user: Any, videos: Sequence[Any]) -> SocialProfile:
    try:
        person = TikTokUser.model_validate(user)
    except ValidationError as error:
        raise UnreadableAnswer(vendor, str(error)) from None
    if not {"fans", "follower_count"} & user.keys():
        raise UnreadableAnswer(vendor, "the number of followers is missing")
    return person.to_profile(readable_posts(TikTokVideo, videos, MAX_POSTS))


def author_of(item: dict[str, Any]) -> dict[str, Any]:
    """Return the author of the video; empty if the item has none."""
    author = item.get("authorMeta")
    return author if isinstance(author, dict) and author.get("name") else {}
