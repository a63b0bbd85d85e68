"""Instagram profiles as `apify/instagram-profile-scraper` writes them."""

from collections.abc import Sequence
from typing import Annotated, Any, Self

from pydantic import AliasChoices, BeforeValidator, Field, ValidationError

from services.apify import ApifyActors
from services.errors import UnreadableAnswer
from services.profiles import MAX_POSTS, Post, Profile, describe, engagement, hashtags, iso, same_username
from services.public_profiles import PublicProfiles, complaint_of, explain_missing
from services.vendor_fields import (
    Bio,
    Caption,
    Count,
    Identifier,
    Link,
    MediaType,
    Moment,
    Name,
    VendorModel,
    VendorPost,
    readable_posts,
)
from settings import Settings

VENDOR = "apify/instagram"
MEDIA_TYPES: dict[str, MediaType] = {"Image": "IMAGE", "Video": "VIDEO", "Sidecar": "CAROUSEL"}
PostList = Annotated[list[Any], BeforeValidator(lambda posts: posts if isinstance(posts, list) else [])]


class InstagramPost(VendorPost):
    id: Identifier = Field(validation_alias=AliasChoices("id", "shortCode"))
    type: Name = "Image"
    product_type: Name = Field(None, validation_alias="productType")
    caption: Caption = None
    likes_count: Count = Field(0, validation_alias="likesCount")
    comments_count: Count = Field(0, validation_alias="commentsCount")
    views_count: Count = Field(0, validation_alias=AliasChoices("videoViewCount", "videoPlayCount"))
    posted_at: Moment = Field(None, validation_alias="timestamp")
    url: Link = None
    display_url: Link = Field(None, validation_alias="displayUrl")

    def to_post(self) -> Post:
        reel = self.type == "Video" and self.product_type == "clips"
        return Post(
            platform_post_id=self.id,
            media_type="REEL" if reel else MEDIA_TYPES.get(self.type or "", "IMAGE"),
            caption=self.caption,
            url=self.url,
            media_url=self.display_url,
            likes_count=self.likes_count,
            comments_count=self.comments_count,
            views_count=self.views_count,
            posted_at=self.posted_at,
            hashtags=hashtags(self.caption),
        )

    def to_metadata(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "type": self.type,  # in Instagram's own words: the web client looks for "Sidecar"
            "caption": self.caption or "",
            "likesCount": self.likes_count,
            "commentsCount": self.comments_count,
            "timestamp": iso(self.posted_at),
            "url": self.url,
            "displayUrl": self.display_url,
        }


class InstagramProfile(VendorModel):
    id: Name = None
    username: Identifier
    full_name: Name = Field(None, validation_alias="fullName")
    biography: Bio = None
    picture: Link = Field(None, validation_alias=AliasChoices("profilePicUrlHD", "profilePicUrl"))
    followers: Count = Field(validation_alias="followersCount")
    following: Count = Field(0, validation_alias=AliasChoices("followsCount", "followingCount"))
    posts_count: Count = Field(0, validation_alias="postsCount")
    is_private: bool = Field(False, validation_alias=AliasChoices("private", "isPrivate"))
    is_verified: bool = Field(False, validation_alias=AliasChoices("verified", "isVerified"))
    latest_posts: PostList = Field([], validation_alias="latestPosts")

    def to_profile(self) -> Profile:
        latest = readable_posts(InstagramPost, self.latest_posts, MAX_POSTS)
        posts = [post.to_post() for post in latest]
        return Profile(
            platform="INSTAGRAM",
            username=self.username,
            platform_user_id=self.id,
            display_name=self.full_name,
            biography=self.biography,
            profile_picture=self.picture,
            profile_url=f"https://www.instagram.com/{self.username}/",
            followers_count=self.followers,
            following_count=self.following,
            posts_count=self.posts_count,
            engagement_rate=engagement(posts, self.followers),
            is_verified_by_platform=self.is_verified,
            is_private=self.is_private,
            metadata=describe(self.biography, self.is_verified, posts)
            | {"recentPosts": [post.to_metadata() for post in latest]},
            posts=posts,
        )


class InstagramProfiles(PublicProfiles):
    platform = "INSTAGRAM"
    max_items = 1

    @classmethod
    def from_settings(cls, settings: Settings, actors: ApifyActors) -> Self:
        return cls(actors, settings.apify_actor_id)

    def run_input(self, username: str) -> dict[str, Any]:
        return {"usernames": [username]}

    def read(self, items: Sequence[Any], username: str) -> Profile:
        profiles = [item for item in items if isinstance(item, dict) and "username" in item and not complaint_of(item)]
        for item in profiles:
            if same_username(str(item["username"]), username):
                try:
                    return InstagramProfile.model_validate(item).to_profile()
                except ValidationError as error:
                    raise UnreadableAnswer(VENDOR, str(error)) from None
        raise explain_missing(VENDOR, items, username, others=bool(profiles))
