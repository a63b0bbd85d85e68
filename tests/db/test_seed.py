"""`make seed` adds accounts to sign in with, each once, and fills the lists that their users see."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from db.seed import __main__ as seed
from db.seed.people import LONG_TALK, PASSWORD
from db.seed.scale import add_people
from tests.helpers.factories import Person
from tests.helpers.programs import long_test

ROOT = Path(__file__).parents[2]
COUNTED = (
    "users", "influencers", "salons", "social_media_accounts", "social_media_posts", "connection_requests",
    "conversations", "conversation_participants", "messages", "notifications", "listings",
)  # fmt: skip
INDEX_OF_TERMS = "select indexdef from pg_indexes where indexname = 'listings_terms_idx'"
TRIGGERS = "select tgname, tgenabled from pg_trigger where tgname like '%_listing' order by tgname"


async def count(db) -> dict[str, int]:
    return {table: await db.fetchval(f"select count(*) from {table}") for table in COUNTED}


@pytest.fixture
def make_seed(servers, tmp_path):
    async def make_seed(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
        given = {
            **os.environ,
            "APP_ENV": "development",
            "DATABASE_URL": servers.database_url,
            "DATA_DIR": str(tmp_path),
            "PASSWORD_COST": "4",
            **env,
        }
        command = [sys.executable, "-m", "db.seed", *arguments]
        return await asyncio.to_thread(
            subprocess.run, command, cwd=ROOT, env=given, capture_output=True, text=True, timeout=60
        )

    return make_seed


@pytest.fixture
def fill(settings, servers):
    """Return a function that runs the seed in this process, which is a second faster."""
    of_database = settings.model_copy(update={"database_url": SecretStr(servers.database_url)})

    async def fill(scale: int = 0) -> None:
        await asyncio.to_thread(seed.fill, of_database, scale)

    return fill


async def sign_in(api, email: str) -> Person:
    answer = (await api.post("/auth/login", {"email": email, "password": PASSWORD})).data
    user = answer["user"]
    return Person(user["id"], user["name"], email, user["role"], answer["accessToken"], "")


async def test_the_seed_is_complete_and_a_second_run_adds_nothing(api, db, make_seed, fill, capsys):
    first = await make_seed()
    assert first.returncode == 0, first.stderr
    assert "30 influencers added" in first.stdout
    assert "influencer1@demo.example.com" in first.stdout
    assert PASSWORD in first.stdout
    counts = await count(db)
    assert (counts["influencers"], counts["salons"], counts["listings"]) == (30, 30, 60)
    assert all(counts.values())
    await fill()
    assert "  0 influencers added" in capsys.readouterr().out
    assert await count(db) == counts

    hanako, sakura = await sign_in(api, "influencer1@demo.example.com"), await sign_in(api, "salon1@demo.example.com")
    assert len((await api.get("/discovery/salons?limit=100", hanako)).data) == 30
    assert len((await api.get("/discovery/influencers?search=ネイル", sakura)).data) > 0
    shown = (await api.get("/discovery/influencers?sort=followers&limit=100", sakura)).data
    assert len(shown) == 30
    assert all(hit["socialMediaAccounts"] for hit in shown)
    assert {hit["connection"]["status"] for hit in shown} == {"none", "connected", "sent", "received"}
    conversations = (await api.get("/chat/conversations", hanako)).data
    assert max(conversation["lastSeq"] for conversation in conversations) == LONG_TALK >= 300
    assert all(conversation["isConnected"] for conversation in conversations)
    assert (await api.get(f"/chat/conversations/{conversations[0]['id']}/messages?limit=100", hanako)).data
    assert len((await api.get("/connections/requests/received", sakura)).data) == 1
    assert (await api.get("/notifications", sakura)).data


async def test_unread_counts_match_the_notifications(api, db, fill):
    await fill()
    unread = 0
    for n in range(1, 7):
        user = await sign_in(api, f"influencer{n}@demo.example.com")
        conversations = (await api.get("/chat/conversations", user)).data
        notices = [note for note in (await api.get("/notifications", user)).data if note["type"] == "NEW_MESSAGE"]
        assert sum(conversation["unreadCount"] for conversation in conversations) == len(notices)
        unread += len(notices)
    assert unread > 0


async def test_a_second_run_keeps_changes(db, fill):
    await fill()
    await db.execute("update influencers set bio = 'mine'")
    await db.execute("delete from connection_requests where status = 'PENDING'")
    counts = await count(db)
    await fill()
    assert await count(db) == counts
    assert await db.fetchval("select count(*) from influencers where bio = 'mine'") == 30


@long_test()
async def test_thousands_are_searchable_and_added_once(api, db, people, make_seed):
    sakura = await people.salon()
    triggers, index = [tuple(row) for row in await db.fetch(TRIGGERS)], await db.fetchval(INDEX_OF_TERMS)
    scaled = await make_seed("--scale", "1")
    assert scaled.returncode == 0, scaled.stderr
    assert "1,000 of 1,000 people" in scaled.stdout
    counts = await count(db)
    assert counts["users"] == 1_061
    assert counts["listings"] == 1_061
    found = (await api.get("/discovery/influencers?page=1&search=Coffee", sakura)).body["pagination"]["total"]
    assert 0 < found < 750
    async with db.connection() as conn:
        await add_people(conn, 1_000, "another password", lambda _: None)
    assert await count(db) == counts
    # Triggers and indexes are enabled again.
    assert [tuple(row) for row in await db.fetch(TRIGGERS)] == triggers
    assert {state for _, state in triggers} == {b"O"}
    assert await db.fetchval(INDEX_OF_TERMS) == index
    late = await people.influencer("Late Coffee")
    assert late.id in {hit["user"]["id"] for hit in (await api.get("/discovery/influencers", sakura)).data}


async def test_never_in_production(db, settings, monkeypatch, capsys):
    production = settings.model_copy(update={"app_env": "production"})
    monkeypatch.setattr(seed, "load_settings", lambda: production)
    assert await asyncio.to_thread(seed.main, []) == 1
    assert "production" in capsys.readouterr().err
    assert not any((await count(db)).values())


@pytest.mark.parametrize("scale", ["-1", "many", "1001", "1.5", ""])
async def test_bad_scale(scale):
    with pytest.raises(SystemExit):
        seed.main(["--scale", scale])


async def test_an_unreachable_database(make_seed):
    unreachable = await make_seed(DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert unreachable.returncode == 1
    assert "does not answer" in unreachable.stderr
    assert "Traceback" not in unreachable.stderr
