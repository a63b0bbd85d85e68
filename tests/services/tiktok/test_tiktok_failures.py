"""Each failure of TikTok, and the error that the server raises for it."""

import time

import pytest

from services.errors import (
    AccessTokenRefused,
    NeedsReconnect,
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from services.tiktok import oauth as service
from services.tiktok.oauth import TikTokOAuth
from tests.vendors.smtp import free_port
from tests.vendors.tiktok import CLIENT_KEY, CLIENT_SECRET, TikTok

REDIRECT = "http://127.0.0.1:3000/api/v1/social-media/tiktok/oauth/callback"
SHORT = 0.4  # seconds; the bound of a client


def client(vendor: TikTok) -> TikTokOAuth:
    return TikTokOAuth(CLIENT_KEY, CLIENT_SECRET, REDIRECT, vendor.auth_url, vendor.url)


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("invalid_grant", NeedsReconnect),
        ((200, {"error": "invalid_grant", "error_description": "words"}), NeedsReconnect),
        ((400, {"error": "access_denied"}), NeedsReconnect),
        ("invalid_client", VendorRefused),
        ("invalid_request", VendorRefused),
        ("rate_limited", VendorRateLimited),
        ((200, {"error": {"code": "rate_limit_exceeded"}}), VendorRateLimited),
        ("server_error", VendorUnavailable),
        ("bad_gateway", VendorUnavailable),
        ("nonsense", UnreadableAnswer),
        ("no_object", UnreadableAnswer),
        ("no_tokens", UnreadableAnswer),
        ((404, "<html>"), UnreadableAnswer),
        ((200, ""), UnreadableAnswer),
        ((200, {"access_token": "act.x", "expires_in": "soon"}), UnreadableAnswer),
        ("huge", VendorUnreachable),
        ("disconnect", VendorUnreachable),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_token_call_that_fails(failure, error):
    async with TikTok() as vendor:
        oauth = client(vendor)
        vendor.fail_with = failure
        with pytest.raises(VendorError) as caught:
            await oauth.refresh("rft.secret")
        assert type(caught.value) is error
        assert len(vendor.calls) == 1  # not repeated, because the lost answer may have been a success
        public = f"{caught.value.error} {caught.value.message}"
        assert "words" not in public
        assert "rft.secret" not in str(caught.value)
        assert CLIENT_SECRET not in str(caught.value)


@pytest.mark.parametrize("call", ["user_info", "videos"])
@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("token_expired", AccessTokenRefused),
        ("scope_missing", NeedsReconnect),
        ("invalid_params", VendorRefused),
        ("rate_limited", VendorRateLimited),
        ("server_error", VendorUnavailable),
        ("bad_gateway", VendorUnavailable),
        ("nonsense", UnreadableAnswer),
        ("no_object", UnreadableAnswer),
        ("no_data", UnreadableAnswer),
        ((200, {"data": {}, "error": {"code": "internal_error"}}), VendorUnavailable),
        ((200, {"data": {}, "error": {"code": "access_token_invalid"}}), AccessTokenRefused),
        ((401, {}), AccessTokenRefused),
        ((200, {"data": {}, "error": "odd"}), VendorUnavailable),
        ((200, {"data": {}, "error": {"code": ["ok"]}}), VendorUnavailable),
        ((200, "[" * 100_000), UnreadableAnswer),
        ("huge", VendorUnreachable),
        ("disconnect", VendorUnreachable),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_a_data_call_that_fails(call, failure, error):
    async with TikTok() as vendor:
        vendor.fail_with = failure
        with pytest.raises(VendorError) as caught:
            await getattr(client(vendor), call)("act.secret")
        assert type(caught.value) is error
        assert "act.secret" not in str(caught.value)


@pytest.mark.parametrize("data", [{"user": None}, {"user": []}, {}])
async def test_user_info_without_a_user(data):
    async with TikTok() as vendor:
        vendor.fail_with = (200, {"data": data, "error": {"code": "ok"}})
        with pytest.raises(UnreadableAnswer):
            await client(vendor).user_info("act")


async def test_an_answer_that_never_comes_is_bounded(monkeypatch):
    monkeypatch.setattr(service, "ANSWER_SECONDS", SHORT)
    async with TikTok() as vendor:
        vendor.fail_with = "hang"
        began = time.monotonic()
        with pytest.raises(VendorTimeout):
            await client(vendor).user_info("act")
        assert time.monotonic() - began < SHORT + 5


async def test_no_server_listens():
    dead = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(VendorUnreachable):
        await TikTokOAuth(CLIENT_KEY, CLIENT_SECRET, REDIRECT, dead, dead).refresh("rft")


async def test_a_redirect_does_not_carry_the_secret_elsewhere():
    async with TikTok() as vendor, TikTok() as elsewhere:
        vendor.fail_with = (307, "", {"Location": f"{elsewhere.url}/v2/oauth/token/"})
        with pytest.raises(UnreadableAnswer):
            await client(vendor).refresh("rft")
        assert not elsewhere.calls


@pytest.mark.parametrize(
    ("header", "seconds"), [("30", 30.0), ("999999999", 3600.0), ("soon", None), ("-5", None), ("", None)]
)
async def test_retry_after_is_followed_and_bounded(header, seconds):
    async with TikTok() as vendor:
        vendor.fail_with = (429, "", {"Retry-After": header})
        with pytest.raises(VendorRateLimited) as caught:
            await client(vendor).refresh("rft")
        assert caught.value.retry_after == seconds
