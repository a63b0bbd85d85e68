"""Helpers for the tests of discovery: influencers with given profiles, and requests for them."""

from urllib.parse import quote

from tests.helpers.clients import Answer, Api
from tests.helpers.factories import People, Person

SET_INFLUENCER = """
    update influencers set bio = coalesce($2, bio), region = coalesce($3, region),
        categories = coalesce($4, categories) where user_id = $1
"""

ADD_ACCOUNT = """
    insert into social_media_accounts (influencer_id, platform, username, followers_count, engagement_rate)
    select id, $2, $3, $4, $5 from influencers where user_id = $1 returning id
"""


async def add(
    people: People,
    name: str,
    bio: str | None = None,
    region: str | None = None,
    categories: list[str] | None = None,
    handle: str | None = None,
    followers: int = 0,
    engagement: float = 0.0,
) -> Person:
    """Add an influencer; with a handle, an Instagram account too."""
    db = people.instance.db
    person = await people.influencer(name)
    await db.execute(SET_INFLUENCER, person.id, bio, region, categories)
    if handle:
        await db.execute(ADD_ACCOUNT, person.id, "INSTAGRAM", handle, followers, engagement)
    return person


async def find(api: Api, user: Person, what: str = "influencers", **query) -> Answer:
    """Call GET /discovery/…; a list repeats its parameter."""
    values = {name: value if isinstance(value, list) else [value] for name, value in query.items()}
    pairs = [f"{name}={quote(str(value))}" for name, given in values.items() for value in given]
    return await api.get(f"/discovery/{what}?{'&'.join(pairs)}", user)


async def names(api: Api, user: Person, what: str = "influencers", **query) -> list[str]:
    return [hit["user"]["name"] for hit in (await find(api, user, what, **query)).data]
