"""Actor runs through the real SDK, against a stand-in: the result of each state of the vendor."""

import asyncio
import gzip
import logging

import pytest

from services.apify import runs as service
from services.apify.runs import ApifyActors, StartedRun
from services.errors import (
    ActorFailed,
    ActorTimedOut,
    EmptyDataset,
    NotConfigured,
    OutOfCredit,
    ProfileNotFound,
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from tests.helpers.scrapes import GENEROUS, actors, scrape
from tests.vendors.apify import TOKEN, Apify
from tests.vendors.smtp import free_port

GZIP_BOMB = gzip.compress(bytes(50_000_000), mtime=0)
START, POLL, READ = "POST .*/runs$", "GET /v2/actor-runs/", "GET /v2/datasets/"


@pytest.fixture(autouse=True)
def quick_retries(monkeypatch):
    monkeypatch.setattr(service, "RETRY_SECONDS", 0.01)


async def test_a_scrape_starts_one_run_and_reports_its_id_before_it_waits():
    async with Apify() as vendor:
        received: list[StartedRun] = []

        async def on_started(run: StartedRun) -> None:
            assert vendor.count(POLL) == 0
            received.append(run)

        items = await scrape(actors(vendor), on_started=on_started)
        assert items[0]["username"] == "sakura.nails_tokyo"
        assert [run.id for run in received] == list(vendor.runs)
        start = next(call for call in vendor.calls if call.method == "POST")
        assert start.path == "/v2/actors/apify~instagram-profile-scraper/runs"
        assert start.body == {"usernames": ["sakura.nails_tokyo"]}
        # The vendor ends the run after our timeout, and bills only the items that are read.
        assert start.query == {"timeout": "30", "maxItems": "1"}


async def test_without_a_token_no_request_is_sent():
    async with Apify() as vendor:
        client = actors(vendor, token=None)
        assert not client.configured
        with pytest.raises(NotConfigured):
            await scrape(client)
        with pytest.raises(NotConfigured):
            await client.resume("some-run", 1)
        assert not vendor.calls
        await client.close()


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("bad_token", VendorRefused),
        ("forbidden", VendorRefused),
        ("not_rented", VendorRefused),
        ("out_of_credit", OutOfCredit),
        ("usage_limit", OutOfCredit),
        ("out_of_memory", VendorRateLimited),
        ("rate_limited", VendorRateLimited),
        ("server_error", VendorUnavailable),
        ("bad_gateway", VendorUnavailable),
        ("nonsense", UnreadableAnswer),
        ("half_json", UnreadableAnswer),
        ("no_run", UnreadableAnswer),
        ("disconnect", VendorUnreachable),
        ((404, {"error": {"type": "record-not-found", "message": "Actor was not found"}}), VendorRefused),
        ((408, ""), VendorTimeout),
        ((200, "[" * 100_000), UnreadableAnswer),
        ((200, b" " * 2_000_000), UnreadableAnswer),
        ((500, b" " * 2_000_000), UnreadableAnswer),
        ((200, GZIP_BOMB, {"Content-Encoding": "gzip"}), UnreadableAnswer),
    ],
    ids=lambda value: str(value)[:30],
)
async def test_a_start_that_is_refused(failure, error):
    async with Apify() as vendor:
        vendor.fail(failure, START, times=99)
        with pytest.raises(VendorError) as caught:
            await scrape(actors(vendor))
        assert type(caught.value) is error
        assert vendor.runs_started == 0
        assert_safe(caught.value)


def assert_safe(error: VendorError) -> None:
    """Check that a client gets neither the vendor's text nor our token, and that the log has no token."""
    public = f"{error.error} {error.message} {error.code} {error.reason}"
    assert error.detail
    assert not any(word in public.lower() for word in ("apify", "usage", "vendor", "token", error.detail.lower()))
    assert TOKEN not in str(error)


async def test_our_token_is_refused():
    async with Apify() as vendor:
        with pytest.raises(VendorRefused) as caught:
            await scrape(actors(vendor, token="apify_api_wrong"))
        assert "apify_api_wrong" not in str(caught.value)


@pytest.mark.parametrize("failure", ["server_error", "bad_gateway", "nonsense", "disconnect", "lose_answer"])
async def test_a_start_that_may_have_been_accepted_is_not_repeated(failure):
    """A second start would be a second paid run."""
    async with Apify() as vendor:
        vendor.fail(failure, START)
        with pytest.raises(VendorUnavailable):
            await scrape(actors(vendor))
        assert vendor.count(START) == 1


async def test_a_refused_start_is_repeated():
    async with Apify() as vendor:
        vendor.fail("rate_limited", START, times=2)
        assert await scrape(actors(vendor))
        assert vendor.runs_started == 1


async def test_no_server_listens():
    with pytest.raises(VendorUnreachable):
        await scrape(ApifyActors(TOKEN, f"http://127.0.0.1:{free_port()}", GENEROUS))


@pytest.mark.parametrize(
    ("username", "error"),
    [
        ("broken.actor", ActorFailed),
        ("slow.actor", ActorTimedOut),
        ("aborted.actor", ActorFailed),
        ("nothing.here", EmptyDataset),
        ("no_json", UnreadableAnswer),
        ("no_list", UnreadableAnswer),
        ("huge", UnreadableAnswer),
    ],
)
async def test_a_run_that_fails(username, error):
    async with Apify() as vendor:
        vendor.behaviours |= {name: name for name in ("no_json", "no_list", "huge")} | {"aborted.actor": "aborted"}
        with pytest.raises(VendorError) as caught:
            await scrape(actors(vendor), username)
        assert type(caught.value) is error
        assert vendor.runs_started == 1
        assert_safe(caught.value)


def test_an_empty_dataset_is_also_a_profile_that_is_not_there():
    assert issubclass(EmptyDataset, ProfileNotFound)


@pytest.mark.parametrize("failure", ["server_error", "rate_limited", "disconnect", "bad_gateway"])
@pytest.mark.parametrize("where", [POLL, READ])
async def test_a_short_failure_during_the_wait_has_no_effect(failure, where):
    async with Apify() as vendor:
        vendor.fail(failure, where, times=2)
        assert await scrape(actors(vendor))
        assert vendor.runs_started == 1
        assert vendor.aborted == []


@pytest.mark.parametrize(
    ("failure", "error"),
    [
        ("server_error", VendorUnavailable),
        ("rate_limited", VendorRateLimited),
        ("disconnect", VendorUnreachable),
        ("bad_token", VendorRefused),
    ],
)
@pytest.mark.parametrize("where", [POLL, READ])
async def test_an_outage_while_waiting_ends_after_a_few_tries(failure, error, where):
    async with Apify() as vendor:
        vendor.fail(failure, where, times=99)
        with pytest.raises(error):
            await scrape(actors(vendor))
        assert 1 <= vendor.count(where) <= service.ATTEMPTS


async def test_no_more_items_are_read_than_asked_for():
    async with Apify() as vendor:
        vendor.datasets["many"] = [{"n": n} for n in range(100)]
        assert await scrape(actors(vendor), "many", max_items=7) == [{"n": n} for n in range(7)]


async def test_half_an_emoji_does_not_fail_the_profile():
    async with Apify() as vendor:
        vendor.datasets["half"] = [{"caption": "ネイル\ud83d"}]
        assert await scrape(actors(vendor), "half") == [{"caption": "ネイル\ud83d"}]


async def test_a_waiting_scrape_does_not_block_the_event_loop():
    async with Apify(run_seconds=0.5) as vendor:
        turns = 0

        async def turn() -> None:
            nonlocal turns
            while True:
                await asyncio.sleep(0.01)
                turns += 1

        turning = asyncio.create_task(turn())
        await scrape(actors(vendor))
        turning.cancel()
        assert turns > 10


async def test_the_token_is_not_logged(caplog):
    caplog.set_level(logging.DEBUG)
    async with Apify() as vendor:
        await scrape(actors(vendor))
    assert TOKEN not in caplog.text
