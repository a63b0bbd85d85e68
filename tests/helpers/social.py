"""Connect both instances to stand-ins of the vendors; steps that tests of social accounts share."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from pydantic import SecretStr

from db.queries.social.tiktok_tokens import TikTokTokens
from server import Instance
from services.apify import runs as apify_service
from services.resources import make_scrapes
from services.tiktok.account_tokens import TikTokAccounts
from services.tiktok.oauth import TikTokOAuth
from tests.vendors import apify, tiktok

SAKURA = "sakura.nails_tokyo"
START = "POST .*/runs$"


@contextmanager
def wire_apify(
    io_loop: Any, instances: list[Instance], monkeypatch: pytest.MonkeyPatch, **changes: Any
) -> Iterator[Any]:
    """Start a stand-in for Apify and point these instances to it, with `changes` to their settings."""
    monkeypatch.setattr(apify_service, "RETRY_SECONDS", 0.01)
    vendor = apify.Apify()
    io_loop.run_sync(lambda: run(vendor.listen))
    given = {"apify_api_url": vendor.url, "apify_api_token": SecretStr(apify.TOKEN)}
    for instance in instances:
        settings = instance.settings.model_copy(update=given)
        monkeypatch.setattr(instance.services, "scrapes", make_scrapes(settings, instance.db))
    yield vendor
    for instance in instances:
        io_loop.run_sync(instance.services.scrapes.close)
    io_loop.run_sync(vendor.close)


@contextmanager
def wire_tiktok(io_loop: Any, instances: list[Instance], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    vendor = tiktok.TikTok()
    io_loop.run_sync(lambda: run(vendor.listen))
    given = {
        "tiktok_auth_url": vendor.auth_url,
        "tiktok_api_url": vendor.url,
        "tiktok_client_key": tiktok.CLIENT_KEY,
        "tiktok_client_secret": SecretStr(tiktok.CLIENT_SECRET),
    }
    for instance in instances:
        oauth = TikTokOAuth.from_settings(instance.settings.model_copy(update=given))
        accounts = TikTokAccounts(oauth, instance.services.encryption, TikTokTokens(instance.db))
        monkeypatch.setattr(instance.services, "tiktok", accounts)
    yield vendor
    for instance in instances:
        io_loop.run_sync(instance.services.tiktok.oauth.close)
    io_loop.run_sync(vendor.close)


async def run(act: Any) -> None:
    act()


async def connect(api, person, username: str = SAKURA, platform: str = "instagram") -> dict[str, Any]:
    path = "/social-media/instagram/connect" if platform == "instagram" else "/social-media/tiktok/connect-public"
    return (await api.post(path, {"username": username}, person)).data


def end_runs(apify: Any, status: str = "SUCCEEDED") -> None:
    for run in list(apify.runs.values()):
        run.end(status)


async def age(db, days: float) -> None:
    """Make the accounts' data this many days old."""
    await db.execute(
        "update social_media_accounts set last_synced_at = last_synced_at - make_interval(secs => $1),"
        " next_sync_at = next_sync_at - make_interval(secs => $1)",
        days * 86400,
    )
    await db.execute("update scrape_runs set finished_at = finished_at - make_interval(secs => $1)", days * 86400)


async def begin_oauth(api, person) -> str:
    """Return the address at TikTok to which the user is redirected."""
    answer = await api.get("/social-media/tiktok/auth", person)
    assert answer.status == 200, answer
    return answer.body["authUrl"]


def state_of(auth_url: str) -> str:
    return parse_qs(urlsplit(auth_url).query)["state"][0]


async def come_back(api, **query: str) -> dict[str, str]:
    """Return the parameters of the redirect to the web client."""
    answer = await api.get(f"/social-media/tiktok/oauth/callback?{urlencode(query)}")
    return landed(answer)


def landed(answer) -> dict[str, str]:
    assert answer.status == 302, answer
    target = urlsplit(answer.headers["Location"])
    assert f"{target.scheme}://{target.netloc}{target.path}" == "http://app.example.com/social-media"
    return {name: values[0] for name, values in parse_qs(target.query).items()}


async def connect_oauth(api, vendor, person, username: str = SAKURA, granted: str | None = None) -> dict[str, str]:
    auth_url = await begin_oauth(api, person)
    code = vendor.approve(auth_url, username, granted)
    return await come_back(api, code=code, state=state_of(auth_url))
