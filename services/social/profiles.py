"""The data that we keep of a public profile of any platform and vendor."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from services.social.vendor_fields import Bio, Caption, Count, Identifier, Link, MediaType, Moment, Name, VisibleCount

Platform = Literal["INSTAGRAM", "TIKTOK"]
COUNTS = ("followers_count", "following_count", "posts_count", "engagement_rate")  # of a profile
USERNAMES = {"INSTAGRAM": r"[A-Za-z0-9._]{1,30}", "TIKTOK": r"[A-Za-z0-9._]{2,24}"}
MAX_POSTS = 24  # two pages of a grid; more posts are not shown and hardly change the averages
MAX_HASHTAGS = 60  # of one post; the platforms allow 30
TOP_HASHTAGS = 10
# Letters, digits and _ of every script. A tag may follow a word without a space, as is usual in Japanese,
# but `&#39;` is not a tag.
HASHTAG = re.compile(r"(?<![&＆])[#＃](\w{1,100})")
WEB_ADDRESS = re.compile(r"https?://[!-~]+")


class Post(BaseModel):
    model_config = ConfigDict(frozen=True, defer_build=True)

    platform_post_id: Identifier
    media_type: MediaType
    caption: Caption = None
    url: Link = None
    media_url: Link = None
    likes_count: Count = 0
    likes_hidden: bool = False  # then the count is 0 and is left out of averages
    comments_count: Count = 0
    shares_count: Count = 0
    views_count: Count = 0
    posted_at: Moment = None
    hashtags: list[str] = []


class SocialProfile(BaseModel):
    """`username` as the platform spells it, without @; `engagement_rate` in percent; `metadata` for the web client.

    Numbers that the platform does not give are None; the stored values then stay.
    """

    model_config = ConfigDict(frozen=True, defer_build=True)

    platform: Platform
    username: Identifier
    platform_user_id: Name = None
    display_name: Name = None
    biography: Bio = None
    profile_picture: Link = None
    profile_url: Link = None
    followers_count: VisibleCount = None
    following_count: VisibleCount = None
    posts_count: VisibleCount = None
    engagement_rate: float | None = None
    is_verified_by_platform: bool = False
    is_private: bool = False
    metadata: dict[str, Any] = {}
    posts: list[Post] = []


NAMES: dict[Platform, str] = {"INSTAGRAM": "Instagram", "TIKTOK": "TikTok"}


def read_username(platform: Platform, text: str) -> str:
    """Return the username of a handle as people type it, perhaps with `@`. Raises ValueError if it cannot exist."""
    username = re.sub(r"^[@＠]", "", text.strip())
    if not re.fullmatch(USERNAMES[platform], username):
        raise ValueError(f"is not a valid {NAMES[platform]} username")
    return username


def same_username(one: str, other: str) -> bool:
    """Return whether two handles are the same; both platforms ignore letter case."""
    return one.lower() == other.lower()


def hashtags(caption: str | None) -> list[str]:
    """Return the hashtags of a caption without `#`, in order, each once in any letter case."""
    text = WEB_ADDRESS.sub(" ", unicodedata.normalize("NFC", caption or ""))
    tags: dict[str, str] = {}
    for tag in HASHTAG.findall(text):
        if not tag.isdigit():  # on both platforms, #1 is not a tag
            tags.setdefault(tag.casefold(), tag)
    return list(tags.values())[:MAX_HASHTAGS]


def engagement(posts: Sequence[Post], followers: int) -> float:
    """Return the mean of likes, comments and shares per post, in percent of the followers; 0 without followers.

    Posts whose likes are hidden are left out.
    """
    known = [post for post in posts if not post.likes_hidden]
    if not known or followers <= 0:
        return 0.0
    reactions = sum(post.likes_count + post.comments_count + post.shares_count for post in known)
    return round(reactions / len(known) / followers * 100, 2)


def average(counts: Iterable[int]) -> float:
    known = list(counts)
    return round(sum(known) / len(known), 1) if known else 0


def top_hashtags(posts: Sequence[Post]) -> list[str]:
    """Return the most used hashtags, each in its most recent spelling."""
    uses = Counter(tag.casefold() for post in posts for tag in post.hashtags)
    spelling = {tag.casefold(): tag for post in reversed(posts) for tag in reversed(post.hashtags)}
    return [spelling[tag] for tag, _ in uses.most_common(TOP_HASHTAGS)]


def describe(biography: str | None, is_verified: bool, posts: Sequence[Post]) -> dict[str, Any]:
    """Return the metadata that both platforms share."""
    return {
        "bio": biography or "",
        "isVerified": is_verified,
        "averageLikes": average(post.likes_count for post in posts if not post.likes_hidden),
        "averageComments": average(post.comments_count for post in posts),
        "averageShares": average(post.shares_count for post in posts),
        # Pictures have no views and are left out, instead of counting zero views.
        "averageViews": average(post.views_count for post in posts if post.media_type in ("VIDEO", "REEL")),
        "topHashtags": top_hashtags(posts),
    }


def iso(moment: datetime | None) -> str | None:
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z") if moment else None
