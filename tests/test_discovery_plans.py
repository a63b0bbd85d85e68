"""The plans of discovery over 100,000 profiles: no list reads a table from end to end, whatever is sought and sorted,
and no page costs more for being deep. Asserted by what PostgreSQL counted while it ran the statements: nodes, buffers
(8 KiB pages touched) and rows; not by the clock."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import asyncpg
import psycopg
import pytest

from db.embedded import ServerUrls
from db.listings import RECENT, WALK, WALK_NUMBERED, list_listings
from db.migrate import migrate
from db.pool import SERVER_SETTINGS
from db.seed_scale import add_people
from handlers import discovery

PEOPLE = 100_000
TABLES = {"users", "influencers", "salons", "social_media_accounts", "connection_requests", "listings"}
LIMIT = 20
EXPLAIN = "explain (analyze, buffers, timing off, format json)"
# Looking a hit's profile, user, accounts and connection up takes about 14 buffers each; the walk to it some more.
HITS = 20 * (LIMIT + 1)

STATEMENTS = {
    "recent": discovery.LIST_RECENT,
    "followers": discovery.LIST_FOLLOWERS,
    "engagement": discovery.LIST_ENGAGEMENT,
    "recent_deep": discovery.LIST_RECENT_DEEP,
    "followers_deep": discovery.LIST_FOLLOWERS_DEEP,
    "salons": discovery.LIST_SALONS,
    "count": discovery.COUNT_LISTINGS,
    "never_walks": list_listings("recent", RECENT, "influencers", discovery.INFLUENCER_BODY, walk=1),
    "regions": discovery.COUNT_REGIONS,
    "categories": discovery.COUNT_CATEGORIES,
}
COLUMNS = {"recent": "created_at", "followers": "followers_count", "engagement": "engagement_rate"}
FIND_DEEP_KEY = """
    select {column}, user_id from listings where role = 'INFLUENCER'
    order by {column} desc, user_id desc offset 60000 limit 1
"""
IS_VISIBLE = "select relallvisible = relpages from pg_class where oid = 'listings'::regclass"

Sought = tuple[Any, ...]


@dataclass
class Run:
    """What one execution did."""

    plan: dict[str, Any]

    @property
    def nodes(self) -> list[dict[str, Any]]:
        found, waiting = [], [self.plan]
        while waiting:
            node = waiting.pop()
            found.append(node)
            waiting += node.get("Plans", [])
        return found

    @property
    def sequential(self) -> set[str]:
        return {node["Relation Name"] for node in self.nodes if node["Node Type"] == "Seq Scan"} & TABLES

    @property
    def buffers(self) -> int:
        return self.plan["Shared Hit Blocks"] + self.plan["Shared Read Blocks"]

    @property
    def looked_at(self) -> int:
        """Rows of tables that were read, whether they were wanted or not."""
        return sum(
            (node["Actual Rows"] + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
            for node in self.nodes
            if "Relation Name" in node
        )


class Crowd:
    """A database of 100,000 people; statements run in it as the server would run them."""

    def __init__(self, io_loop, url: str) -> None:
        self.io_loop, self.url = io_loop, url

    async def fill(self) -> None:
        self.conn = await asyncpg.connect(self.url, server_settings={**SERVER_SETTINGS, "statement_timeout": "0"})
        await add_people(self.conn, PEOPLE, "no password", lambda _: None)
        self.viewer = await self.conn.fetchval("select id from users where role = 'SALON' limit 1")
        # Index-only scans skip the table where a vacuum has seen that all may see the rows; the snapshot of an
        # autovacuum that runs just now can hinder one.
        for _ in range(100):
            await self.conn.execute("vacuum listings")
            if await self.conn.fetchval(IS_VISIBLE):
                break
        self.heap = await self.conn.fetchval("select pg_relation_size('listings') / 8192")
        self.deep = {
            name: tuple(await self.conn.fetchrow(FIND_DEEP_KEY.format(column=column)))
            for name, column in COLUMNS.items()
        }
        for name, statement in STATEMENTS.items():
            await self.conn.execute(f"prepare {name} as {statement}")

    def run(self, name: str, *args: Any, generic: bool = False) -> Run:
        """`generic`: by the plan that PostgreSQL keeps for all parameters, else by one made for these."""

        async def explain() -> str:
            await self.conn.execute(f"set plan_cache_mode = force_{'generic' if generic else 'custom'}_plan")
            given = ", ".join(literal(arg) for arg in args)
            return await self.conn.fetchval(
                f"explain (analyze, buffers, timing off, format json) execute {name}({given})"
            )

        return Run(json.loads(self.io_loop.run_sync(explain))[0]["Plan"])

    def page(
        self, name: str, sought: tuple[Any, ...], key: tuple[Any, ...] = (None, None), offset: int = 0, **how
    ) -> Run:
        return self.run(name, *sought, *key, LIMIT + 1, offset, self.viewer, False, **how)


def literal(value: Any) -> str:
    if isinstance(value, list):
        return f"array[{', '.join(literal(part) for part in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value) if isinstance(value, int | float) else "'" + str(value).replace("'", "''") + "'"


@pytest.fixture(scope="module")
def crowd(io_loop, servers: ServerUrls) -> Iterator[Crowd]:
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists crowd")
        conn.execute("create database crowd")
        url = servers.database_url.replace("/encer?", "/crowd?")
        migrate(url)
        crowd = Crowd(io_loop, url)
        io_loop.run_sync(crowd.fill)
        yield crowd
        io_loop.run_sync(crowd.conn.close)
        conn.execute("drop database crowd with (force)")


def sought(search=None, categories=None, region=None, least=None, most=None, role="INFLUENCER") -> tuple[Any, ...]:
    return role, search, categories, region, least, most


SOUGHT = {
    "everybody": sought(),
    "one character that nearly all have": sought("a"),
    "one Japanese character": sought("の"),
    "one character that nobody has": sought("q"),
    "an emoji": sought("🐈"),
    "two characters": sought("hi"),
    "two Japanese characters": sought("美容"),
    "two characters that nobody has": sought("qx"),
    "three characters": sought("美容師"),
    "a word that many have": sought("coffee"),
    "a word that nobody has, of pairs that many have": sought("noel"),
    "one handle": sought("hana_77777"),
    "a sentence": sought("インフルエンサーとして活動しています。"),
    "a hundred characters that nobody has": sought("coffee first. " * 7),
    "a common region": sought(region="tokyo"),
    "a rare region": sought(region="tottori"),
    "a category": sought(categories=["beauty"]),
    "some categories": sought(categories=["beauty", "food", "pets"]),
    "a common character in a rare region": sought("a", region="tottori"),
    "a common word, categories, a rare region": sought("friday", ["gaming", "pets"], "okinawa"),
    "few followers": sought(most=400),
    "very many followers": sought(least=900_000),
    "a narrow range of followers": sought(least=10_000, most=10_100),
    "everything at once": sought("i", ["gaming", "food"], "shimane", 5_000, 800_000),
    "nothing at all": sought("qx", ["gaming"], "shimane", 5_000, 5_001),
}
OFTEN = ("everybody", "one character that nearly all have", "a common region", "some categories")
PLANS = pytest.mark.parametrize("generic", [False, True], ids=["own plan", "kept plan"])


@PLANS
@pytest.mark.parametrize("sort", COLUMNS)
@pytest.mark.parametrize("what", SOUGHT)
def test_a_page_costs_little_and_a_deep_one_no_more(crowd: Crowd, what: str, sort: str, generic: bool):
    first = crowd.page(sort, SOUGHT[what], generic=generic)
    deep = crowd.page(sort, SOUGHT[what], crowd.deep[sort], generic=generic)
    for page in (first, deep):
        assert page.sequential == set()
        # The walk touches a buffer or so for each listing; what is gathered lies on some pages of the table.
        assert page.buffers < 1.2 * WALK + crowd.heap + HITS, page.buffers
        # What does not match often enough for the walk is little to gather.
        assert page.looked_at < PEOPLE / 12, page.looked_at
    assert deep.buffers < 1.2 * first.buffers + WALK
    if what in OFTEN:
        assert max(first.buffers, deep.buffers) < HITS


@PLANS
@pytest.mark.parametrize("what", ["everybody", "one character that nearly all have", "a rare region"])
def test_pages_of_salons(crowd: Crowd, what: str, generic: bool):
    page = crowd.page("salons", ("SALON", *SOUGHT[what][1:]), generic=generic)
    assert page.sequential == set()
    assert page.buffers < 1.2 * WALK + crowd.heap + HITS


@PLANS
@pytest.mark.parametrize("what", ["everybody", "one character that nearly all have", "one handle", "a rare region"])
@pytest.mark.parametrize("sort", ["recent_deep", "followers_deep"])
def test_the_last_numbered_page(crowd: Crowd, sort: str, what: str, generic: bool):
    page = crowd.page(sort, SOUGHT[what], offset=10_000 - LIMIT, generic=generic)
    assert page.sequential == set()
    assert page.buffers < 1.2 * WALK_NUMBERED + crowd.heap + HITS, page.buffers


@PLANS
def test_the_worst_that_gathering_can_be(crowd: Crowd, generic: bool):
    """Nearly all match, but none of those that are walked over: each page of the table is read once."""
    worst = crowd.page("never_walks", SOUGHT["one character that nearly all have"], generic=generic)
    assert worst.sequential == set()
    assert worst.buffers < 1.2 * crowd.heap + HITS, worst.buffers


@PLANS
@pytest.mark.parametrize("what", SOUGHT)
def test_a_count(crowd: Crowd, what: str, generic: bool):
    count = crowd.run("count", *SOUGHT[what], generic=generic)
    assert count.sequential == set()
    assert count.buffers < (200 if what == "everybody" else 1.2 * crowd.heap), count.buffers


@PLANS
@pytest.mark.parametrize("facet", ["regions", "categories"])
def test_facets_read_narrow_indexes_alone(crowd: Crowd, facet: str, generic: bool):
    counted = crowd.run(facet, ["INFLUENCER", "SALON"], generic=generic)
    assert {node["Node Type"] for node in counted.nodes if "Relation Name" in node} == {"Index Only Scan"}
    assert counted.buffers < crowd.heap / 2, counted.buffers


def test_what_the_index_of_terms_weighs(crowd: Crowd, io_loop):
    """About what one of trigrams would, and less than the table itself."""
    size = io_loop.run_sync(lambda: crowd.conn.fetchval("select pg_relation_size('listings_terms_idx') / 8192"))
    assert size < crowd.heap
