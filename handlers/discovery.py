"""Discovery: salons search for influencers and influencers for salons, with filters, sort orders and counts."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from db.error_codes import ERROR_CODES
from db.queries.listings import COUNT_LISTINGS, ENGAGEMENT, FOLLOWERS, list_listings
from db.queries.search import LATEST, WALK, WALK_NUMBERED
from db.schemas.discovery import CategoryCount, DiscoveredInfluencer, DiscoveredSalon, RegionCount, Vocabularies
from db.schemas.facts import about
from db.schemas.fields import BlankAsNone, Category, CommaList, Digits, Id, Line, Region
from db.schemas.shapes import ConnectionState, UserRef
from db.schemas.vocabularies import CATEGORY_NAMES, REGION_NAMES
from handlers.http.base import Handler
from handlers.http.endpoint import ADMIN, INFLUENCER, PAGE_SIZE, PUBLIC, SALON, USER, NumberedPaging, PageSize, endpoint
from handlers.http.paging import Cursor, fetch_page, window

GRID = 12  # page size of the web client, which sends `page` without `limit`
Count = Annotated[int, Field(ge=0, le=2**63 - 1), Digits]
SEARCH = about("A part of the name, the handle, the bio or the description", "nails")
SHOWN_TO = {"SALON": ["INFLUENCER"], "INFLUENCER": ["SALON"], "ADMIN": ["INFLUENCER", "SALON"]}


class Search(NumberedPaging):
    # Without a default in the description, because it depends on `page`.
    limit: PageSize = Field(
        default_factory=lambda: PAGE_SIZE,
        description=f"Entries on a page; by default {PAGE_SIZE}, and {GRID} for a request with `page`",
    )
    search: Annotated[Annotated[str, Line(100), SEARCH] | None, BlankAsNone] = None
    categories: (
        Annotated[
            list[Category],
            Field(max_length=50),
            CommaList,
            about("At least one of these categories", ["beauty", "travel"]),
        ]
        | None
    ) = None
    region: Annotated[Region, about("Only profiles of this region", "tokyo")] | None = None

    @model_validator(mode="after")
    def fill_the_grid(self) -> "Search":
        if self.page and "limit" not in self.model_fields_set:
            self.limit = GRID
        return self

    def sought(self, role: str, *followers: int | None) -> tuple[Any, ...]:
        """Return the first parameters of the statements in db/queries/listings.py."""
        return role, self.search, self.categories or None, self.region, *(followers or (None, None))


class InfluencerSearch(Search):
    min_followers: Annotated[Count, about("At least this many followers on a platform", 1000)] | None = None
    max_followers: Annotated[Count, about("At most this many followers on a platform", 50000)] | None = None
    sort: Annotated[
        Literal["recent", "followers", "engagement"], about("The newest, or the largest values, first", "followers")
    ] = "recent"

    @field_validator("max_followers")
    @classmethod
    def check_range(cls, most: int | None, info: ValidationInfo) -> int | None:
        least = info.data.get("min_followers")
        if most is not None and least is not None and most < least:
            raise ValueError("must not be less than the minimum")
        return most


# Only admins ($12) and connected users see e-mail addresses.
OTHER = {
    "user": UserRef.sql("u", email="case when $12 or r.status = 'ACCEPTED' then coalesce(u.email, '') else '' end"),
    "connection": ConnectionState.sql("r"),
}
INFLUENCER_BODY = DiscoveredInfluencer.sql("p", **OTHER)
SALON_BODY = DiscoveredSalon.sql("p", **OTHER)

LIST_RECENT = list_listings("recent", LATEST, "influencers", INFLUENCER_BODY, WALK)
LIST_FOLLOWERS = list_listings("followers", FOLLOWERS, "influencers", INFLUENCER_BODY, WALK)
LIST_ENGAGEMENT = list_listings("engagement", ENGAGEMENT, "influencers", INFLUENCER_BODY, WALK)
LIST_SALONS = list_listings("salons", LATEST, "salons", SALON_BODY, WALK)
# The same, for later pages by number.
LIST_RECENT_DEEP = list_listings("recent", LATEST, "influencers", INFLUENCER_BODY, WALK_NUMBERED)
LIST_FOLLOWERS_DEEP = list_listings("followers", FOLLOWERS, "influencers", INFLUENCER_BODY, WALK_NUMBERED)
LIST_ENGAGEMENT_DEEP = list_listings("engagement", ENGAGEMENT, "influencers", INFLUENCER_BODY, WALK_NUMBERED)
LIST_SALONS_DEEP = list_listings("salons", LATEST, "salons", SALON_BODY, WALK_NUMBERED)

# Each order has a statement for early pages, one for later pages, and its own cursors.
ORDERS = {
    "recent": (LIST_RECENT, LIST_RECENT_DEEP, Cursor(Literal["recent"], datetime, Id)),
    "followers": (LIST_FOLLOWERS, LIST_FOLLOWERS_DEEP, Cursor(Literal["followers"], Count, Id)),
    "engagement": (LIST_ENGAGEMENT, LIST_ENGAGEMENT_DEEP, Cursor(Literal["engagement"], float, Id)),
    "salons": (LIST_SALONS, LIST_SALONS_DEEP, Cursor(Literal["salons"], datetime, Id)),
}


class DiscoveryHandler(Handler):
    async def list(self, order: str, sought: tuple[Any, ...], query: Search) -> None:
        near, deep, cursor = ORDERS[order]
        asked = window(query, cursor)
        admin = self.caller.role == "ADMIN"
        arguments = (*sought, *asked.key[1:], asked.fetch, asked.offset, self.caller.id, admin)
        statement = deep if asked.offset else near
        self.reply_page(await fetch_page(self.db, asked, cursor, statement, COUNT_LISTINGS, *arguments))


class Influencers(DiscoveryHandler):
    @endpoint(SALON | ADMIN, query=InfluencerSearch, returns=list[DiscoveredInfluencer])
    async def get(self, query: InfluencerSearch) -> None:
        """Find influencers by text, categories, region and followers."""
        sought = query.sought("INFLUENCER", query.min_followers, query.max_followers)
        await self.list(query.sort, sought, query)


class Salons(DiscoveryHandler):
    @endpoint(INFLUENCER | ADMIN, query=Search, returns=list[DiscoveredSalon])
    async def get(self, query: Search) -> None:
        """Find salons by text, categories and region, newest first."""
        await self.list("salons", query.sought("SALON"), query)


COUNT_REGIONS = f"""
    select {RegionCount.sql("f")} from (
        select region, count(*) from listings where role = any($1) and region is not null group by region
    ) f order by count desc, region
"""


class Regions(Handler):
    @endpoint(USER, returns=list[RegionCount])
    async def get(self) -> None:
        """Count discoverable profiles per region, largest count first."""
        rows = await self.db.fetch(COUNT_REGIONS, SHOWN_TO[self.caller.role])
        self.reply([row[0] for row in rows])


# Many profiles share few sets of categories, so the sets are counted before they are split.
COUNT_CATEGORIES = f"""
    select {CategoryCount.sql("f")} from (
        select category, sum(n)::bigint as count from (
            select category_set, count(*) as n from listings where role = any($1) group by category_set
        ) sets, unnest(string_to_array(category_set, ',')) category
        group by category
    ) f order by count desc, category
"""


class Categories(Handler):
    @endpoint(USER, returns=list[CategoryCount])
    async def get(self) -> None:
        """Count discoverable profiles per category, largest count first."""
        rows = await self.db.fetch(COUNT_CATEGORIES, SHOWN_TO[self.caller.role])
        self.reply([row[0] for row in rows])


VOCABULARIES = {
    "regions": [{"slug": slug, "name": name} for slug, name in REGION_NAMES.items()],
    "categories": [{"slug": slug, "name": name} for slug, name in CATEGORY_NAMES.items()],
    "errorCodes": ERROR_CODES,
}
VOCABULARIES_SECONDS = 3600  # a new version of the server may add words


class ListVocabularies(Handler):
    @endpoint(PUBLIC, returns=Vocabularies)
    async def get(self) -> None:
        """List regions, categories and error codes, with English names for people."""
        self.set_header("Cache-Control", f"public, max-age={VOCABULARIES_SECONDS}")
        self.reply(VOCABULARIES)


routes = [
    ("/discovery/influencers", Influencers),
    ("/discovery/salons", Salons),
    ("/discovery/regions", Regions),
    ("/discovery/categories", Categories),
    ("/discovery/vocabularies", ListVocabularies),
]
