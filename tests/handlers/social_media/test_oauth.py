"""The sign-in at TikTok through our routes: the state, the tokens, the redirects and the disconnection."""

import asyncio
import base64
import json
import time

import jwt
import pytest

from db.queries.sessions import end_sessions
from services.tiktok.oauth_states import OAuthState
from settings import Limit
from tests.helpers.social import (
    SAKURA,
    begin_oauth,
    come_back,
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
    assert await db.fetchval("select count(*) from oauth_states where answer_hash is null") == 1  # was never used


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
        *(
            come_back(one, code=code, state=state_of(auth_url))
            for one, code in zip((api, other_api) * 2, codes, strict=True)
        )
    )
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
            "tiktok": "error",
            "reason": "invalid_state",
        }
    assert tiktok.count("POST") == 0
    # A state does not work as an access token.
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
        api.instance.sessions.cached.clear()
    await api.instance.sessions.check_now()
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
        ("disconnect", "token", "unavailable"),
        ("server_error", "user/info", "unavailable"),
        ("no_data", "user/info", "unavailable"),
        ("scope_missing", "video/list", "refused"),
        ("huge", "user/info", "unavailable"),
    ],
)
async def test_every_failure_of_tiktok_redirects_to_a_page(api, people, tiktok, db, failure, where, reason):
    sakura = await people.influencer()
    auth_url = await begin_oauth(api, sakura)
    tiktok.fail(failure, where, times=9)
    result = await come_back(api, code=tiktok.approve(auth_url), state=state_of(auth_url))
    assert result == {"tiktok": "error", "reason": reason}
    assert await db.fetchval("select count(*) from social_media_accounts") == 0
    if where != "token":  # an unused grant is revoked
        assert not tiktok.access_tokens


async def test_choices_of_users_at_tiktok(api, people, tiktok):
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


async def test_a_defect_redirects_too(api, people, tiktok, monkeypatch):
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


async def test_a_stolen_code_is_useless_without_its_verifier(api, people, tiktok):
    sakura, thief = await people.influencer(), await people.influencer()
    code = tiktok.approve(await begin_oauth(api, sakura))
    own = await begin_oauth(api, thief)
    assert (await come_back(api, code=code, state=state_of(own)))["tiktok"] == "error"
    assert (await api.get("/social-media/accounts", thief)).data == []
