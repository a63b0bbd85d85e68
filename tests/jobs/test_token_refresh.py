"""TikTok's tokens are renewed once, stored, and left due in an outage."""

import asyncio

import pytest

from jobs import token_refresh
from jobs.vendor_health import OUTAGE
from tests.helpers.jobs import add_many, finished, make_loop, run_job
from tests.helpers.social import SAKURA, connect_oauth

ACCOUNTS = """
    select username, sync_failures, needs_reconnect, next_sync_at > now() as put_off,
        round(extract(epoch from next_sync_at - now()) / 3600)::int as hours
    from social_media_accounts order by username
"""


async def expiring(db, days: float) -> None:
    await db.execute(
        "update social_media_accounts set token_expires_at = now() + make_interval(secs => $1)", days * 86400
    )


async def test_tokens_that_end_within_a_week_are_renewed_and_both_stored(instance, api, people, tiktok, db):
    await connect_oauth(api, tiktok, await people.influencer())
    await expiring(db, 7.1)
    assert await run_job(instance, token_refresh) == {}
    await expiring(db, 6.9)
    before = await db.fetchrow("select access_token, refresh_token from social_media_accounts")
    assert await run_job(instance, token_refresh) == {"refreshed": 1}
    after = await db.fetchrow("select access_token, refresh_token from social_media_accounts")
    assert after["access_token"] != before["access_token"]
    assert after["refresh_token"] != before["refresh_token"]
    # The new ones work: a refresh token works once, so the second night checks the tokens that the first has stored.
    assert await run_job(instance, token_refresh) == {"refreshed": 1}


async def test_a_refusal_marks_the_account_and_notifies_its_owner(instance, api, people, tiktok, db):
    sakura, yuki = await people.influencer(), await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    await connect_oauth(api, tiktok, yuki, "yuki.hairstyle")
    for token, grant in list(tiktok.refresh_tokens.items()):
        if grant.username == SAKURA:
            del tiktok.refresh_tokens[token]
    assert await run_job(instance, token_refresh) == {"refreshed": 1, "needsReconnect": 1}
    assert await run_job(instance, token_refresh) == {"refreshed": 1}
    assert [row["needs_reconnect"] for row in await db.fetch(ACCOUNTS)] == [True, False]
    (notification,) = (await api.get("/notifications", sakura)).data
    assert notification["type"] == "SYSTEM"
    assert (await api.get("/notifications", yuki)).data == []


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("server_error", "TikTok failed 20 times in a row: The service did not answer properly"),
        ("disconnect", "TikTok failed 20 times in a row: The service cannot be reached"),
        ("invalid_client", "TikTok: The service refused the request"),
    ],
)
async def test_an_outage_leaves_tokens_due(instance, api, people, tiktok, db, failure, error):
    await add_oauth(db, instance, tiktok, 40)
    tiktok.fail_with = failure
    assert await run_job(instance, token_refresh, "FAILED") == {"leftDue": 40}
    assert tiktok.count("POST") <= OUTAGE + token_refresh.PARALLEL
    assert await db.fetchval("select error from job_runs") == error
    assert await db.fetchval("select count(*) from social_media_accounts where needs_reconnect") == 0
    tiktok.fail_with = None
    assert await run_job(instance, token_refresh) == {"refreshed": 40}


async def add_oauth(db, instance, tiktok, count: int) -> None:
    """Add accounts with encrypted tokens that the stand-in accepts."""
    from services.tiktok.oauth import GrantedTokens
    from tests.vendors.tiktok import Grant

    await add_many(db, count, "TIKTOK")
    for row in await db.fetch("select id, username from social_media_accounts"):
        tokens = GrantedTokens.model_validate(tiktok.new_tokens(Grant(row["username"], "user.info.basic")))
        sealed = instance.services.tiktok.seal(row["id"], tokens)
        await db.execute(
            "update social_media_accounts set connection = 'OAUTH', access_token = $2, refresh_token = $3,"
            " token_expires_at = $4, refresh_expires_at = $5 where id = $1",
            row["id"],
            *sealed,
        )


async def test_an_interrupted_refresh_continues_at_the_same_account(instance, other_instance, tiktok, db, monkeypatch):
    await add_oauth(db, instance, tiktok, 30)
    tenth = asyncio.Event()
    refresh = instance.services.tiktok.refresh

    async def counted(account_id: str) -> str:
        if tiktok.count("POST") >= 10:
            tenth.set()
        return await refresh(account_id)

    monkeypatch.setattr(instance.services.tiktok, "refresh", counted)
    loop = make_loop(instance, token_refresh.run, name="token_refresh")
    await loop.check()
    await tenth.wait()
    await loop.stop()
    heir = make_loop(other_instance, token_refresh.run, name="token_refresh")
    await heir.check()
    await finished(heir)
    row = await db.fetchrow("select status, attempt, counts->>'refreshed' as refreshed from job_runs")
    assert tuple(row) == ("SUCCEEDED", 2, "30")
    assert tiktok.count("POST") == 30


async def test_tokens_that_are_granted_while_the_instance_stops_are_stored(instance, tiktok, db, monkeypatch):
    monkeypatch.setattr("jobs.loop.STOP_SECONDS", 0.1)
    await add_oauth(db, instance, tiktok, 1)
    accounts = instance.services.tiktok
    granted, answered, refresh = asyncio.Event(), asyncio.Event(), accounts.oauth.refresh

    async def slow(token: str):
        tokens = await refresh(token)
        granted.set()
        await answered.wait()
        return tokens

    monkeypatch.setattr(accounts.oauth, "refresh", slow)
    loop = make_loop(instance, token_refresh.run, name="token_refresh")
    await loop.check()
    await granted.wait()
    await loop.stop()
    assert await db.fetchval("select status from job_runs") == "STOPPED"
    closing = asyncio.create_task(accounts.close())
    answered.set()
    await closing
    row = await db.fetchrow("select id, refresh_token, tokens_refreshed_at from social_media_accounts")
    assert row["tokens_refreshed_at"] is not None
    assert accounts._open(row["id"], "refresh_token", row["refresh_token"]) in tiktok.refresh_tokens


async def test_two_concurrent_runs_use_no_token_twice(instance, other_instance, tiktok, db):
    """Runs of different instances overlap only after a runner froze."""
    await add_oauth(db, instance, tiktok, 30)
    loops = [
        make_loop(one, token_refresh.run, name=f"copy{number}") for number, one in enumerate((instance, other_instance))
    ]
    await asyncio.gather(*(loop.check() for loop in loops))
    await finished(*loops)
    assert await db.fetchval("select count(*) from social_media_accounts where needs_reconnect") == 0
    assert await db.fetchval("select count(*) from social_media_accounts where tokens_refreshed_at is null") == 0
