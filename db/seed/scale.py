"""Thousands of invented people, added by a few statements, to try searches and to test their plans.

The data of person n depends only on n, so a second run adds only missing people.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import asyncpg

from db.schemas.vocabularies import CATEGORIES, PREFECTURES
from db.seed import texts

BATCH = 10_000  # people per progress message
SALON_EVERY = 4  # one in four is a salon
# Roughly as in reality: most people in large prefectures, about one in a hundred in each of the others.
REGIONS = ["tokyo"] * 30 + ["osaka"] * 12 + ["kanagawa"] * 9 + ["aichi"] * 6 + ["fukuoka"] * 5 + list(PREFECTURES)


def chance(purpose: int | str, sides: int | str) -> str:
    """Return SQL for a number from 0 to `sides` - 1: random, but always the same for person `n` and this purpose."""
    return f"((hashint8extended(n, {purpose}) & 2147483647) % {sides})"


def pick(choices: str, purpose: int | str) -> str:
    return f"({choices}::text[])[1 + {chance(purpose, f'cardinality({choices}::text[])')}]"


PERSON = "md5('scale ' || n)::uuid"

# In all statements here, $1 and $2 are the numbers of the first and the last person.
ADD_USERS = f"""
    insert into users
        (id, name, email, password_hash, role, email_verified_at, terms_accepted_at, onboarded_at, created_at)
    select {PERSON},
        case {chance(1, 2)} when 0 then {pick("$3", 2)} || ' ' || {pick("$4", 3)}
            else {pick("$5", 2)} || ' ' || {pick("$6", 3)} end,
        'person' || n || '@scale.example.com', $7, case when n % {SALON_EVERY} = 0 then 'SALON' else 'INFLUENCER' end,
        joined, joined, joined, joined
    from generate_series($1::bigint, $2::bigint) n, lateral (select now() - n * interval '5 minutes' as joined) j
    on conflict do nothing
"""

ONE_TO_THREE_CATEGORIES = f"""
    array(select distinct {pick("$3", "p")} from generate_series(10, 10 + {chance(9, 3)}) p order by 1)
"""

ADD_INFLUENCERS = f"""
    insert into influencers (user_id, bio, categories, region, age, gender, created_at)
    select u.id, {pick("$5", 20)} || ' ' || {pick("$6", 21)}, {ONE_TO_THREE_CATEGORIES}, {pick("$4", 22)},
        18 + {chance(23, 40)}, {pick("array['FEMALE', 'FEMALE', 'MALE', 'NON_BINARY']", 24)}, u.created_at
    from generate_series($1::bigint, $2::bigint) n join users u on u.id = {PERSON} and u.role = 'INFLUENCER'
    on conflict do nothing
"""

ADD_ACCOUNTS = f"""
    insert into social_media_accounts (influencer_id, platform, username, followers_count, engagement_rate)
    select i.id, {pick("array['INSTAGRAM', 'TIKTOK']", 30)}, {pick("$3", 31)} || '_' || n,
        power(10::float8, 2.5 + {chance(32, 3500)} / 1000.0)::bigint, {chance(33, 1200)} / 100.0
    from generate_series($1::bigint, $2::bigint) n join influencers i on i.user_id = {PERSON}
    on conflict do nothing
"""

ADD_SALONS = f"""
    insert into salons
        (user_id, business_name, description, preferred_categories, region, team_size, instagram_handle, created_at)
    select u.id, {pick("$5", 40)} || ' ' || {pick("$6", 41)}, {pick("$7", 42)}, {ONE_TO_THREE_CATEGORIES},
        {pick("$4", 22)}, 1 + {chance(43, 20)}, {pick("$8", 44)} || '.' || n, u.created_at
    from generate_series($1::bigint, $2::bigint) n join users u on u.id = {PERSON} and u.role = 'SALON'
    on conflict do nothing
"""

# The tables `listings` and `directory` are filled at the end, from the finished rows, and their indexes are built after
# that. This is many times faster than row by row.
STOP_TRIGGERS = """
    alter table users disable trigger users_directory;
    alter table influencers disable trigger influencers_listing;
    alter table salons disable trigger salons_directory, disable trigger salons_listing;
    alter table social_media_accounts disable trigger social_media_accounts_listing;
"""
RESUME_TRIGGERS = STOP_TRIGGERS.replace("disable", "enable")
ADD_LISTINGS = "insert into listings select * from listing_sources on conflict do nothing"
ADD_TO_DIRECTORY = "insert into directory select * from directory_sources on conflict do nothing"
SOURCES = "users, influencers, salons, social_media_accounts"

# Unique indexes stay: `on conflict` needs them.
LIST_INDEXES = """
    select c.relname as name, pg_get_indexdef(c.oid) as definition, s.statements as statistics
    from pg_index i join pg_class c on c.oid = i.indexrelid cross join lateral (
        select string_agg(format('alter index %I alter %s set statistics %s', c.relname, attnum, attstattarget), ';')
            as statements
        from pg_attribute where attrelid = c.oid and attstattarget >= 0
    ) s
    where i.indrelid = any ($1::text[]::regclass[]) and not i.indisunique
"""


async def add_people(conn: asyncpg.Connection, count: int, password_hash: str, tell: Callable[[str], None]) -> None:
    """Add people 1 to `count` in one transaction; searches wait for its end. `conn` must be allowed to alter tables."""
    async with conn.transaction(), indexes_built_last(conn, "listings", "directory"):
        await conn.execute(STOP_TRIGGERS)
        for first in range(1, count + 1, BATCH):
            last = min(first + BATCH - 1, count)
            await add_batch(conn, first, last, password_hash)
            tell(f"{last:,} of {count:,} people")
        tell("filling the search tables and building their indexes")
        await conn.execute(f"analyze {SOURCES}")  # the plans that fill listings and directory depend on it
        await conn.execute(ADD_LISTINGS)
        await conn.execute(ADD_TO_DIRECTORY)
        await conn.execute(RESUME_TRIGGERS)
    await conn.execute(f"vacuum {SOURCES}")
    await conn.execute("vacuum (analyze) listings, directory")


@asynccontextmanager
async def indexes_built_last(conn: asyncpg.Connection, *tables: str) -> AsyncIterator[None]:
    """Drop the indexes of the tables during the block, then create them again. Needs an open transaction."""
    indexes = await conn.fetch(LIST_INDEXES, tables)
    await conn.execute(f"drop index {', '.join(index['name'] for index in indexes)}")
    yield
    await conn.execute("set local maintenance_work_mem = '256MB'")
    for index in indexes:
        await conn.execute(index["definition"])
        if index["statistics"]:
            await conn.execute(index["statistics"])


async def add_batch(conn: asyncpg.Connection, first: int, last: int, password_hash: str) -> None:
    names = [texts.FAMILY_NAMES, texts.GIVEN_NAMES, texts.FIRST_NAMES, texts.LAST_NAMES]
    await conn.execute(ADD_USERS, first, last, *names, password_hash)
    profile = [first, last, list(CATEGORIES), REGIONS]
    await conn.execute(ADD_INFLUENCERS, *profile, texts.BIO_STARTS, texts.BIO_ENDS)
    await conn.execute(ADD_ACCOUNTS, first, last, texts.HANDLE_WORDS)
    await conn.execute(
        ADD_SALONS, *profile, texts.GIVEN_NAMES, texts.SALON_KINDS, texts.SALON_TEXTS, texts.HANDLE_WORDS
    )
