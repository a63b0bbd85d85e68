"""Small scrapes, from a stand-in and from datasets that a test writes."""

from services.apify.runs import ApifyActors
from services.social.instagram import InstagramProfiles
from services.tiktok.profiles import TikTokProfiles
from tests.vendors.apify import TOKEN, Apify

ACTOR = "apify/instagram-profile-scraper"
GENEROUS = 30.0  # seconds for a whole scrape
CAPTION = "秋ネイル🍂 #美容 #ネイルサロン #Tokyo"
NO_ACTORS = ApifyActors(None, "http://127.0.0.1:9", 1)
INSTAGRAM = InstagramProfiles(NO_ACTORS, ACTOR)
TIKTOK = TikTokProfiles(NO_ACTORS, "clockworks/tiktok-scraper")


def post(**fields):
    return {"id": "1", "type": "Image", "caption": CAPTION, "likesCount": 10, "commentsCount": 2} | fields


def instagram(*posts, **fields):
    item = {"username": "sakura", "followersCount": 1000, "latestPosts": list(posts)} | fields
    return INSTAGRAM.read([item], "sakura")


def video(**fields):
    author = {"name": "sakura", "fans": 1000} | fields.pop("author", {})
    return {"id": "7", "text": CAPTION, "authorMeta": author, "diggCount": 10, "commentCount": 2} | fields


def actors(vendor: Apify, timeout: float = GENEROUS, token: str | None = TOKEN) -> ApifyActors:
    return ApifyActors(token, vendor.url, timeout)


async def scrape(client: ApifyActors, username: str = "sakura.nails_tokyo", on_started=None, max_items: int = 1):
    return await client.scrape(ACTOR, {"usernames": [username]}, max_items, on_started)
