"""TikTok Login Kit with a stand-in: the grant, its data, its end, and each failure of TikTok."""

import re
from urllib.parse import parse_qsl, urlsplit

import pytest

from services.errors import (
    AccessTokenRefused,
    NeedsReconnect,
    NotConfigured,
    UnreadableAnswer,
    VendorRefused,
)
from services.tiktok import oauth as service
from services.tiktok.oauth import SCOPES, GrantedTokens, TikTokOAuth, new_pkce_pair
from services.tiktok.profiles import read_own_profile
from settings import load_settings
from tests.vendors.people import WRITTEN
from tests.vendors.tiktok import CLIENT_KEY, CLIENT_SECRET, TikTok, challenge

REDIRECT = "http://127.0.0.1:3000/api/v1/social-media/tiktok/oauth/callback"
SHORT = 0.4
SAKURA = WRITTEN[0].username


def client(vendor: TikTok, secret: str | None = CLIENT_SECRET) -> TikTokOAuth:
    return TikTokOAuth(CLIENT_KEY, secret, REDIRECT, vendor.auth_url, vendor.url)


async def connect(
    vendor: TikTok, oauth: TikTokOAuth, username: str = SAKURA, granted: str | None = None
) -> GrantedTokens:
    pkce = new_pkce_pair(oauth.redirect_uri)
    code = vendor.approve(oauth.authorize_url("state", pkce.challenge), username, granted)
    return await oauth.exchange(code, pkce.verifier)


@pytest.mark.parametrize(
    ("redirect_uri", "form"),
    [
        ("https://encer.example/api/v1/social-media/tiktok/oauth/callback", r"[A-Za-z0-9_-]{43}"),
        ("https://localhost.encer.example/callback", r"[A-Za-z0-9_-]{43}"),
        ("http://localhost:3000/callback", r"[0-9a-f]{64}"),
        (REDIRECT, r"[0-9a-f]{64}"),
    ],
)
def test_pkce_pairs_are_those_of_the_standard_for_the_web_and_tiktoks_own_for_the_desktop(redirect_uri, form):
    pair = new_pkce_pair(redirect_uri)
    assert re.fullmatch(r"[A-Za-z0-9._~-]{43,128}", pair.verifier)
    assert re.fullmatch(form, pair.challenge)
    assert pair.challenge == challenge(redirect_uri, pair.verifier)
    assert len({new_pkce_pair(redirect_uri).verifier for _ in range(50)}) == 50


@pytest.mark.parametrize("redirect_uri", [REDIRECT, "https://encer.example/callback"])
async def test_a_code_is_exchanged_on_the_web_and_on_the_desktop(redirect_uri):
    async with TikTok() as vendor:
        oauth = TikTokOAuth(CLIENT_KEY, CLIENT_SECRET, redirect_uri, vendor.auth_url, vendor.url)
        assert (await connect(vendor, oauth)).access_token
        await oauth.close()


def test_the_authorize_url_carries_everything(tmp_path):
    settings = load_settings(
        app_env="test",
        data_dir=tmp_path,
        port=3000,
        public_url="https://encer.example",
        tiktok_client_key=CLIENT_KEY,
        tiktok_client_secret=CLIENT_SECRET,
    )
    url = TikTokOAuth.from_settings(settings).authorize_url("a state&more", "challenge")
    assert url.startswith("https://www.tiktok.com/v2/auth/authorize/?")
    assert dict(parse_qsl(urlsplit(url).query)) == {
        "client_key": CLIENT_KEY,
        "scope": "user.info.basic,user.info.profile,user.info.stats,video.list",
        "response_type": "code",
        "redirect_uri": "https://encer.example/api/v1/social-media/tiktok/oauth/callback",
        "state": "a state&more",
        "code_challenge": "challenge",
        "code_challenge_method": "S256",
    }
    assert CLIENT_SECRET not in url


async def test_the_whole_way_of_a_grant():
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth)
        assert tokens.open_id
        assert not tokens.missing_scopes
        assert 0 < (tokens.expires_at - tokens.received_at).total_seconds() == tokens.expires_in
        assert tokens.refresh_expires_at > tokens.expires_at
        token_call = vendor.calls[-1]
        assert token_call.headers["Content-Type"] == "application/x-www-form-urlencoded"
        assert token_call.body["grant_type"] == "authorization_code"

        user = await oauth.user_info(tokens.access_token)
        videos = await oauth.videos(tokens.access_token)
        profile = read_own_profile(user, videos)
        assert profile.username == SAKURA
        assert profile.platform_user_id == tokens.open_id
        assert profile.followers_count == 48_200
        assert (len(profile.posts), len(profile.metadata["recentVideos"])) == (24, 24)
        assert profile.posts[0].hashtags == ["美容", "ネイルサロン", "Tokyo"]
        assert profile.engagement_rate and profile.engagement_rate > 0
        assert profile.metadata["recentVideos"][0]["coverImageUrl"]

        newer = await oauth.refresh(tokens.refresh_token)
        assert newer.access_token != tokens.access_token
        assert newer.refresh_token != tokens.refresh_token
        await oauth.revoke(newer.access_token)
        with pytest.raises(AccessTokenRefused):
            await oauth.user_info(newer.access_token)
        with pytest.raises(NeedsReconnect):
            await oauth.refresh(newer.refresh_token)
        await oauth.close()


async def test_not_configured_calls_nothing():
    async with TikTok() as vendor:
        oauth = client(vendor, secret=None)
        assert not oauth.configured
        for call in (
            oauth.exchange("code", "verifier"),
            oauth.refresh("rft"),
            oauth.revoke("act"),
            oauth.user_info("act"),
            oauth.videos("act"),
        ):
            with pytest.raises(NotConfigured):
                await call
        with pytest.raises(NotConfigured):
            oauth.authorize_url("state", "challenge")
        assert not vendor.calls


async def test_a_code_works_once():
    async with TikTok() as vendor:
        oauth, pkce = client(vendor), new_pkce_pair(REDIRECT)
        code = vendor.approve(oauth.authorize_url("state", pkce.challenge))
        await oauth.exchange(code, pkce.verifier)
        with pytest.raises(NeedsReconnect):
            await oauth.exchange(code, pkce.verifier)


async def test_a_refresh_token_works_once():
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth)
        await oauth.refresh(tokens.refresh_token)
        with pytest.raises(NeedsReconnect):
            await oauth.refresh(tokens.refresh_token)


async def test_a_code_of_another_browser_is_refused():
    async with TikTok() as vendor:
        oauth = client(vendor)
        code = vendor.approve(oauth.authorize_url("state", new_pkce_pair(REDIRECT).challenge))
        with pytest.raises(VendorRefused):
            await oauth.exchange(code, new_pkce_pair(REDIRECT).verifier)


async def test_our_own_secret_is_wrong():
    """A mistake of the operator asks no user to connect again."""
    async with TikTok() as vendor:
        with pytest.raises(VendorRefused) as caught:
            await client(vendor, secret="wrong-secret").refresh("rft")
        assert type(caught.value) is VendorRefused
        assert "wrong-secret" not in str(caught.value)


async def test_a_scope_that_was_unticked():
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth, granted="user.info.basic,user.info.profile")
        assert tokens.missing_scopes == {"user.info.stats", "video.list"}
        with pytest.raises(NeedsReconnect):
            await oauth.user_info(tokens.access_token)
        with pytest.raises(NeedsReconnect):
            await oauth.videos(tokens.access_token)


async def test_an_expired_access_token_can_be_refreshed():
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth)
        vendor.expire_access_tokens()
        with pytest.raises(AccessTokenRefused) as caught:
            await oauth.user_info(tokens.access_token)
        assert not isinstance(caught.value, NeedsReconnect)
        tokens = await oauth.refresh(tokens.refresh_token)
        assert await oauth.user_info(tokens.access_token)


@pytest.mark.parametrize(("limit", "pages"), [(24, [20, 4]), (20, [20]), (5, [5]), (30, [20, 10])])
async def test_videos_come_in_pages_of_twenty_at_most(limit, pages):
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth)
        videos = await oauth.videos(tokens.access_token, limit)
        assert len({video["id"] for video in videos}) == limit
        calls = [call.body for call in vendor.calls if call.path == "/v2/video/list/"]
        assert [call["max_count"] for call in calls] == pages
        assert "cursor" not in calls[0]


async def test_a_user_without_videos():
    async with TikTok() as vendor:
        oauth = client(vendor)
        tokens = await connect(vendor, oauth, "atarashii.hito")
        videos = await oauth.videos(tokens.access_token)
        profile = read_own_profile(await oauth.user_info(tokens.access_token), videos)
        assert len(videos) == 1
        assert (profile.followers_count, profile.engagement_rate) == (0, 0.0)


@pytest.mark.parametrize("cursor", [5, None, "x", 0])
async def test_a_cursor_that_does_not_move_ends_somewhere(cursor):
    async with TikTok() as vendor:
        page = {"videos": [{"id": "1"}], "cursor": cursor, "has_more": True}
        vendor.fail_with = (200, {"data": page, "error": {"code": "ok"}})
        videos = await client(vendor).videos("act")
        assert 1 <= len(videos) <= service.MAX_PAGES
        assert len(vendor.calls) <= service.MAX_PAGES
        assert len(read_own_profile({"username": "a", "follower_count": 1}, videos).posts) == 1


@pytest.mark.parametrize("user", [{}, {"username": "sakura"}, {"follower_count": 5}, {"username": "", "fans": 1}])
def test_a_user_that_is_none(user):
    with pytest.raises(UnreadableAnswer):
        read_own_profile(user, [])


def test_tokens_do_not_show_in_logs():
    granted = {"access_token": "act.secret", "refresh_token": "rft.secret", "open_id": "o"}
    tokens = GrantedTokens.model_validate({**granted, "expires_in": 5, "refresh_expires_in": 5})
    assert "secret" not in repr(tokens) + str(tokens)
    assert "scope" in repr(tokens)


def test_scopes_are_those_of_the_contract():
    assert SCOPES == "user.info.basic,user.info.profile,user.info.stats,video.list"
