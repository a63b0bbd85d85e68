"""Accounts connected by a sign-in at TikTok: disconnected, connected again, replaced, synchronised."""

import asyncio
from types import SimpleNamespace

import pytest

from tests.helpers.social import (
    SAKURA,
    age,
    connect,
    connect_oauth,
)

CALLBACK = "/social-media/tiktok/oauth/callback"
TOKENS = "select id, access_token, refresh_token, token_expires_at, needs_reconnect from social_media_accounts"


async def test_disconnecting_revokes_at_the_vendor(api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    assert tiktok.access_tokens
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert tiktok.count("POST /v2/oauth/revoke") == 1
    assert not tiktok.access_tokens
    assert not tiktok.refresh_tokens
    assert await db.fetchval("select count(*) from social_media_accounts") == 0
    assert await db.fetchval("select count(*) from token_revocations") == 0


@pytest.mark.parametrize("failure", ["server_error", "disconnect", "hang"])
async def test_disconnecting_while_tiktok_is_unavailable(api, people, tiktok, db, monkeypatch, failure):
    """The account is deleted immediately; the revocation of its tokens is queued."""
    monkeypatch.setattr("services.tiktok.revocations.REVOKE_SECONDS", 0.2)
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.fail(failure, "revoke")
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert (await api.get("/social-media/accounts", sakura)).data == []
    assert tiktok.access_tokens
    assert await db.fetchval("select count(*) from token_revocations") == 1


async def test_disconnecting_long_after_the_last_sync_ends_the_grant_too(api, people, tiktok, db):
    """An access token is valid for hours, the grant for months."""
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.expire_access_tokens()
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert not tiktok.access_tokens
    assert not tiktok.refresh_tokens
    assert await db.fetchval("select count(*) from token_revocations") == 0


async def test_disconnecting_what_tiktok_has_ended_already(api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.expire_access_tokens()
    tiktok.refresh_tokens.clear()
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert await db.fetchval("select count(*) from token_revocations") == 0


async def test_connecting_again_renews_the_tokens_and_revokes_nothing(api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    (before,) = await db.fetch(TOKENS)
    await db.execute("update social_media_accounts set needs_reconnect = true")
    await connect_oauth(api, tiktok, sakura)
    (after,) = await db.fetch(TOKENS)
    assert after["id"] == before["id"]
    assert after["refresh_token"] != before["refresh_token"]
    assert after["needs_reconnect"] is False
    assert tiktok.count("revoke") == 0


async def test_another_tiktok_account_replaces_the_former_and_revokes_it(api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    await connect_oauth(api, tiktok, sakura, "yuki.hairstyle")
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert account["username"] == "yuki.hairstyle"
    assert [grant.username for grant in tiktok.access_tokens.values()] == ["yuki.hairstyle"]


async def test_a_slow_revocation_of_the_former_account_does_not_fail_the_new_one(api, people, tiktok, db, monkeypatch):
    deadlines = []

    def timeout(seconds: float) -> asyncio.Timeout:
        deadlines.append(asyncio.timeout(seconds))
        return deadlines[-1]

    async def takes_too_long(*_) -> None:
        if deadlines[-1].when() is not None:
            raise asyncio.CancelledError

    monkeypatch.setattr(
        "handlers.social_media.tiktok_oauth.asyncio", SimpleNamespace(timeout=timeout, Timeout=asyncio.Timeout)
    )
    monkeypatch.setattr("handlers.social_media.tiktok_oauth.revoke_now", takes_too_long)
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    assert await connect_oauth(api, tiktok, sakura, "yuki.hairstyle") == {"tiktok": "connected"}
    assert "yuki.hairstyle" in {grant.username for grant in tiktok.access_tokens.values()}
    assert len(deadlines) == 2


async def test_a_public_account_becomes_an_oauth_account_and_the_reverse(api, people, tiktok, apify, db):
    sakura = await people.influencer()
    public = await connect(api, sakura, platform="tiktok")
    await connect_oauth(api, tiktok, sakura)
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert (account["id"], account["connection"], account["isVerified"]) == (public["id"], "OAUTH", True)
    # Connecting the same handle by name keeps its data.
    again = await connect(api, sakura, platform="tiktok")
    assert (again["connection"], again["isVerified"]) == ("OAUTH", True)
    assert len(tiktok.access_tokens) == 1
    # Another one is another account.
    other = await connect(api, sakura, "yuki.hairstyle", "tiktok")
    assert (other["connection"], other["isVerified"]) == ("PUBLIC", False)
    assert not tiktok.access_tokens
    (row,) = await db.fetch(TOKENS)
    assert (row["access_token"], row["refresh_token"], row["token_expires_at"]) == (None, None, None)


async def test_a_handle_that_another_has_proven(api, people, tiktok, apify, db):
    sakura, thief = await people.influencer(), await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    result = await connect_oauth(api, tiktok, thief)
    assert result == {"tiktok": "error", "reason": "handle_taken"}
    assert [grant.username for grant in tiktok.access_tokens.values()] == [SAKURA]  # the attacker's grant is revoked


async def test_consent_ends_claims_without_proof(api, people, tiktok, apify):
    sakura, thief = await people.influencer(), await people.influencer()
    await connect(api, thief, platform="tiktok")
    assert await connect_oauth(api, tiktok, sakura) == {"tiktok": "connected"}
    assert (await api.get("/social-media/accounts", thief)).data == []
    assert (await api.get("/notifications", thief)).data[0]["type"] == "SYSTEM"


async def test_a_sync_uses_the_tokens_and_renews_them_on_the_way(api, people, tiktok, apify, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    tiktok.expire_access_tokens()
    tiktok.users[SAKURA] = {"follower_count": 50_000}
    answer = await api.post("/social-media/tiktok/public/sync", {"accountId": account["id"]}, sakura)
    assert (answer.status, answer.body["cached"], answer.data["followersCount"]) == (200, False, 50_000)
    assert tiktok.count("POST /v2/oauth/token") == 2
    assert apify.runs_started == 0


async def test_a_sync_of_what_the_person_has_withdrawn(api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    tiktok.access_tokens.clear()
    tiktok.refresh_tokens.clear()
    body = {"accountId": account["id"]}
    answer = await api.post("/social-media/tiktok/public/sync", body, sakura)
    assert (answer.status, answer.code) == (409, "NEEDS_RECONNECT")
    assert (await api.get("/social-media/accounts", sakura)).data[0]["needsReconnect"] is True
    assert (await api.post("/social-media/tiktok/public/sync", body, sakura)).code == "NEEDS_RECONNECT"
    assert len((await api.get("/notifications", sakura)).data) == 1  # delivered once


async def test_two_concurrent_syncs_use_one_refresh_token(api, other_api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    tiktok.expire_access_tokens()
    body = {"accountId": account["id"]}
    answers = await asyncio.gather(
        *(one.post("/social-media/tiktok/public/sync", body, sakura) for one in (api, other_api, api))
    )
    assert {answer.status for answer in answers} <= {200, 409}
    assert 200 in {answer.status for answer in answers}
    assert all(answer.code == "CONFLICT" for answer in answers if answer.status == 409)
    (row,) = await db.fetch(TOKENS)
    assert row["needs_reconnect"] is False


async def test_tokens_copied_to_another_row_do_not_open(api, people, tiktok, db):
    sakura, thief = await people.influencer(), await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    await connect_oauth(api, tiktok, thief, "yuki.hairstyle")
    await db.execute(
        "update social_media_accounts a set access_token = b.access_token, refresh_token = b.refresh_token"
        " from social_media_accounts b where a.username = 'yuki.hairstyle' and b.username = $1",
        SAKURA,
    )
    account = (await api.get("/social-media/accounts", thief)).data[0]
    await age(db, 8)
    calls = tiktok.count("user/info")
    answer = await api.post("/social-media/tiktok/public/sync", {"accountId": account["id"]}, thief)
    assert (answer.status, answer.code) == (409, "NEEDS_RECONNECT")
    assert tiktok.count("user/info") == calls
