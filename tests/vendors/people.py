"""Realistic beauty influencers for tests and the demonstration, in each vendor's wire format.

Some are written here. For any other username, a person is generated, which is always the same for this username.
"""

import hashlib
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

POSTS = 12
VIDEOS = 30
NEWEST = datetime(2026, 10, 30, 9, 0, tzinfo=UTC)

CAPTIONS = [
    "秋の新作ネイル、できました🍂 ご予約はプロフィールから #美容 #ネイルサロン #Tokyo",
    "くすみピンク×フレンチ。仕事の日も浮かないデザインです #ネイルデザイン #オフィスネイル",
    "髪質改善トリートメント3回目。ツヤが違う…！✨ #髪質改善 #美容室 #表参道",
    "朝のスキンケアルーティン🌿 動画の最後に愛用品リスト #スキンケア #美容 #morningroutine",
    "New in: hand care set by a small lab in Kyoto. #handcare #京都 #Beauty",
    "新宿のサロンで眉毛ワックス体験してきました！痛くない😳 #眉毛サロン #新宿 #美容",
    "",
    "本日のお客様。ショートボブ×インナーカラー💜 #ショートボブ #インナーカラー #美容師",
    "まつげパーマのビフォーアフター👀 #まつげパーマ #アイリスト #名古屋",
    "PR @beauty_lab ／ 日焼け止め、塗り直しはこれだけ☀️ #日焼け止め #PR",
    "夏の足元はシェルネイル🐚 #フットネイル #ネイルサロン #海",
    "おうちヘッドスパの手順、保存してね💆‍♀️ #ヘッドスパ #セルフケア",
]


@dataclass
class Person:
    username: str
    name: str
    bio: str
    followers: int
    following: int = 380
    posts: int = 214
    verified: bool = False
    private: bool = False
    captions: list[str] = field(default_factory=lambda: CAPTIONS)


WRITTEN = [
    Person(
        "sakura.nails_tokyo",
        "さくら｜ネイルアーティスト",
        "東京・表参道💅 ネイリスト歴8年\nお仕事のご依頼はDMへ",
        48_200,
        612,
        1_043,
    ),
    Person("yuki.hairstyle", "YUKI 美容師", "横浜の美容室 Lumière スタイリスト✂️ 髪質改善が得意です", 12_750),
    Person("mika_skincare", "美香のスキンケア研究", "成分オタク🧪 敏感肌／週3投稿", 186_400, 205, 892, verified=True),
    Person("hana.beauty.lab", "Hana | Beauty Lab", "Honest reviews from Osaka 🇯🇵 大阪の美容レビュー", 7_980),
    Person("atarashii.hito", "新しい人", "はじめました", 0, 3, 1),
]
PEOPLE = {person.username: person for person in WRITTEN}

# Usernames with a fixed behaviour, for the demonstration and as defaults in tests.
BEHAVIOURS = {
    "nobody.here": "not_found",
    "nothing.here": "empty",
    "himitsu.nails": "private",
    "otona.nails": "restricted",
    "broken.actor": "failed",
    "slow.actor": "timed_out",
    "garbage.actor": "nonsense",
    "endless.actor": "never_ends",
}


def person(username: str) -> Person:
    known = PEOPLE.get(username.lower())
    if known:
        return known
    dice = dice_of(username)
    return Person(
        username,
        f"{dice.choice(['あおい', 'りん', 'Mei', 'ひなた', 'Saki', '葵'])}｜美容",
        dice.choice(["美容とカフェ巡り☕", "福岡のアイリスト👁", "Nail & travel ✈️ 名古屋"]),
        dice.randint(900, 90_000),
        dice.randint(50, 900),
        dice.randint(20, 1_500),
    )


def dice_of(text: str) -> random.Random:
    return random.Random(hashlib.sha256(text.lower().encode()).digest())


def posted(index: int) -> datetime:
    return NEWEST - timedelta(days=index * 3, hours=index)


def instagram_profile(who: Person) -> dict[str, Any]:
    """Return an item of `apify/instagram-profile-scraper`."""
    return {
        "inputUrl": f"https://www.instagram.com/{who.username}",
        "id": str(dice_of(who.username).randint(10**9, 10**11)),
        "username": who.username,
        "url": f"https://www.instagram.com/{who.username}",
        "fullName": who.name,
        "biography": who.bio,
        "externalUrls": [],
        "externalUrl": None,
        "followersCount": who.followers,
        "followsCount": who.following,
        "hasChannel": False,
        "highlightReelCount": 4,
        "isBusinessAccount": True,
        "joinedRecently": False,
        "businessCategoryName": "Beauty, Cosmetic & Personal Care",
        "private": who.private,
        "verified": who.verified,
        "profilePicUrl": f"https://scontent.cdninstagram.com/v/{who.username}_s.jpg",
        "profilePicUrlHD": f"https://scontent.cdninstagram.com/v/{who.username}_l.jpg",
        "igtvVideoCount": 0,
        "relatedProfiles": [],
        "latestIgtvVideos": [],
        "postsCount": who.posts,
        "latestPosts": [] if who.private else [instagram_post(who, i) for i in range(min(POSTS, who.posts))],
    }


def instagram_post(who: Person, index: int) -> dict[str, Any]:
    dice = dice_of(f"{who.username}{index}")
    kind = ("Image", "Sidecar", "Video")[index % 3]
    code = f"C{dice.randint(10**9, 10**10)}"
    caption = who.captions[index % len(who.captions)]
    post = {
        "id": str(3_400_000_000_000_000_000 - index * 10**15 + dice.randint(0, 10**12)),
        "type": kind,
        "shortCode": code,
        "caption": caption,
        "hashtags": [],
        "mentions": [],
        "url": f"https://www.instagram.com/p/{code}/",
        "commentsCount": dice.randint(0, 4 + who.followers // 900),
        "dimensionsHeight": 1350,
        "dimensionsWidth": 1080,
        "displayUrl": f"https://scontent.cdninstagram.com/v/{code}.jpg",
        "images": [],
        "alt": None,
        "likesCount": dice.randint(who.followers // 60, who.followers // 15 + 5),
        "timestamp": posted(index).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "childPosts": [],
        "ownerUsername": who.username,
        "ownerId": "1",
    }
    return post | ({"productType": "clips", "videoViewCount": dice.randint(500, 90_000)} if kind == "Video" else {})


def tiktok_items(who: Person, count: int) -> list[dict[str, Any]]:
    """Return items of `clockworks/tiktok-scraper`: videos, each with its author."""
    author = {
        "id": str(dice_of(who.username).randint(10**18, 7 * 10**18)),
        "name": who.username,
        "profileUrl": f"https://www.tiktok.com/@{who.username}",
        "nickName": who.name,
        "verified": who.verified,
        "signature": who.bio,
        "bioLink": None,
        "originalAvatarUrl": f"https://p16-sign.tiktokcdn-us.com/{who.username}.jpeg",
        "avatar": f"https://p16-sign.tiktokcdn-us.com/{who.username}.jpeg",
        "privateAccount": who.private,
        "region": "JP",
        "following": who.following,
        "friends": 0,
        "fans": who.followers,
        "heart": who.followers * 21,
        "video": who.posts,
        "digg": 0,
    }
    return [
        {
            "id": video["id"],
            "text": video["video_description"],
            "textLanguage": "ja",
            "createTime": video["create_time"],
            "createTimeISO": datetime.fromtimestamp(video["create_time"], UTC).isoformat(),
            "isAd": False,
            "authorMeta": author,
            "musicMeta": {"musicName": "original sound"},
            "webVideoUrl": f"https://www.tiktok.com/@{who.username}/video/{video['id']}",
            "mediaUrls": [],
            "videoMeta": {"height": 1024, "width": 576, "duration": 24, "coverUrl": video["cover_image_url"]},
            "diggCount": video["like_count"],
            "shareCount": video["share_count"],
            "playCount": video["view_count"],
            "collectCount": 12,
            "commentCount": video["comment_count"],
            "mentions": [],
            "hashtags": [],
            "isSlideshow": False,
            "input": who.username,
        }
        for video in tiktok_videos(who)[:count]
    ]


def tiktok_user(who: Person) -> dict[str, Any]:
    """Return the user as TikTok's own API does."""
    return {
        "open_id": f"-000{hashlib.sha256(who.username.encode()).hexdigest()[:28]}",
        "union_id": "c9c60f44-a68e-4f5d-84dd-ce22faeb0ba1",
        "avatar_url": f"https://p16-sign.tiktokcdn-us.com/{who.username}_100.jpeg",
        "avatar_large_url": f"https://p16-sign.tiktokcdn-us.com/{who.username}_large.jpeg",
        "display_name": who.name,
        "username": who.username,
        "bio_description": who.bio,
        "profile_deep_link": f"https://vm.tiktok.com/{who.username}/",
        "is_verified": who.verified,
        "follower_count": who.followers,
        "following_count": who.following,
        "likes_count": who.followers * 21,
        "video_count": who.posts,
    }


def tiktok_videos(who: Person) -> list[dict[str, Any]]:
    """Return the videos as TikTok's own API does, newest first."""
    videos = []
    for index in range(min(VIDEOS, who.posts)):
        dice = dice_of(f"video {who.username}{index}")
        number = str(7_560_000_000_000_000_000 - index * 10**15 + dice.randint(0, 10**12))
        videos.append(
            {
                "id": number,
                "create_time": int(posted(index).timestamp()),
                "title": who.captions[index % len(who.captions)],
                "video_description": who.captions[index % len(who.captions)],
                "duration": 24,
                "cover_image_url": f"https://p16-sign.tiktokcdn-us.com/{number}.jpeg",
                "share_url": f"https://www.tiktok.com/@{who.username}/video/{number}",
                "like_count": dice.randint(who.followers // 50, who.followers // 8 + 5),
                "comment_count": dice.randint(0, 4 + who.followers // 700),
                "share_count": dice.randint(0, 2 + who.followers // 900),
                "view_count": dice.randint(who.followers // 2, who.followers * 3 + 50),
            }
        )
    return videos
