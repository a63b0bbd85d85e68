"""A reload of the page that TikTok redirects to: it redirects again, without another exchange of the code."""

import asyncio

import pytest

from tests.helpers.social import begin_oauth, come_back, state_of

CONNECTED = {"tiktok": "connected"}
INVALID = {"tiktok": "error", "reason": "invalid_state"}
TOKEN = "POST /v2/oauth/token"


async def test_a_reload_is_redirected_as_the_first(api, other_api, people, tiktok, db):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}
    assert await come_back(api, **answer) == CONNECTED
    calls = len(tiktok.calls)
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    revoked = len(tiktok.calls)
    assert revoked > calls
    for one in (api, other_api, api):
        assert await come_back(one, **answer) == CONNECTED
    assert len(tiktok.calls) == revoked and tiktok.count(TOKEN) == 1
    assert await db.fetchval("select count(*) from social_media_accounts") == 0
    another = {"code": tiktok.approve(auth_url), "state": answer["state"]}
    assert await come_back(other_api, **another) == INVALID
    assert await come_back(api, error="access_denied", state=answer["state"]) == INVALID
    assert await come_back(api, state=answer["state"]) == INVALID
    assert tiktok.count(TOKEN) == 1


async def test_reloads_while_the_first_goes_on_wait_for_it(api, other_api, people, tiktok):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}
    outcomes = await asyncio.gather(*(come_back(one, **answer) for one in (api, other_api) * 3))
    assert outcomes == [CONNECTED] * 6
    assert tiktok.count(TOKEN) == 1


@pytest.mark.parametrize(
    ("failure", "where"), [("invalid_grant", "token"), ("server_error", "token"), ("no_data", "user/info")]
)
async def test_a_reload_of_a_failure_asks_nothing(api, other_api, people, tiktok, failure, where):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}
    tiktok.fail(failure, where, times=1)
    first = await come_back(api, **answer)
    assert first["tiktok"] == "error"
    calls = len(tiktok.calls)
    assert await come_back(other_api, **answer) == await come_back(api, **answer) == first
    assert len(tiktok.calls) == calls


async def test_a_reload_of_a_refusal(api, other_api, people, tiktok):
    state = state_of(await begin_oauth(api, await people.influencer()))
    for one in (api, other_api):
        assert await come_back(one, error="access_denied", state=state) == {"tiktok": "error", "reason": "denied"}
    assert await come_back(api, code="x", state=state) == INVALID
    assert tiktok.count(TOKEN) == 0


async def test_a_reload_after_the_instance_died(api, people, tiktok, db):
    auth_url = await begin_oauth(api, await people.influencer())
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}
    assert await come_back(api, **answer) == CONNECTED
    await db.execute("update oauth_states set outcome = null, answered_at = now() - interval '61 seconds'")
    assert await come_back(api, **answer) == {"tiktok": "error", "reason": "unavailable"}
    assert tiktok.count(TOKEN) == 1


async def test_a_reload_after_ten_minutes(api, people, tiktok, db):
    auth_url = await begin_oauth(api, await people.influencer())
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}
    assert await come_back(api, **answer) == CONNECTED
    await db.execute("update oauth_states set expires_at = now()")
    assert await come_back(api, **answer) == INVALID


async def test_a_defect_is_an_outcome_too(api, people, tiktok, monkeypatch):
    auth_url = await begin_oauth(api, await people.influencer())
    answer = {"code": tiktok.approve(auth_url), "state": state_of(auth_url)}

    async def breaks(self, *_):
        raise RuntimeError("secret words")

    monkeypatch.setattr("handlers.social_media.tiktok_oauth.OAuthCallback.sign_in", breaks)
    assert await come_back(api, **answer) == {"tiktok": "error", "reason": "internal"}
    monkeypatch.undo()
    assert await come_back(api, **answer) == {"tiktok": "error", "reason": "internal"}
