"""All searches use `fold`: width, letter case and composition make no difference, in any locale of the database."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import psycopg
import pytest

from db.migrate import migrate
from db.migrations import FOLDER
from db.packaged.servers import ServerUrls
from handlers.routes import make_table
from tests.helpers.clients import Api
from tests.helpers.discovery import add
from tests.helpers.factories import People

# The supported ranges: Latin, Greek, Cyrillic and Armenian letters, kana, and all compatibility forms of these.
PROMISED = [
    (0x1, 0x590),
    (0x1E00, 0x2200),
    (0x2460, 0x2500),
    (0x3000, 0x3400),
    (0xF900, 0x10000),
    (0x1D400, 0x1D800),
    (0x1F100, 0x1F200),
]

FOLD_ALL = "select letter, fold(letter) from unnest(%s::text[]) letter"


def expected(text: str) -> str:
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKD", text).casefold())


@pytest.fixture(params=["C", "C.UTF-8"])
def locale_url(request: pytest.FixtureRequest, servers: ServerUrls) -> Iterator[str]:
    with psycopg.connect(servers.database_url, autocommit=True) as conn:
        conn.execute("drop database if exists folded")
        conn.execute(f"create database folded template template0 encoding 'UTF8' locale '{request.param}'")
        yield servers.database_url.replace("/encer?", "/folded?")
        conn.execute("drop database folded with (force)")


def test_fold_equals_python_in_any_locale(locale_url: str):
    migrate(locale_url)
    characters = [chr(code) for first, end in PROMISED for code in range(first, end)]
    letters = [letter for letter in characters if unicodedata.category(letter) not in ("Cn", "Cs")]
    words = ["ΌΣΟΣ ὌΣΟΣ", "ᾼ ᾳ", "Straße STRASSE", "İstanbul ISTANBUL", "ﾊﾟﾝ パン", "ｻﾛﾝ", "E\u0301 É", "ЁЛКА", "①㌔ℌ"]
    with psycopg.connect(locale_url) as conn:
        folded = conn.execute(FOLD_ALL, [letters + words]).fetchall()
    assert len(folded) > 6000
    assert [(letter, text) for letter, text in folded if text != expected(letter)] == []


# Names in a profile, and searches that must find them.
SPELLINGS = [
    ("Élodie", "élodie"),
    ("Élodie", "E\u0301LODIE"),
    ("ZOË", "zoë"),
    ("サクラ", "ｻｸﾗ"),
    ("ガーデン", "ｶﾞｰﾃﾞﾝ"),
    ("ＳＡＫＵＲＡ", "sakura"),
    ("sakura", "ＳＡＫＵＲＡ"),
    ("Groß", "GROSS"),
    ("Юлия", "ЮЛИЯ"),
    ("Νίκος", "ΝΊΚΟΣ"),
    ("Ærø", "ÆRØ"),
]

# Each route with a search: the caller's role, and the place of the found name in a row of the response.
SEARCHES: dict[str, tuple[str, Any]] = {
    "/discovery/influencers": ("salon", lambda row: row["user"]["name"]),
    "/discovery/salons": ("influencer", lambda row: row["user"]["name"]),
    "/chat/contacts": ("salon", lambda row: row["user"]["name"]),
    "/admin/users": ("admin", lambda row: row["name"]),
    "/admin/connections": ("admin", lambda row: row["sender"]["name"]),
    "/admin/activity-logs": ("admin", lambda row: row["targetUserName"]),
}


def test_all_routes_with_a_search_are_listed():
    routes = [route for route in make_table().routes if "search" in getattr(route.endpoint.query, "model_fields", {})]
    assert {route.path.removeprefix("/api/v1") for route in routes} == SEARCHES.keys()


LOCALE_DEPENDENT = re.compile(r"\b(i?like|similar to|~\*) ([$']|any\b)", re.IGNORECASE)


def test_no_statement_compares_texts_without_fold():
    found = {
        f"{path.name}: {match[0]}"
        for package in ("db", "handlers", "jobs")
        for path in (FOLDER.parent / package).rglob("*.py")
        for match in LOCALE_DEPENDENT.finditer(path.read_text())
    }
    assert found == set()


@pytest.mark.parametrize(("written", "sought"), SPELLINGS)
@pytest.mark.parametrize("path", SEARCHES)
async def test_every_search_folds(api: Api, people: People, path: str, written: str, sought: str):
    kind, name_of = SEARCHES[path]
    admin, salon, influencer = await people.admin(), await people.salon("Other"), await people.influencer("Another")
    found = await people.salon(written) if path == "/discovery/salons" else await add(people, written)
    await people.connect(found, influencer if path == "/discovery/salons" else salon)
    assert (await api.patch(f"/admin/users/{found.id}/suspend", {}, admin)).status == 200
    assert (await api.patch(f"/admin/users/{found.id}/unsuspend", {}, admin)).status == 200
    caller = {"salon": salon, "influencer": influencer, "admin": admin}[kind]
    rows = (await api.get(f"{path}?search={quote(sought)}", caller)).data
    assert rows and {name_of(row) for row in rows} == {written}
    assert (await api.get(f"{path}?search={quote(sought)}x", caller)).data == []
