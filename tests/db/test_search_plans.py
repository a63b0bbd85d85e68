"""The plans of discovery, contacts and the lists of admins over 100,000 rows: with any search and sort, no list scans a
whole table, and a deep page costs no more than the first. The tests assert what PostgreSQL counted while it ran the
statements: plan nodes, buffers (8 KiB pages) and rows; they measure no time."""

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from tornado.ioloop import IOLoop

from db.migrate import migrate
from db.packaged.servers import ServerUrls
from db.queries.directory import COUNT_DIRECTORY
from db.queries.listings import COUNT_LISTINGS, list_listings
from db.queries.search import LATEST, WALK, WALK_NUMBERED
from handlers import discovery
from handlers.admin import connections as admin_connections
from handlers.admin import stats as admin_stats
from handlers.admin import users as admin_users
from handlers.chat import conversations as chat
from tests.helpers.programs import long_test
from tests.helpers.servers.large_database import CONTACTS, PEOPLE, LargeDatabase, Run

pytestmark = long_test()

LIMIT = 20
# About 14 buffers for profile, user, accounts and connection of each hit, and some more for the walk to it.
HITS = 20 * (LIMIT + 1)

DISCOVERY = {
    "recent": discovery.LIST_RECENT,
    "followers": discovery.LIST_FOLLOWERS,
    "engagement": discovery.LIST_ENGAGEMENT,
    "recent_deep": discovery.LIST_RECENT_DEEP,
    "followers_deep": discovery.LIST_FOLLOWERS_DEEP,
    "salons": discovery.LIST_SALONS,
    "never_walks": list_listings("recent", LATEST, "influencers", discovery.INFLUENCER_BODY, walk=1),
}
COLUMNS = {"recent": "created_at", "followers": "followers_count", "engagement": "engagement_rate"}
FIND_DEEP_KEY = """
    select {column}, user_id from listings where role = 'INFLUENCER'
    order by {column} desc, user_id desc offset 60000 limit 1
"""

Sought = tuple[Any, ...]


@pytest.fixture(scope="module")
def large(io_loop: IOLoop, servers: ServerUrls) -> Iterator[LargeDatabase]:
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists large")
        conn.execute("create database large")
        url = servers.database_url.replace("/encer?", "/large?")
        migrate(url)
        large = LargeDatabase(io_loop, url)
        yield large
        io_loop.run_sync(large.conn.close)
        conn.execute("drop database large with (force)")


def discover(
    large: LargeDatabase, name: str, sought: Sought, key: tuple[Any, ...] = (None, None), offset: int = 0, **how: bool
) -> Run:
    return large.run(DISCOVERY[name], *sought, *key, LIMIT + 1, offset, large.salon, False, **how)


def sought(search=None, categories=None, region=None, least=None, most=None, role="INFLUENCER") -> tuple[Any, ...]:
    return role, search, categories, region, least, most


SOUGHT = {
    "no filter": sought(),
    "one character that is in nearly all rows": sought("a"),
    "one Japanese character": sought("の"),
    "one character that is in no row": sought("q"),
    "an emoji": sought("🐈"),
    "two characters": sought("hi"),
    "two Japanese characters": sought("美容"),
    "two characters that is in no row": sought("qx"),
    "three characters": sought("美容師"),
    "a word that is in many rows": sought("coffee"),
    "a word that is in no row, of pairs that are in many": sought("noel"),
    "one handle": sought("hana_77777"),
    "a sentence": sought("インフルエンサーとして活動しています。"),
    "a hundred characters that is in no row": sought("coffee first. " * 7),
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
    "no result": sought("qx", ["gaming"], "shimane", 5_000, 5_001),
}
OFTEN = ("no filter", "one character that is in nearly all rows", "a common region", "some categories")
PLANS = pytest.mark.parametrize("generic", [False, True], ids=["own plan", "kept plan"])


@PLANS
@pytest.mark.parametrize("sort", COLUMNS)
@pytest.mark.parametrize("what", SOUGHT)
def test_a_deep_page_costs_as_little_as_the_first(large: LargeDatabase, what: str, sort: str, generic: bool):
    first = discover(large, sort, SOUGHT[what], generic=generic)
    key = tuple(large.fetchrow(FIND_DEEP_KEY.format(column=COLUMNS[sort])))
    deep = discover(large, sort, SOUGHT[what], key, generic=generic)
    for page in (first, deep):
        assert page.sequential == set()
        # The walk reads about one buffer per listing; gathering reads at most all pages of the table.
        assert page.buffers < 1.2 * WALK + large.pages["listings"] + HITS, page.buffers
        # If few rows match, gathering has little to read.
        assert page.rows_read < PEOPLE / 12, page.rows_read
    assert deep.buffers < 1.2 * first.buffers + WALK
    if what in OFTEN:
        assert max(first.buffers, deep.buffers) < HITS


@PLANS
@pytest.mark.parametrize("what", ["no filter", "one character that is in nearly all rows", "a rare region"])
def test_pages_of_salons(large: LargeDatabase, what: str, generic: bool):
    page = discover(large, "salons", ("SALON", *SOUGHT[what][1:]), generic=generic)
    assert page.sequential == set()
    assert page.buffers < 1.2 * WALK + large.pages["listings"] + HITS


@PLANS
@pytest.mark.parametrize(
    "what", ["no filter", "one character that is in nearly all rows", "one handle", "a rare region"]
)
@pytest.mark.parametrize("sort", ["recent_deep", "followers_deep"])
def test_the_last_numbered_page(large: LargeDatabase, sort: str, what: str, generic: bool):
    page = discover(large, sort, SOUGHT[what], offset=10_000 - LIMIT, generic=generic)
    assert page.sequential == set()
    assert page.buffers < 1.2 * WALK_NUMBERED + large.pages["listings"] + HITS, page.buffers


@PLANS
def test_the_worst_case_of_gathering(large: LargeDatabase, generic: bool):
    """Nearly all rows match, but none in the walk: each page of the table is read once."""
    worst = discover(large, "never_walks", SOUGHT["one character that is in nearly all rows"], generic=generic)
    assert worst.sequential == set()
    assert worst.buffers < 1.2 * large.pages["listings"] + HITS, worst.buffers


@PLANS
@pytest.mark.parametrize("what", SOUGHT)
def test_a_count(large: LargeDatabase, what: str, generic: bool):
    count = large.run(COUNT_LISTINGS, *SOUGHT[what], generic=generic)
    assert count.sequential == set()
    assert count.buffers < (200 if what == "no filter" else 1.2 * large.pages["listings"]), count.buffers


@PLANS
@pytest.mark.parametrize("facet", ["COUNT_REGIONS", "COUNT_CATEGORIES"])
def test_facets_read_only_small_indexes(large: LargeDatabase, facet: str, generic: bool):
    counted = large.run(getattr(discovery, facet), ["INFLUENCER", "SALON"], generic=generic)
    assert {node["Node Type"] for node in counted.nodes if "Relation Name" in node} == {"Index Only Scan"}
    assert counted.buffers < large.pages["listings"] / 2, counted.buffers


@pytest.mark.parametrize("table", ["listings", "directory", "activity_logs"])
def test_the_size_of_an_index_of_terms(large: LargeDatabase, table: str):
    """The index is smaller than the table."""
    assert large.pages[f"{table}_terms_idx"] < large.pages[table]


# -- contacts and the lists of admins --------------------------------------------------------------------------------

TEXTS = {
    "no filter": None,
    "a character that is in all rows": "a",
    "a text that is in all rows": "example.com",
    "a name that is in some rows": "sato",
    "a name in Japanese": "美咲",
    "a text that is in a hundredth of the rows": "person77",
    "one address": "person77777@scale.example.com",
    "a character that is in no row": "の",
    "a text that is in no row": "qx",
    "a word that is in no row, of pairs that are in many": "noel",
}
SEARCHES = pytest.mark.parametrize("what", TEXTS)
COMMON = (
    "a character that is in all rows",
    "a text that is in all rows",
    "a name that is in some rows",
    "a name in Japanese",
)
DEEP = 1_980  # rows before page 100


@PLANS
@SEARCHES
@pytest.mark.parametrize("kind", [(None, None, None), ("SALON", None, None), (None, "SUSPENDED", None)], ids=str)
@pytest.mark.parametrize("listed", admin_users.LISTS.values(), ids=lambda listed: listed.name)
def test_users(large: LargeDatabase, listed: admin_users.UserList, kind: tuple[Any, ...], what: str, generic: bool):
    for statement, offset, walk in ((listed.near, 0, WALK), (listed.deep, DEEP, WALK_NUMBERED)):
        page = large.run(statement, TEXTS[what], *kind, None, None, LIMIT + 1, offset, generic=generic)
        assert page.sequential == set()
        assert page.buffers < 1.2 * walk + large.pages["directory"] + HITS, page.buffers
        assert page.rows_read < 2 * walk + PEOPLE / 12, page.rows_read
    count = large.run(COUNT_DIRECTORY, TEXTS[what], *kind, generic=generic)
    assert count.buffers < 1.2 * large.pages["directory"], count.buffers
    if TEXTS[what] or any(kind):
        assert count.sequential == set()


@PLANS
@SEARCHES
@pytest.mark.parametrize("action", [None, "USER_UPDATED", "USER_DELETED", "NEVER_DONE"])
def test_activity_logs(large: LargeDatabase, action: str | None, what: str, generic: bool):
    near, deep = admin_stats.LIST_ACTIVITIES, admin_stats.LIST_ACTIVITIES_DEEP
    for statement, offset, walk in ((near, 0, WALK), (deep, DEEP, WALK_NUMBERED)):
        page = large.run(statement, action, TEXTS[what], None, None, LIMIT + 1, offset, generic=generic)
        assert page.sequential == set()
        assert page.buffers < 1.2 * walk + large.pages["activity_logs"] + HITS, page.buffers
        assert page.rows_read < 2 * walk + PEOPLE / 12, page.rows_read
    count = large.run(admin_stats.COUNT_ACTIVITIES, action, TEXTS[what], generic=generic)
    assert count.sequential == set()
    assert count.buffers < 1.2 * large.pages["activity_logs"], count.buffers


@PLANS
@SEARCHES
@pytest.mark.parametrize("status", [None, "ACCEPTED", "PENDING"])
def test_connections(large: LargeDatabase, status: str | None, what: str, generic: bool):
    listed, found = admin_connections.LIST_ALL, admin_connections.LIST_ALL_FOUND
    if status:
        listed, found = admin_connections.LIST_STATUS, admin_connections.LIST_STATUS_FOUND
    statement = found if TEXTS[what] else listed
    page = large.run(statement, status, TEXTS[what], None, None, LIMIT + 1, 0, generic=generic)
    assert page.sequential == set()
    # The walk reads two people per request; the search reads the requests of each person found.
    assert page.buffers < 10 * WALK // 2 + 8 * PEOPLE / 80 + HITS, page.buffers
    assert page.rows_read < PEOPLE / 12, page.rows_read


@PLANS
@SEARCHES
@pytest.mark.parametrize("status", [None, "PENDING"])
def test_counts_of_connections(large: LargeDatabase, status: str | None, what: str, generic: bool):
    count = large.run(admin_connections.COUNT_CONNECTIONS, status, TEXTS[what], generic=generic)
    if what in COMMON or what == "no filter":  # each person and each request is read once at most
        assert count.buffers < 1.1 * (large.pages["directory"] + large.pages["connection_requests"]), count.buffers
    else:
        assert count.sequential == set()
        assert count.rows_read < PEOPLE / 12, count.rows_read


@PLANS
@SEARCHES
def test_contacts(large: LargeDatabase, what: str, generic: bool):
    page = large.run(chat.LIST_CONTACTS, large.salon, None, TEXTS[what], None, None, LIMIT + 1, generic=generic)
    assert page.sequential == set()
    assert page.rows_read < 5 * CONTACTS, page.rows_read
