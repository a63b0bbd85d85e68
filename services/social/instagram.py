"""Instagram profiles as `apify/instagram-profile-scraper` writes them."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, ValidationError

from services.apify.runs import ApifyActors
from services.errors import ProfileRestricted, UnreadableAnswer
from services.social.profiles import MAX_POSTS, SocialProfile, iso, same_username
from services.social.public_profiles import PublicProfiles, complaint_of, explain_missing, is_restricted
from services.social.vendor_fields import Link, MediaType, Name, VisibleCount
from services.social.vendor_profiles import VendorPost, VendorProfile, read_from, readable_posts
from settings import Settings

VENDOR = "apify/instagram"
MEDIA_TYPES: dict[str, MediaType] = {"Image": "IMAGE", "Video": "VIDEO", "Sidecar": "CAROUSEL"}
PostList = Annotated[list[Any], BeforeValidator(lambda posts: posts if isinstance(posts, list) else [])]


class InstagramPost(VendorPost):
    model_config = read_from(
        id="id shortCode",
        likes_count="likesCount",
        comments_count="commentsCount",
        views_count="videoViewCount videoPlayCount",
        posted_at="timestamp",
        display_url="displayUrl",
        product_type="productType",
    )

    # Instagram lets people hide the likes of a post; the scraper then writes -1, or none.
    likes_count: VisibleCount = None
    type: Name = "Image"
    product_type: Name = None
    display_url: Link = None

    @property
    def media_type(self) -> MediaType:
        reel = self.type == "Video" and self.product_type == "clips"
        return "REEL" if reel else MEDIA_TYPES.get(self.type or "", "IMAGE")

    @property
    def media_url(self) -> str | None:
        return self.display_url

    def to_metadata(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,  # in Instagram's own terms, because the web client searches for "Sidecar"
            "caption": self.caption or "",
            "likesCount": self.likes_count or 0,
            "commentsCount": self.comments_count,
            "timestamp": iso(self.posted_at),
            "url": self.url,
            "displayUrl": self.display_url,
        }


class InstagramProfile(VendorProfile):
    platform = "INSTAGRAM"
    address = "https://www.instagram.com/{}/"
    metadata_key = "recentPosts"
    model_config = read_from(
        display_name="fullName",
        picture="profilePicUrlHD profilePicUrl",
        followers="followersCount",
        following="followsCount followingCount",
        posts_count="postsCount",
        is_verified="verified isVerified",
        is_private="private isPrivate",
        latest_posts="latestPosts",
    )

    latest_posts: PostList = []


class InstagramProfiles(PublicProfiles):
    platform = "INSTAGRAM"
    max_items = 1

    @classmethod
    def from_settings(cls, settings: Settings, actors: ApifyActors) -> Self:
        return cls(actors, settings.apify_actor_id)

    def run_input(self, username: str) -> dict[str, Any]:
        return {"usernames": [username]}

    def read(self, items: Sequence[Any], username: str) -> SocialProfile:
        profiles = [item for item in items if isinstance(item, dict) and "username" in item and not complaint_of(item)]
        for item in profiles:
            if same_username(str(item["username"]), username):
                try:
                    profile = InstagramProfile.model_validate(item)
                except ValidationError as error:
                    if is_restricted(item):
                        raise ProfileRestricted(VENDOR, str(item.get("restrictionReason"))) from None
                    raise UnreadableAnswer(VENDOR, str(error)) from None
                return profile.to_profile(readable_posts(InstagramPost, profile.latest_posts, MAX_POSTS))
        raise explain_missing(VENDOR, items, username, others=bool(profiles))
