"""The demonstration data: people, profiles, social accounts, posts, connections, conversations, notifications.

All data depends only on db/seed/texts.py and a person's number. A second run adds only missing people and connections
between them, and does not change existing rows.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import asyncpg
import orjson

from db.fragments import pair
from db.schemas.previews import preview
from db.schemas.social import InstagramMetadata, RecentPost, TikTokMetadata, Video
from db.seed.texts import CAPTIONS, CREATORS, GREETINGS, SHOPS, TALK

PASSWORD = "cherry-blossom-7"  # noqa: S105  of invented people, in development only
LONG_TALK = 360  # messages of one long conversation, for scrolling
POSTS = 6
# Connections of influencer n: offset of the salon's number, status, and whether the influencer sent the request.
CONNECTIONS = (
    (0, "ACCEPTED", False),
    (1, "ACCEPTED", True),
    (3, "PENDING", True),
    (7, "PENDING", False),
    (12, "REJECTED", True),
)
TALK_MINUTES = 37  # between two messages


class Person(NamedTuple):
    id: str
    name: str
    email: str
    role: str


def influencer_email(n: int) -> str:
    return f"influencer{n + 1}@demo.example.com"


def salon_email(n: int) -> str:
    return f"salon{n + 1}@demo.example.com"


class SeedPost(NamedTuple):
    id: str
    caption: str
    url: str
    likes: int
    comments: int
    posted_at: datetime


ADD_USER = """
    insert into users
        (name, email, password_hash, role, email_verified_at, terms_accepted_at, onboarded_at, last_seen_at, created_at)
    values ($1, $2, $3, $4, $5, $5, $5, $6, $5)
    on conflict (lower(email)) do nothing returning id
"""

ADD_INFLUENCER = """
    insert into influencers (user_id, bio, categories, region, age, gender, created_at)
    values ($1, $2, $3, $4, $5, $6, $7) returning id
"""

ADD_SALON = """
    insert into salons (user_id, business_name, description, preferred_categories, region, website, established_year,
        team_size, operating_hours, instagram_handle, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, '10:00–20:00', $9, $10)
"""

ADD_ACCOUNT = """
    insert into social_media_accounts (influencer_id, platform, username, display_name, profile_url, followers_count,
        following_count, posts_count, engagement_rate, is_verified, metadata, created_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, true, $10, $11)
    returning id
"""

ADD_POST = """
    insert into social_media_posts (account_id, platform_post_id, media_type, caption, url, likes_count, comments_count,
        hashtags, posted_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9)
"""

ADD_REQUEST = """
    insert into connection_requests (sender_id, receiver_id, status, message, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $5) returning id
"""

ADD_NOTIFICATION = """
    insert into notifications (user_id, type, title, message, is_read, connection_request_id, message_id,
        conversation_id, actor_id, metadata, created_at, updated_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $11)
"""

ADD_CONVERSATION = f"""
    insert into conversations
        (low_id, high_id, last_rev, last_seq, last_message, last_message_at, created_at, updated_at)
    values ({pair("$1::uuid", "$2::uuid")}, $3, $3, $4, $5, $6, $5) returning id
"""

ADD_PARTICIPANT = """
    insert into conversation_participants (conversation_id, user_id, joined_at, last_read_seq, last_read_at)
    values ($1, $2, $3, $4, $5)
"""

ADD_MESSAGE = """
    insert into messages (conversation_id, sender_id, seq, rev, content, created_at, updated_at)
    values ($1, $2, $3, $3, $4, $5, $5) returning id
"""


class Demonstration:
    """The demonstration data, added in the transaction of `conn`. All times are relative to `now`."""

    def __init__(self, conn: asyncpg.Connection, password_hash: str) -> None:
        self.conn = conn
        self.password_hash = password_hash
        self.now = datetime.now(UTC)
        self.influencers: dict[int, Person] = {}  # added in this run, by their number
        self.salons: dict[int, Person] = {}

    async def add_influencers(self) -> int:
        for n, creator in enumerate(CREATORS):
            joined = self.now - timedelta(days=80 - 2.6 * n)
            person = await self.add_user(creator.name, influencer_email(n), "INFLUENCER", joined)
            if person is None:
                continue
            self.influencers[n] = person
            categories = creator.categories.split(",")
            profile_id = await self.conn.fetchval(
                ADD_INFLUENCER, person.id, creator.bio, categories, creator.region, creator.age, creator.gender, joined
            )
            await self.add_account(n, profile_id, "INSTAGRAM", creator.followers)
            if n % 2 == 0:
                await self.add_account(n, profile_id, "TIKTOK", creator.followers * 3 // 5)
        return len(self.influencers)

    async def add_salons(self) -> int:
        for n, shop in enumerate(SHOPS):
            joined = self.now - timedelta(days=79 - 2.6 * n)
            person = await self.add_user(shop.owner, salon_email(n), "SALON", joined)
            if person is None:
                continue
            self.salons[n] = person
            website = f"https://{shop.handle.replace('_', '-')}.example.com"
            await self.conn.execute(
                ADD_SALON,
                person.id,
                shop.business_name,
                shop.description,
                shop.categories.split(","),
                shop.region,
                website,
                shop.established,
                shop.team,
                shop.handle,
                joined,
            )
        return len(self.salons)

    async def add_user(self, name: str, email: str, role: str, joined: datetime) -> Person | None:
        seen = self.now - timedelta(hours=len(name) + len(email) % 7)
        user_id = await self.conn.fetchval(ADD_USER, name, email, self.password_hash, role, joined, seen)
        return Person(user_id, name, email, role) if user_id else None

    async def add_account(self, n: int, profile_id: str, platform: str, followers: int) -> None:
        creator = CREATORS[n]
        base = "https://www.instagram.com/" if platform == "INSTAGRAM" else "https://www.tiktok.com/@"
        posts = list(self.posts_of(n, platform, followers))
        about = describe(platform, creator.bio, posts)
        account_id = await self.conn.fetchval(
            ADD_ACCOUNT,
            profile_id,
            platform,
            creator.handle,
            creator.name,
            base + creator.handle,
            followers,
            180 + 37 * n,
            90 + 53 * n % 700,
            round((about.average_likes + about.average_comments) / followers * 100, 2),
            about.model_dump_json(),
            self.now - timedelta(days=70 - 2 * n),
        )
        kind = "VIDEO" if platform == "TIKTOK" else "IMAGE"
        rows = [(account_id, post.id, kind, *post[1:5], hashtags(post.caption), post.posted_at) for post in posts]
        await self.conn.executemany(ADD_POST, rows)

    def posts_of(self, n: int, platform: str, followers: int) -> Iterator[SeedPost]:
        for k in range(POSTS):
            likes = followers * (21 + (n * 7 + k * 11) % 50) // 1000
            yield SeedPost(
                id=f"demo-{platform.lower()}-{n}-{k}",
                caption=CAPTIONS[(n * 5 + k) % len(CAPTIONS)],
                url=f"https://example.com/{CREATORS[n].handle}/{k}",
                likes=likes,
                comments=likes // 40,
                posted_at=self.now - timedelta(days=3 * k + n % 5, hours=n),
            )

    async def add_connections(self) -> tuple[int, int]:
        """Add connections between new people; return the number of connections and requests, and of messages."""
        requests = messages = 0
        for n, influencer in self.influencers.items():
            for place, (step, status, influencer_asks) in enumerate(CONNECTIONS):
                salon = self.salons.get((n + step) % len(SHOPS))
                if salon is None:
                    continue
                sender, receiver = (influencer, salon) if influencer_asks else (salon, influencer)
                asked = self.now - timedelta(days=20 - place, hours=n)
                request_id = await self.conn.fetchval(
                    ADD_REQUEST, sender.id, receiver.id, status, GREETINGS[(n + place) % len(GREETINGS)], asked
                )
                requests += 1
                await self.tell_of_request(request_id, sender, receiver, status, asked)
                if status == "ACCEPTED":
                    length = LONG_TALK if (n, step) == (0, 0) else 2 + (5 * n + 9 * step) % 15
                    messages += await self.add_talk(influencer, salon, length, asked)
        return requests, messages

    async def tell_of_request(
        self, request_id: str, sender: Person, receiver: Person, status: str, at: datetime
    ) -> None:
        pending = status == "PENDING"
        await self.notify(
            receiver,
            sender,
            "CONNECTION_REQUEST",
            "New connection request",
            f"{sender.name} would like to connect with you",
            at,
            is_read=not pending,
            request_id=request_id,
        )
        if not pending:
            verb = status.lower()
            await self.notify(
                sender,
                receiver,
                f"CONNECTION_{status}",
                f"Connection {verb}",
                f"{receiver.name} {verb} your connection request",
                at + timedelta(hours=5),
                is_read=True,
                request_id=request_id,
            )

    async def add_talk(self, influencer: Person, salon: Person, length: int, connected: datetime) -> int:
        """Add a conversation, in which both write in turn; in about every third one the last message is unread."""
        lines = [line for turn in TALK for line in turn]
        begun = self.now - timedelta(minutes=TALK_MINUTES * length + 60 + int(salon.id[:2], 16))
        times = [begun + timedelta(minutes=TALK_MINUTES * seq) for seq in range(length)]
        last = lines[(length - 1) % len(lines)]
        conversation_id = await self.conn.fetchval(
            ADD_CONVERSATION, influencer.id, salon.id, length, preview(last), times[-1], min(connected, begun)
        )
        message_id = None
        for seq, time in enumerate(times, 1):
            sender = influencer if seq % 2 else salon
            message_id = await self.conn.fetchval(
                ADD_MESSAGE, conversation_id, sender.id, seq, lines[(seq - 1) % len(lines)], time
            )
        reader, writer = (salon, influencer) if length % 2 else (influencer, salon)
        unread = 1 if length % 3 == 0 else 0
        for person in (influencer, salon):
            read = length - unread if person is reader else length
            await self.conn.execute(ADD_PARTICIPANT, conversation_id, person.id, begun, read, times[max(read - 1, 0)])
        if unread:
            about = {"senderId": str(writer.id), "senderName": writer.name, "count": unread}
            await self.notify(
                reader,
                writer,
                "NEW_MESSAGE",
                f"New message from {writer.name}",
                preview(last),
                times[-1],
                message_id=message_id,
                conversation_id=conversation_id,
                about=about,
            )
        return length

    async def notify(
        self,
        to: Person,
        actor: Person,
        type: str,
        title: str,
        message: str,
        at: datetime,
        *,
        is_read: bool = False,
        request_id: str | None = None,
        message_id: str | None = None,
        conversation_id: str | None = None,
        about: dict[str, Any] | None = None,
    ) -> None:
        metadata = orjson.dumps(about).decode() if about else None
        await self.conn.execute(
            ADD_NOTIFICATION,
            to.id,
            type,
            title,
            message,
            is_read,
            request_id,
            message_id,
            conversation_id,
            actor.id,
            metadata,
            at,
        )


def describe(platform: str, bio: str, posts: list[SeedPost]) -> InstagramMetadata | TikTokMetadata:
    """Return the metadata of an account, as a scrape stores it."""
    shared: dict[str, Any] = {
        "bio": bio,
        "is_verified": False,
        "average_likes": sum(post.likes for post in posts) // POSTS,
        "average_comments": sum(post.comments for post in posts) // POSTS,
        "average_shares": 0,
        "average_views": 0,
        "top_hashtags": sorted({tag for post in posts for tag in hashtags(post.caption)})[:5],
    }
    if platform == "TIKTOK":
        return TikTokMetadata(**shared, recent_videos=[video_of(post) for post in posts])
    return InstagramMetadata(**shared, recent_posts=[picture_of(post) for post in posts])


def picture_of(post: SeedPost) -> RecentPost:
    return RecentPost(
        id=post.id,
        type="Image",
        caption=post.caption,
        likes_count=post.likes,
        comments_count=post.comments,
        timestamp=post.posted_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        url=post.url,
        display_url=None,
    )


def video_of(post: SeedPost) -> Video:
    return Video(
        id=post.id,
        share_url=post.url,
        cover_image_url=None,
        video_description=post.caption,
        likes_count=post.likes,
        comments_count=post.comments,
        shares_count=0,
        views_count=0,
    )


def hashtags(caption: str) -> list[str]:
    return [word[1:] for word in caption.split() if word.startswith("#")]
