"""Signing in at TikTok through our routes: the state, the tokens, the redirects, and the end of it."""

import asyncio
import base64
import json
import time
from types import SimpleNamespace

import jwt
import pytest

from db.queries.sessions import end_sessions
from services.tiktok.oauth_states import OAuthState
from settings import Limit
from tests.helpers.social import (
    SAKURA,
    age,
    begin_oauth,
    come_back,
    connect,
    connect_oauth,
    landed,
    state_of,
)

CALLBACK = "/social-media/tiktok/oauth/callback"
TOKENS = "select id, access_token, refresh_token, token_expires_at, needs_reconnect from social_media_accounts"


async def test_the_whole_way(api, people, tiktok, db, instance):
    sakura = await people.influencer()
    begun = await api.get("/social-media/tiktok/auth", sakura)
    assert set(begun.body) == {"success", "data", "message", "authUrl"}
    assert await connect_oauth(api, tiktok, sakura) == {"tiktok": "connected"}
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert (account["platform"], account["username"], account["connection"]) == ("TIKTOK", SAKURA, "OAUTH")
    assert (account["isVerified"], account["verificationCode"], account["followersCount"]) == (True, None, 48_200)
    assert len(account["metadata"]["recentVideos"]) == 24
    (row,) = await db.fetch(TOKENS)
    held = set(tiktok.access_tokens) | set(tiktok.refresh_tokens)
    for envelope, column in ((row["access_token"], "access_token"), (row["refresh_token"], "refresh_token")):
        assert not any(token.encode() in envelope for token in held)
        opened = instance.services.encryption.decrypt(envelope, f"social_media_accounts:{row['id']}:{column}")
        assert opened in held
    assert await db.fetchval("select count(*) from oauth_states where answer_hash is null") == 1  # was left unanswered


async def test_tokens_are_in_no_answer_and_no_log(api, people, tiktok, db, capfd):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    answers = [
        await api.get(path, sakura)
        for path in ("/social-media/accounts", f"/social-media/tiktok/public/{account['id']}")
    ]
    tokens = [*tiktok.access_tokens, *tiktok.refresh_tokens, "tiktok-test-secret"]
    seen = "".join(answer.raw.decode() for answer in answers) + "".join(capfd.readouterr())
    assert "request" in seen
    assert not any(token in seen for token in tokens)


async def test_the_web_clients_spelling(api, people, tiktok):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    code = tiktok.approve(auth_url).replace("*", "%2A")
    answer = await api.get(f"/social-media/tiktok/callback?code={code}&state={state_of(auth_url)}")
    assert landed(answer) == {"tiktok": "connected"}


async def test_a_state_works_once(api, other_api, people, tiktok, db):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    codes = [tiktok.approve(auth_url) for _ in range(4)]
    results = await asyncio.gather(
        *(come_back(one, code=code, state=state_of(auth_url))
          for one, code in zip((api, other_api) * 2, codes, strict=True))
    )  # fmt: skip
    outcomes = sorted(result["tiktok"] for result in results)
    assert outcomes == ["connected", "error", "error", "error"]
    assert {result.get("reason") for result in results} == {None, "invalid_state"}
    assert tiktok.count("POST /v2/oauth/token") == 1


async def test_a_state_ends_after_ten_minutes(api, people, tiktok, db, monkeypatch):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    monkeypatch.setattr("services.tiktok.oauth_states.STATE_SECONDS", -1)
    late = api.instance.services.oauth_states.sign(OAuthState(sakura.id, sakura.id, sakura.session_id))
    monkeypatch.undo()
    assert await come_back(api, code="x", state=late) == {"tiktok": "error", "reason": "expired"}
    claims = jwt.decode(state_of(auth_url), options={"verify_signature": False})
    assert 590 < claims["exp"] - time.time() <= 600
    await db.execute("update oauth_states set expires_at = now()")
    code = tiktok.approve(auth_url)
    assert (await come_back(api, code=code, state=state_of(auth_url)))["reason"] == "invalid_state"


def forge(state: str, **changes: str) -> str:
    head, body, signature = state.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    changed = base64.urlsafe_b64encode(json.dumps({**claims, **changes}).encode()).decode().rstrip("=")
    return f"{head}.{changed}.{signature}"


async def test_states_that_are_not_ours(api, people, tiktok):
    sakura, thief = await people.influencer(), await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    state = state_of(auth_url)
    unsigned = jwt.encode(jwt.decode(state, options={"verify_signature": False}), "", algorithm="none")
    for bad in ("", "x", "a.b.c", forge(state, sub=thief.id), forge(state, sid=thief.session_id), unsigned,
                thief.token, state[:-2], "\x00", "桜" * 100, state * 3):  # fmt: skip
        assert await come_back(api, code=tiktok.approve(auth_url), state=bad) == {
            "tiktok": "error", "reason": "invalid_state",
        }  # fmt: skip
    assert tiktok.count("POST") == 0
    # A state is no access token either.
    sakura.token = state
    assert (await api.get("/social-media/accounts", sakura)).status == 401


@pytest.mark.parametrize("ending", ["logged out", "suspended", "demoted"])
async def test_a_session_that_has_ended_meanwhile(api, people, tiktok, db, ending):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    if ending == "logged out":
        await end_sessions(db, sakura.id, "LOGGED_OUT")
    elif ending == "suspended":
        await db.execute("update users set status = 'SUSPENDED' where id = $1", sakura.id)
        await end_sessions(db, sakura.id, "SUSPENDED")
    else:
        await db.execute("update users set role = 'SALON' where id = $1", sakura.id)
        api.instance.sessions.remembered.clear()
    await api.instance.sessions.settle()
    result = await come_back(api, code=tiktok.approve(auth_url), state=state_of(auth_url))
    assert result == {"tiktok": "error", "reason": "session_ended"}
    assert tiktok.count("POST") == 0


@pytest.mark.parametrize(
    ("failure", "where", "reason"),
    [
        ("invalid_grant", "token", "refused"),
        ("invalid_client", "token", "misconfigured"),
        ("server_error", "token", "unavailable"),
        ("rate_limited", "token", "unavailable"),
        ("nonsense", "token", "unavailable"),
        ("no_tokens", "token", "unavailable"),
        ("hang_up", "token", "unavailable"),
        ("server_error", "user/info", "unavailable"),
        ("no_data", "user/info", "unavailable"),
        ("scope_missing", "video/list", "refused"),
        ("huge", "user/info", "unavailable"),
    ],
)
async def test_whatever_tiktok_does_the_person_lands_on_a_page(api, people, tiktok, db, failure, where, reason):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    tiktok.fail(failure, where, times=9)
    result = await come_back(api, code=tiktok.approve(auth_url), state=state_of(auth_url))
    assert result == {"tiktok": "error", "reason": reason}
    assert await db.fetchval("select count(*) from social_media_accounts") == 0
    if where != "token":  # a grant that led nowhere is given back
        assert not tiktok.access_tokens


async def test_what_people_do_at_tiktok(api, people, tiktok):
    sakura = await people.influencer()
    denied = await come_back(
        api, error="access_denied", error_description="x", state=state_of(await begin_oauth(api, sakura))
    )
    assert denied == {"tiktok": "error", "reason": "denied"}
    other = await come_back(api, error="server_error", state=state_of(await begin_oauth(api, sakura)))
    assert other == {"tiktok": "error", "reason": "refused"}
    assert (await come_back(api, state=state_of(await begin_oauth(api, sakura))))["reason"] == "refused"
    unticked = await connect_oauth(api, tiktok, sakura, granted="user.info.basic,user.info.profile")
    assert unticked == {"tiktok": "error", "reason": "missing_permissions"}
    assert not tiktok.access_tokens


async def test_odd_callbacks_are_redirects_too(api, tiktok, monkeypatch, limit):

    for query in (
        "",
        "?state",
        "?code=%ff%fe&state=%00",
        "?" + "&".join(f"a{n}=1" for n in range(60)),
        "?state=" + "x" * 5000,
    ):
        assert landed(await api.get(CALLBACK + query))["tiktok"] == "error"
    assert (await api.call("HEAD", CALLBACK)).status == 200
    limit("limit_general", Limit(1, 900))
    assert [landed(await api.get(CALLBACK))["reason"] for _ in range(2)] == ["invalid_state", "rate_limited"]


async def test_a_defect_of_ours_is_a_redirect_too(api, people, tiktok, monkeypatch):
    def breaks(self, text):
        raise RuntimeError("secret words")

    monkeypatch.setattr("handlers.social_media.tiktok_oauth.OAuthCallback.read_state", breaks)
    answer = await api.get(CALLBACK + "?state=x&code=y")
    assert landed(answer) == {"tiktok": "error", "reason": "internal"}
    assert "secret" not in answer.raw.decode() + str(dict(answer.headers))


async def test_without_keys_the_callback_still_redirects(api, people):
    assert landed(await api.get(CALLBACK + "?state=x&code=y"))["tiktok"] == "error"


async def test_who_may_not_begin(api, people, tiktok):
    for someone in (await people.salon(), await people.admin(), None):
        assert (await api.get("/social-media/tiktok/auth", someone)).status == (403 if someone else 401)


async def test_a_sixth_sign_in_ends_the_first(api, people, tiktok, db):
    sakura = await people.influencer()
    urls = [await begin_oauth(api, sakura) for _ in range(6)]
    assert await db.fetchval("select count(*) from oauth_states") == 5
    first = await come_back(api, code=tiktok.approve(urls[0]), state=state_of(urls[0]))
    assert first["reason"] == "invalid_state"
    assert (await come_back(api, code=tiktok.approve(urls[5]), state=state_of(urls[5]))) == {"tiktok": "connected"}


async def test_a_stolen_code_is_of_no_use_without_its_verifier(api, people, tiktok):
    sakura, thief = await people.influencer(), await people.influencer()
    code = tiktok.approve(await begin_oauth(api, sakura))
    own = await begin_oauth(api, thief)
    assert (await come_back(api, code=code, state=state_of(own)))["tiktok"] == "error"
    assert (await api.get("/social-media/accounts", thief)).data == []


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


@pytest.mark.parametrize("failure", ["server_error", "hang_up", "hang"])
async def test_disconnecting_while_tiktok_is_away(api, people, tiktok, db, monkeypatch, failure):
    """The account goes at once; what is left to revoke is remembered."""
    monkeypatch.setattr("services.tiktok.revocations.REVOKE_SECONDS", 0.2)
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    tiktok.fail(failure, "revoke")
    assert (await api.delete("/social-media/tiktok", sakura)).status == 200
    assert (await api.get("/social-media/accounts", sakura)).data == []
    assert tiktok.access_tokens
    assert await db.fetchval("select count(*) from token_revocations") == 1


async def test_disconnecting_long_after_the_last_sync_ends_the_grant_too(api, people, tiktok, db):
    """An access token lives for hours, the grant for months."""
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


async def test_a_slow_revocation_of_the_former_account_does_not_cost_the_new_one(api, people, tiktok, db, monkeypatch):
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
    # The same handle by name keeps what it has.
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
    assert [grant.username for grant in tiktok.access_tokens.values()] == [SAKURA]  # the thief's grant is given back


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
    assert len((await api.get("/notifications", sakura)).data) == 1  # told once


async def test_two_syncs_at_once_spend_one_refresh_token(api, other_api, people, tiktok, db):
    sakura = await people.influencer()
    await connect_oauth(api, tiktok, sakura)
    account = (await api.get("/social-media/accounts", sakura)).data[0]
    await age(db, 8)
    tiktok.expire_access_tokens()
    body = {"accountId": account["id"]}
    answers = await asyncio.gather(*(
        one.post("/social-media/tiktok/public/sync", body, sakura) for one in (api, other_api, api)
    ))  # fmt: skip
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
