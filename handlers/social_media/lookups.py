"""Look-ups of public Instagram and TikTok profiles. A result serves all callers for a week."""

from typing import Any

from pydantic.alias_generators import to_camel

from db.errors import Invalid
from db.schemas.faults import fault
from db.schemas.social import AGE, PublicProfile, Video
from handlers.http.base import Handler
from handlers.http.endpoint import SCRAPE_ERRORS, USER, Paging, endpoint
from handlers.http.paging import Cursor, window
from services.social.profiles import COUNTS, Platform, iso, read_username
from services.social.scrapes import Fetched

KNOWN_SECONDS = 7 * 86400.0
UNKNOWN_SECONDS = 600.0  # a missing or private profile may become visible soon

BY_INDEX = Cursor(int)  # the scrape returns all videos at once


LOOKUP_ERRORS = ("VALIDATION_ERROR", *SCRAPE_ERRORS)


class LookUpHandler(Handler):
    async def look_up(self, platform: Platform, text: str) -> Fetched:
        """Return a stored result, or scrape the profile. Only a scrape counts against the caller's limit."""
        scrapes = self.services.scrapes
        scrapes.ensure_configured()
        try:
            username = read_username(platform, text)
        except ValueError as error:
            raise Invalid([fault("username", str(error))]) from None
        known = await scrapes.known(platform, username, max_age=KNOWN_SECONDS, max_no_age=UNKNOWN_SECONDS)
        if known:
            return known
        await self.count([self.user_claim("limit_connect", "lookup")])
        return await scrapes.fetch(
            platform, username, max_age=KNOWN_SECONDS, max_no_age=UNKNOWN_SECONDS, requested_by=self.caller.id
        )

    async def show(self, platform: Platform, username: str) -> None:
        found = await self.look_up(platform, username)
        profile = describe(found)
        self.reply(profile, profile=profile, **age_of(found))


def age_of(found: Fetched) -> dict[str, Any]:
    return {"cached": found.shared, "cacheAge": found.age}


def describe(found: Fetched) -> dict[str, Any]:
    """Return a `PublicProfile`."""
    profile = found.profile
    fields = profile.model_dump(include=set(PublicProfile.model_fields))
    fields |= {name: fields[name] or 0 for name in COUNTS}
    fields |= {
        "platform_username": profile.username,
        "is_verified": profile.is_verified_by_platform,
        "fetched_at": iso(found.finished_at),
    }
    return {to_camel(name): value for name, value in fields.items()}


class LookUpInstagram(LookUpHandler):
    @endpoint(USER, returns=PublicProfile, data_as="profile", beside=AGE, acts=True, errors=LOOKUP_ERRORS)
    async def get(self, username: str) -> None:
        """Return a public Instagram profile; `cacheAge` is in seconds."""
        await self.show("INSTAGRAM", username)


class LookUpTikTok(LookUpHandler):
    @endpoint(USER, returns=PublicProfile, data_as="profile", beside=AGE, acts=True, errors=LOOKUP_ERRORS)
    async def get(self, username: str) -> None:
        """Return a public TikTok profile; `cacheAge` is in seconds."""
        await self.show("TIKTOK", username)


class ListTikTokVideos(LookUpHandler):
    @endpoint(USER, query=Paging, returns=list[Video], data_as="videos", beside=AGE, acts=True, errors=LOOKUP_ERRORS)
    async def get(self, username: str, query: Paging) -> None:
        """List the newest videos of a public TikTok profile."""
        asked = window(query, BY_INDEX)
        found = await self.look_up("TIKTOK", username)
        videos = found.profile.metadata.get("recentVideos", [])
        start = max(0, asked.key[0] or 0)
        end = start + asked.limit
        more = end < len(videos)
        page_info = {"nextCursor": BY_INDEX.encode((end,)) if more else None, "hasMore": more}
        self.reply(videos[start:end], videos=videos[start:end], pageInfo=page_info, **age_of(found))


routes = [
    ("/social-media/instagram/profile/{username:str}", LookUpInstagram),
    ("/social-media/tiktok/profile/{username:str}", LookUpTikTok),
    ("/social-media/tiktok/videos/{username:str}", ListTikTokVideos),
]
