"""The nightly fetch of accounts: what it fetches, what it postpones, and what a failing vendor does not affect."""

import asyncio

import pytest

from db.queries.social.accounts import postpone_sync
from jobs import data_sync
from jobs.vendor_health import OUTAGE, REFUSALS
from tests.helpers.jobs import add_many, finished, make_loop, run_job
from tests.helpers.social import START, age, connect, connect_oauth

DUE = "select count(*) from social_media_accounts where next_sync_at <= now()"
ACCOUNTS = """
    select username, sync_failures, needs_reconnect, next_sync_at > now() as put_off,
        round(extract(epoch from next_sync_at - now()) / 3600)::int as hours
    from social_media_accounts order by username
"""


async def test_accounts_older_than_a_week_are_fetched_again(instance, api, people, apify, tiktok, db):
    one, two, three = [await people.influencer(name) for name in ("One", "Two", "Three")]
    await connect(api, one)
    await connect(api, two, "yuki.hairstyle", "tiktok")
    await connect_oauth(api, tiktok, three, "mika_skincare")
    assert await run_job(instance, data_sync) == {}
    await age(db, 7.1)
    tiktok.users["mika_skincare"] = {"follower_count": 5}
    assert await run_job(instance, data_sync) == {"synced": 3}
    assert await db.fetchval(DUE) == 0
    assert apify.count(START) == 4  # two for connecting; the third account uses TikTok's API
    followers = "select followers_count from social_media_accounts where username = 'mika_skincare'"
    assert await db.fetchval(followers) == 5
    assert await db.fetchval("select count(*) from social_media_posts") == 12 + 24 + 24


@pytest.mark.parametrize(
    "change",
    [
        "update social_media_accounts set is_active = false",
        "update social_media_accounts set needs_reconnect = true",
        "update social_media_accounts set next_sync_at = now() + interval '1 minute'",
        "update users set status = 'SUSPENDED'",
    ],
)
async def test_accounts_that_are_not_synced(instance, api, people, apify, db, change):
    await connect(api, await people.influencer())
    await age(db, 8)
    await db.execute(change)
    assert await run_job(instance, data_sync) == {}
    assert apify.count(START) == 1


async def test_failures_are_delayed_longer_each_time_and_do_not_stop_others(instance, people, apify, db):
    await add_many(db, 10)
    apify.behaviours |= {"many.3": "failed", "many.4": "not_found", "many.5": "private", "many.6": "nonsense"}
    assert await run_job(instance, data_sync) == {"synced": 6, "failed": 4}
    hours = [1, 2, 4, 8, 16, 32, 64, 128, 168, 168]
    for failures, wait in enumerate(hours, 1):
        rows = [row for row in await db.fetch(ACCOUNTS) if row["username"] in apify.behaviours]
        assert {(row["sync_failures"], row["put_off"], row["hours"]) for row in rows} == {(failures, True, wait)}
        assert await run_job(instance, data_sync) == {}
        await db.execute("update social_media_accounts set next_sync_at = now() where sync_failures > 0")
        assert await run_job(instance, data_sync) == {"failed": 4}
    apify.behaviours.clear()
    await db.execute("update social_media_accounts set next_sync_at = now() where sync_failures > 0")
    assert await run_job(instance, data_sync) == {"synced": 4}
    assert {row["sync_failures"] for row in await db.fetch(ACCOUNTS)} == {0}


async def test_a_late_failure_does_not_delay_an_account_synced_by_another(api, people, apify, db):
    account = await connect(api, await people.influencer())
    before = dict(await db.fetchrow(ACCOUNTS))
    await postpone_sync(db, account["id"])
    assert dict(await db.fetchrow(ACCOUNTS)) == before


async def test_a_vendor_that_refuses_us_ends_the_job_and_changes_no_account(instance, people, apify, tiktok, api, db):
    await add_many(db, 60)
    await connect_oauth(api, tiktok, await people.influencer())
    await db.execute("update social_media_accounts set next_sync_at = now() where connection = 'OAUTH'")
    apify.fail_with = "out_of_credit"
    counts = await run_job(instance, data_sync, "FAILED")
    assert counts == {"leftDue": 60, "synced": 1}  # TikTok's own API is another vendor
    assert REFUSALS <= apify.count(START) <= REFUSALS + data_sync.PARALLEL
    assert await db.fetchval(DUE) == 60
    error = await db.fetchval("select error from job_runs")
    assert error == "Apify: This feature is paused"
    apify.fail_with = None
    assert await run_job(instance, data_sync) == {"synced": 60}


async def test_a_vendor_that_is_down_is_not_retried_forever(instance, apify, db):
    await add_many(db, 100)
    apify.fail_with = "server_error"
    counts = await run_job(instance, data_sync, "FAILED")
    assert OUTAGE <= counts["failed"] <= OUTAGE + data_sync.PARALLEL
    assert counts["failed"] + counts["leftDue"] == 100
    assert apify.count(START) == counts["failed"]


async def test_a_plan_with_fewer_runs_than_workers_takes_longer_without_failures(instance, apify, db, monkeypatch):
    monkeypatch.setattr(data_sync, "BUSY_SECONDS", 0.01)
    monkeypatch.setattr(data_sync, "BUSY_TRIES", 10_000)
    await add_many(db, 3 * OUTAGE)
    apify.max_running, apify.run_seconds = 2, 0.02
    assert await run_job(instance, data_sync) == {"synced": 3 * OUTAGE}


async def test_a_vendor_that_stays_busy_ends_the_job_without_failed_accounts(instance, apify, db, monkeypatch):
    monkeypatch.setattr(data_sync, "BUSY_SECONDS", 0.0)
    monkeypatch.setattr(data_sync, "BUSY_TRIES", 3)
    await add_many(db, 2 * OUTAGE)
    apify.max_running = 0
    assert await run_job(instance, data_sync, "FAILED") == {"leftDue": 2 * OUTAGE}
    assert await db.fetchval(DUE) == 2 * OUTAGE
    assert apify.count(START) <= (OUTAGE + data_sync.PARALLEL) * data_sync.BUSY_TRIES


async def test_accounts_that_fail_every_night_do_not_stop_others(instance, apify, db):
    """The next night, accounts that failed are due at once, before all others."""
    failing = 2 * OUTAGE
    await add_many(db, failing + 20)
    apify.behaviours |= {
        f"many.{number}": ("failed", "timed_out", "nonsense")[number % 3] for number in range(1, failing + 1)
    }
    await db.execute(
        "update social_media_accounts set sync_failures = 1, next_sync_at = now() - interval '1 day'"
        " where username = any ($1)",
        list(apify.behaviours),
    )
    assert await run_job(instance, data_sync) == {"failed": failing, "synced": 20}


async def test_a_token_that_expires_during_a_run(instance, api, people, tiktok, db):
    for number in range(6):
        await connect_oauth(api, tiktok, await people.influencer(), f"person.{number}")
    await age(db, 8)
    seen = 0

    def expire(method: str, path: str):
        nonlocal seen
        if "user/info" in path:
            seen += 1
            if seen == 3:
                tiktok.expire_access_tokens()

    original = tiktok.next_failure
    tiktok.next_failure = lambda method, path: expire(method, path) or original(method, path)
    assert await run_job(instance, data_sync) == {"synced": 6}
    assert tiktok.count("POST /v2/oauth/token") > 6


async def test_a_withdrawn_connection_is_notified_once(instance, api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    await age(db, 8)
    tiktok.access_tokens.clear()
    tiktok.refresh_tokens.clear()
    socket = await api.socket(sakura)
    assert await run_job(instance, data_sync) == {"needsReconnect": 1}
    assert await run_job(instance, data_sync) == {}
    received = await socket.expect("notification_received")
    assert received["notification"]["title"] == "Please connect TikTok again"
    assert (await socket.received_names()).count("notification_received") == 1
    assert (await api.get("/social-media/accounts", sakura)).data[0]["needsReconnect"] is True
    await socket.close()


@pytest.mark.parametrize("by_hand", [False, True])
async def test_a_connection_whose_new_tokens_are_refused_is_notified(instance, api, people, tiktok, db, by_hand):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    await age(db, 8)
    tiktok.fail("token_expired", "user/info", times=2)
    if by_hand:
        account_id = await db.fetchval("select id from social_media_accounts")
        answer = await api.post("/social-media/tiktok/public/sync", {"accountId": account_id}, sakura)
        assert (answer.status, answer.code) == (409, "NEEDS_RECONNECT")
    else:
        assert await run_job(instance, data_sync) == {"needsReconnect": 1}
    assert (await api.get("/social-media/accounts", sakura)).data[0]["needsReconnect"] is True
    (notification,) = (await api.get("/notifications", sakura)).data
    assert notification["title"] == "Please connect TikTok again"


async def test_without_keys_accounts_stay_due(instance, db):
    await add_many(db, 3)
    assert await run_job(instance, data_sync) == {}
    assert await db.fetchval(DUE) == 3


async def test_no_database_connection_is_held_during_a_vendor_call(instance, apify, db):
    await add_many(db, 8)
    apify.run_seconds = 3600
    loop = make_loop(instance, data_sync.run, name="data_sync")
    await loop.check()
    async with asyncio.timeout(10):
        while not await db.fetchval("select count(*) = 8 from scrape_runs where vendor_run_id is not null"):
            await asyncio.sleep(0)
    pool = instance.db.pool
    async with asyncio.timeout(5):
        while pool.get_size() - pool.get_idle_size():
            await asyncio.sleep(0)
    for run in apify.runs.values():
        run.end("SUCCEEDED")
    await finished(loop)
    assert await db.fetchval(DUE) == 0


async def test_a_stop_during_vendor_calls_leaves_their_runs_to_the_next_instance(
    instance, other_instance, apify, db, monkeypatch
):
    monkeypatch.setattr("jobs.loop.STOP_SECONDS", 0.1)
    await add_many(db, 12)
    apify.run_seconds = 3600
    loop = make_loop(instance, data_sync.run, name="data_sync")
    await loop.check()
    async with asyncio.timeout(10):
        while not await db.fetchval("select count(*) = 8 from scrape_runs where vendor_run_id is not null"):
            await asyncio.sleep(0)
    await loop.stop()
    assert await db.fetchval("select status from job_runs") == "STOPPED"
    apify.run_seconds = 0
    for run in apify.runs.values():
        run.end("SUCCEEDED")
    heir = make_loop(other_instance, data_sync.run, name="data_sync")
    await heir.check()
    await finished(heir)
    assert tuple(await db.fetchrow("select status, attempt from job_runs")) == ("SUCCEEDED", 2)
    assert await db.fetchval(DUE) == 0
    assert apify.count(START) == 12  # nothing was paid for twice
    assert apify.aborted == []
