"""Paid runs: each is stored, shared, resumed or ended, whenever a caller disconnects."""

import asyncio
import time

import pytest

from services.apify import runs as service
from services.apify.runs import StartedRun
from services.errors import ActorFailed, VendorTimeout
from tests.helpers.scrapes import actors, scrape
from tests.vendors.apify import Apify

SHORT = 0.4  # seconds; the bound of a scrape in the tests of this bound
START, POLL, READ = "POST .*/runs$", "GET /v2/actor-runs/", "GET /v2/datasets/"


async def test_a_run_that_takes_too_long_is_ended():
    async with Apify() as vendor:
        client, began = actors(vendor, timeout=SHORT), time.monotonic()
        with pytest.raises(VendorTimeout) as caught:
            await scrape(client, "endless.actor")
        assert time.monotonic() - began < SHORT + 5
        assert type(caught.value) is VendorTimeout
        await client.close()
        assert vendor.runs_started == 1
        assert vendor.aborted == list(vendor.runs)


async def test_a_run_that_cannot_be_ended_either_is_still_bounded(monkeypatch):
    monkeypatch.setattr(service, "ABORT_SECONDS", SHORT)
    async with Apify() as vendor:
        vendor.fail("hang", "abort", times=99)
        began = time.monotonic()
        with pytest.raises(VendorTimeout):
            await scrape(actors(vendor, timeout=SHORT), "endless.actor")
        assert time.monotonic() - began < 2 * SHORT + 5


@pytest.mark.parametrize("where", [POLL, READ])
async def test_an_answer_that_never_comes_is_bounded(where):
    async with Apify() as vendor:
        vendor.fail("hang", where, times=99)
        with pytest.raises(VendorTimeout):
            await scrape(actors(vendor, timeout=SHORT))


async def test_a_start_that_is_never_answered_is_bounded(monkeypatch):
    monkeypatch.setattr(service, "CLOSE_SECONDS", SHORT)
    async with Apify() as vendor:
        vendor.fail("hang", START)
        client, began = actors(vendor, timeout=SHORT), time.monotonic()
        with pytest.raises(VendorTimeout):
            await scrape(client)
        await client.close()
        assert time.monotonic() - began < 2 * SHORT + 5


async def test_a_run_whose_caller_disconnects_during_the_start_can_be_resumed():
    async with Apify() as vendor:
        received: asyncio.Queue[StartedRun] = asyncio.Queue()
        storing, stored = asyncio.Event(), asyncio.Event()

        async def on_started(run: StartedRun) -> None:
            storing.set()
            await stored.wait()
            await received.put(run)

        client = actors(vendor)
        caller = asyncio.create_task(scrape(client, on_started=on_started))
        await storing.wait()
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        stored.set()
        run = await received.get()
        assert vendor.aborted == []
        items = await client.resume(run.id, 1)
        assert items[0]["username"] == "sakura.nails_tokyo"
        assert vendor.runs_started == 1
        await client.close()


async def test_a_run_whose_caller_disconnects_continues():
    async with Apify(run_seconds=3600) as vendor:
        client = actors(vendor)
        received: asyncio.Queue[StartedRun] = asyncio.Queue()
        caller = asyncio.create_task(scrape(client, on_started=received.put))
        run = await received.get()
        caller.cancel()
        await asyncio.wait([caller])
        others = [asyncio.create_task(client.resume(run.id, 1)) for _ in range(3)]
        await asyncio.sleep(0)
        vendor.runs[run.id].end("SUCCEEDED")
        results = await asyncio.gather(*others)
        assert [items[0]["username"] for items in results] == ["sakura.nails_tokyo"] * 3
        assert (vendor.runs_started, vendor.aborted) == (1, [])


async def test_a_run_whose_id_cannot_be_stored_is_aborted():
    async def on_started(run: StartedRun) -> None:
        raise ConnectionError("the database is unavailable")

    async with Apify(run_seconds=3600) as vendor:
        with pytest.raises(ConnectionError):
            await scrape(actors(vendor), on_started=on_started)
        assert vendor.aborted == list(vendor.runs)


async def test_storing_the_id_of_a_run_is_bounded(monkeypatch):
    monkeypatch.setattr(service, "ACCOUNT_SECONDS", SHORT)

    async def on_started(run: StartedRun) -> None:
        await asyncio.Event().wait()

    async with Apify(run_seconds=3600) as vendor:
        with pytest.raises(TimeoutError):
            await scrape(actors(vendor), on_started=on_started)
        assert vendor.aborted == list(vendor.runs)


async def test_a_run_that_starts_after_its_scrape_gave_up_is_ended():
    async with Apify(run_seconds=3600) as vendor:
        stored = asyncio.Event()

        async def on_started(run: StartedRun) -> None:
            await stored.wait()

        client = actors(vendor, timeout=SHORT)
        with pytest.raises(VendorTimeout):
            await scrape(client, on_started=on_started)
        stored.set()
        await client.close()
        assert vendor.aborted == list(vendor.runs)


async def test_a_run_that_the_vendor_has_forgotten():
    async with Apify() as vendor:
        with pytest.raises(ActorFailed):
            await actors(vendor).resume("forgotten", 1)


async def test_an_abandoned_run_is_ended_by_the_vendor():
    async with Apify() as vendor:
        client = actors(vendor, timeout=0.5)
        with pytest.raises(VendorTimeout):
            vendor.fail("server_error", "abort", times=99)
            await scrape(client, "endless.actor")
        await client.close()
        (run,) = vendor.runs.values()
        await run.ended.wait()
        assert run.status == "TIMED-OUT"
