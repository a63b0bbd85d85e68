"""Revocations at TikTok are retried; old scrapes and sign-ins are deleted."""

from jobs import housekeeping
from tests.helpers.jobs import run_job
from tests.helpers.social import START, age, connect, connect_oauth


async def test_housekeeping_retries_revocations_at_tiktok(instance, api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.fail("server_error", "revoke", times=2)
    await api.delete("/social-media/tiktok", sakura)
    assert await run_job(instance, housekeeping) == {"revocationsLeft": 1}
    assert tiktok.access_tokens
    assert await run_job(instance, housekeeping) == {"revoked": 1}
    assert not tiktok.access_tokens
    assert await db.fetchval("select count(*) from token_revocations") == 0


async def test_housekeeping_stops_after_the_last_attempt(instance, api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.fail("server_error", "revoke", times=99)
    await api.delete("/social-media/tiktok", sakura)
    nights = 0
    while await db.fetchval("select count(*) from token_revocations"):
        await run_job(instance, housekeeping)
        nights += 1
    assert nights == 6  # and one attempt when it was disconnected


async def test_housekeeping_deletes_old_scrapes_and_sign_ins(instance, api, people, apify, tiktok, db):
    sakura = await people.influencer()
    await connect(api, sakura)
    apify.fail("lose_answer", START)
    await api.get("/social-media/instagram/profile/mika_skincare", sakura)
    await api.get("/social-media/tiktok/auth", sakura)
    assert await run_job(instance, housekeeping) == {}
    await age(db, 8.1)
    await db.execute("update scrape_runs set started_at = started_at - interval '8.1 days'")
    await db.execute("update oauth_states set expires_at = now() - interval '1 second'")
    assert await run_job(instance, housekeeping) == {"scrapes": 1, "lostScrapes": 1, "oauthStates": 1}
