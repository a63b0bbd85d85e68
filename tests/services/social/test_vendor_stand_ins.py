"""The stand-ins themselves: what no other test uses, and the program of the demonstration."""

import asyncio
import re
import signal
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import cloudinary.exceptions
import cloudinary.uploader
import pytest
from tornado.httpclient import AsyncHTTPClient, HTTPClientError

from services.apify.runs import ApifyActors
from services.social.instagram import InstagramProfiles
from services.tiktok.oauth import TikTokOAuth, new_pkce_pair
from tests.vendors.cloudinary import API_KEY, API_SECRET, CLOUD_NAME, Cloudinary
from tests.vendors.tiktok import CLIENT_KEY, CLIENT_SECRET, TikTok

PNG = bytes.fromhex("89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489")
ROOT = Path(__file__).parents[3]


def options(vendor: Cloudinary, **more):
    account = {"cloud_name": CLOUD_NAME, "api_key": API_KEY, "api_secret": API_SECRET}
    return {**account, "upload_prefix": vendor.url, "timeout": 10, **more}


async def upload(vendor: Cloudinary, content: bytes, **more):
    return await asyncio.to_thread(cloudinary.uploader.upload, content, **options(vendor, **more))


async def fetch(url: str, **request):
    return await AsyncHTTPClient().fetch(url, raise_error=False, follow_redirects=False, **request)


async def test_cloudinary_keeps_serves_and_forgets_a_picture():
    async with Cloudinary() as vendor:
        answer = await upload(vendor, PNG, folder="influencer-profiles", public_id="a&b=c", tags=["x", "y"])
        assert answer["public_id"] == "influencer-profiles/a&b=c"
        assert (answer["format"], answer["bytes"], answer["resource_type"]) == ("png", len(PNG), "image")
        delivered = await fetch(answer["secure_url"])
        assert (delivered.code, delivered.body) == (200, PNG)
        assert delivered.headers["Content-Type"] == "image/png"
        for result in ("ok", "not found"):
            answer_ = await asyncio.to_thread(cloudinary.uploader.destroy, answer["public_id"], **options(vendor))
            assert answer_["result"] == result
        assert (await fetch(answer["secure_url"])).code == 404


async def test_cloudinary_takes_other_files_as_raw():
    async with Cloudinary() as vendor:
        answer = await upload(vendor, b"%PDF-1.7", resource_type="auto", folder="chat")
        assert answer["resource_type"] == "raw"
        assert (await fetch(answer["secure_url"])).body == b"%PDF-1.7"
        with pytest.raises(cloudinary.exceptions.BadRequest):
            await upload(vendor, b"%PDF-1.7")


@pytest.mark.parametrize("wrong", [{"api_secret": "guess"}, {"api_key": "guess"}, {"cloud_name": "guess"}])
async def test_cloudinary_checks_who_asks(wrong):
    async with Cloudinary() as vendor:
        with pytest.raises(cloudinary.exceptions.AuthorizationRequired):
            await upload(vendor, PNG, **wrong)
        assert not vendor.assets


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("bad_signature", cloudinary.exceptions.AuthorizationRequired),
        ("rate_limited", cloudinary.exceptions.RateLimited),
        ("too_large", cloudinary.exceptions.BadRequest),
        ("server_error", cloudinary.exceptions.GeneralError),
        ("bad_gateway", cloudinary.exceptions.Error),
        ("nonsense", cloudinary.exceptions.Error),
        ("disconnect", cloudinary.exceptions.Error),
    ],
)
async def test_cloudinary_fails_on_demand(failure, error):
    async with Cloudinary() as vendor:
        vendor.fail_with = failure
        with pytest.raises(error):
            await upload(vendor, PNG)


async def test_tiktoks_page_lets_one_allow_and_cancel():
    async with TikTok() as vendor:
        callback = "http://127.0.0.1:9/callback"
        oauth = TikTokOAuth(CLIENT_KEY, CLIENT_SECRET, callback, vendor.auth_url, vendor.url)
        pkce = new_pkce_pair(callback)
        url = oauth.authorize_url('a"state', pkce.challenge)
        page = (await fetch(url)).body.decode()
        links = [link.replace("&amp;", "&") for link in re.findall('href="([^"]+)"', page)]
        allowed = await fetch(vendor.auth_url + "/" + links[0])
        assert allowed.code == 302
        assert allowed.headers["Location"].startswith(f"{callback}?state=a%22state&code=")
        [code] = parse_qs(urlsplit(allowed.headers["Location"]).query)["code"]
        assert (await oauth.exchange(code, pkce.verifier)).open_id
        cancelled = await fetch(vendor.auth_url + "/" + links[-1])
        assert "error=access_denied" in cancelled.headers["Location"]
        assert (await fetch(url.replace(CLIENT_KEY, "guess"))).code == 400


async def test_the_stand_ins_serve_alone():
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.vendors", "0", cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    try:
        settings: dict[str, str] = {}
        while "# RESEND_API_KEY" not in settings:
            line = await asyncio.wait_for(process.stdout.readline(), 30)
            name, _, value = line.decode().strip().partition("=")
            settings[name] = value
        url = settings["APIFY_API_URL"]
        await AsyncHTTPClient().fetch(f"{url}/demo/bio/yuki.hairstyle", method="PUT", body="コード ENCER-1234")
        actors = ApifyActors(settings["APIFY_API_TOKEN"], url, 20)
        profile = await InstagramProfiles(actors, "apify/instagram-profile-scraper").fetch("yuki.hairstyle")
        assert profile.biography == "コード ENCER-1234"
        plan = '{"what": "server_error", "where": "POST"}'
        await AsyncHTTPClient().fetch(f"{url}/demo/fail", method="POST", body=plan)
        with pytest.raises(HTTPClientError, match="500"):
            await AsyncHTTPClient().fetch(
                f"{url}/v2/acts/x/runs",
                method="POST",
                body="{}",
                headers={"Authorization": f"Bearer {settings['APIFY_API_TOKEN']}"},
            )
        for name in ("TIKTOK_API_URL", "CLOUDINARY_UPLOAD_PREFIX", "RESEND_API_URL"):
            assert (await fetch(settings[name])).code == 404
    finally:
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 10) == 0
