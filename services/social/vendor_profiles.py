"""Profiles and posts as vendors send them: one set of fields, read under each vendor's names."""

from collections.abc import Sequence
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from pydantic import AliasChoices, AliasGenerator, ConfigDict, ValidationError

from services.social.profiles import Platform, Post, SocialProfile, describe, engagement, hashtags
from services.social.vendor_fields import (
    Bio,
    Caption,
    Count,
    Identifier,
    Link,
    MediaType,
    Moment,
    Name,
    VendorModel,
    VisibleCount,
)


def read_from(**names: str) -> ConfigDict:
    """Map our fields to a vendor's names: one or several, of which the first that is present and not empty counts."""
    return ConfigDict(
        alias_generator=AliasGenerator(validation_alias=lambda field: AliasChoices(*names.get(field, field).split()))
    )


class VendorPost(VendorModel):
    id: Identifier
    caption: Caption = None
    url: Link = None
    likes_count: VisibleCount = 0
    comments_count: Count = 0
    shares_count: Count = 0
    views_count: Count = 0
    posted_at: Moment = None

    @property
    def media_type(self) -> MediaType:
        raise NotImplementedError

    @property
    def media_url(self) -> str | None:
        raise NotImplementedError

    def to_metadata(self) -> dict[str, Any]:
        """Return the metadata that the web client reads, in names that differ by platform."""
        raise NotImplementedError

    def to_post(self) -> Post:
        return Post(
            platform_post_id=self.id,
            media_type=self.media_type,
            caption=self.caption,
            url=self.url,
            media_url=self.media_url,
            likes_count=self.likes_count or 0,
            likes_hidden=self.likes_count is None,
            comments_count=self.comments_count,
            shares_count=self.shares_count,
            views_count=self.views_count,
            posted_at=self.posted_at,
            hashtags=hashtags(self.caption),
        )


class VendorProfile(VendorModel):
    platform: ClassVar[Platform]
    address: ClassVar[str]  # of a profile, with its username at {}
    metadata_key: ClassVar[str]  # where the web client reads the posts

    id: Name = None
    username: Identifier
    display_name: Name = None
    biography: Bio = None
    picture: Link = None
    followers: VisibleCount
    following: VisibleCount = None
    posts_count: VisibleCount = None
    is_verified: bool = False
    is_private: bool = False

    def to_profile(self, latest: Sequence[VendorPost]) -> SocialProfile:
        posts = [post.to_post() for post in latest]
        return SocialProfile(
            platform=self.platform,
            username=self.username,
            platform_user_id=self.id,
            display_name=self.display_name,
            biography=self.biography,
            profile_picture=self.picture,
            profile_url=self.address.format(self.username),
            followers_count=self.followers,
            following_count=self.following,
            posts_count=self.posts_count,
            engagement_rate=None if self.followers is None else engagement(posts, self.followers),
            is_verified_by_platform=self.is_verified,
            is_private=self.is_private,
            metadata=describe(self.biography, self.is_verified, posts)
            | {self.metadata_key: [post.to_metadata() for post in latest]},
            posts=posts,
        )


P = TypeVar("P", bound=VendorPost)


def readable_posts(model: type[P], items: Sequence[Any], limit: int) -> list[P]:
    """Return the posts that can be read, each id once. One broken post must not fail the whole profile."""
    posts: dict[str, P] = {}
    for item in items[:limit]:
        with suppress(ValidationError):
            post = model.model_validate(item)
            posts.setdefault(post.id, post)
    return list(posts.values())
