"""One paid run per profile: shared by callers and instances, and kept if callers disconnect or instances die."""

import asyncio
from contextlib import suppress
from datetime import timedelta

import pytest

from db.pool import Transaction
from db.queries.social.scrape_runs import FIND_RUNNING, MAX_ATTEMPTS, ScrapeRuns, StoredRun
from services.social import scrapes as service
from settings import Limit
from tests.helpers.social import SAKURA, START, age, connect, end_runs

CONNECT = "/social-media/instagram/connect"
KILL = "update scrape_runs set lease_until = now() - interval '1 second' where state = 'RUNNING'"
RUNS = "select state, vendor_run_id, attempt, requested_by, failure from scrape_runs order by started_at"


@pytest.fixture(autouse=True)
def short_polls(monkeypatch):
    monkeypatch.setattr(service, "POLL_SECONDS", 0.01)


async def join(runs: ScrapeRuns) -> StoredRun:
    return await runs.join("INSTAGRAM", SAKURA, 20, max_age=3600, max_no_age=0, definite=[], requested_by=None)


async def wait_until(db, query: str) -> None:
    async with asyncio.timeout(10):
        while not await db.fetchval(query):
            await asyncio.sleep(0)


async def test_connects_of_one_profile_at_once_share_one_run(api, other_api, people, apify, db):
    apify.run_seconds = 3600
    callers = [await people.influencer(f"Nail artist {number}") for number in range(6)]
    clients = (api, other_api) * 3
    connects = [
        asyncio.create_task(one.post(CONNECT, {"username": f"@{SAKURA.title() if number % 2 else SAKURA}"}, caller))
        for number, (one, caller) in enumerate(zip(clients, callers, strict=True))
    ]
    await apify.started.wait()
    await wait_until(db, "select vendor_run_id is not null from scrape_runs")
    end_runs(apify)
    answers = await asyncio.gather(*connects)
    assert [answer.status for answer in answers] == [200] * 6
    assert len({answer.data["verificationCode"] for answer in answers}) == 6
    assert apify.count(START) == 1
    (run,) = await db.fetch(RUNS)
    assert (run["state"], run["vendor_run_id"]) == ("SUCCEEDED", next(iter(apify.runs)))
    assert run["requested_by"] in {caller.id for caller in callers}


async def test_a_run_that_ends_while_a_caller_joins_is_not_repeated(db, other_instance, apify, monkeypatch):
    """The run ends after a caller has looked for a result and before it looks for a run."""
    store, other_store = ScrapeRuns(db), ScrapeRuns(other_instance.db)
    first = await join(store)
    ask = Transaction._ask

    async def slow_ask(self, method, sql, *args):
        if sql == FIND_RUNNING:
            assert await other_store.succeed(first, "{}")
        return await ask(self, method, sql, *args)

    monkeypatch.setattr(Transaction, "_ask", slow_ask)
    second = await join(store)
    assert (first.ours, second.ours, second.id) == (True, False, first.id)
    assert second.state == "SUCCEEDED"


async def test_a_failure_is_shared_and_the_next_caller_starts_a_new_run(
    instance, other_instance, api, other_api, people, apify, monkeypatch
):
    apify.run_seconds = 3600
    second_waits = asyncio.Event()  # it polls the row of the first caller's run
    show = ScrapeRuns.show

    async def note_show(runs: ScrapeRuns, run_id: str) -> tuple[StoredRun, bool] | None:
        second_waits.set()
        return await show(runs, run_id)

    monkeypatch.setattr(ScrapeRuns, "show", note_show)
    one, two = await people.influencer(), await people.influencer()
    connects = [
        asyncio.create_task(client.post(CONNECT, {"username": SAKURA}, caller))
        for client, caller in ((api, one), (other_api, two))
    ]
    await apify.started.wait()
    await second_waits.wait()
    end_runs(apify, "FAILED")
    answers = await asyncio.gather(*connects)
    assert [(answer.status, answer.body["reason"]) for answer in answers] == [(502, "UPSTREAM_RUN_FAILED")] * 2
    assert apify.count(START) == 1
    apify.run_seconds = 0
    assert (await api.post(CONNECT, {"username": SAKURA}, one)).status == 200
    assert apify.count(START) == 2


async def test_a_disconnected_caller_leaves_its_result_to_the_next_caller(api, other_api, people, apify, db):
    apify.run_seconds = 3600
    one, two = await people.influencer(), await people.influencer()
    reader, writer = await asyncio.open_connection("127.0.0.1", api.instance.port)
    body = b'{"username": "%s"}' % SAKURA.encode()
    head = f"POST /api/v1{CONNECT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {one.token}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    writer.write(head.encode() + body)
    await apify.started.wait()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    await wait_until(db, "select vendor_run_id is not null from scrape_runs")
    next_caller = asyncio.create_task(other_api.post(CONNECT, {"username": SAKURA}, two))
    end_runs(apify)
    assert (await next_caller).status == 200
    assert apify.count(START) == 1
    assert apify.aborted == []
    del reader


async def test_an_instance_that_dies_leaves_a_run_that_another_picks_up(api, other_api, instance, people, apify, db):
    apify.run_seconds = 3600
    one, two = await people.influencer(), await people.influencer()
    dying = asyncio.create_task(api.post(CONNECT, {"username": SAKURA}, one))
    await apify.started.wait()
    await wait_until(db, "select vendor_run_id is not null from scrape_runs")
    heir = asyncio.create_task(other_api.post(CONNECT, {"username": SAKURA}, two))
    # Simulates death: nothing is renewed or written.
    for flight in instance.services.scrapes.flights.values():
        flight.cancel()
    await db.execute(KILL)
    end_runs(apify)
    answer = await heir
    assert answer.status == 200
    assert apify.count(START) == 1
    (run,) = await db.fetch(RUNS)
    assert (run["state"], run["attempt"]) == ("SUCCEEDED", 2)
    assert (await dying).status in (500, 502, 503, 504)


async def test_a_frozen_instance_that_wakes_up_changes_nothing(api, other_api, instance, people, apify, db):
    apify.run_seconds = 3600
    one, two = await people.influencer(), await people.influencer()
    frozen = asyncio.create_task(api.post(CONNECT, {"username": SAKURA}, one))
    await apify.started.wait()
    await wait_until(db, "select vendor_run_id is not null from scrape_runs")
    await db.execute("update scrape_runs set attempt = attempt + 1, lease_until = now() + interval '1 hour'")
    end_runs(apify)
    # Its result is not stored; it waits for the result of the caller that has taken the run over.
    heir = asyncio.create_task(other_api.post(CONNECT, {"username": SAKURA}, two))
    await db.execute(KILL)
    assert [(await task).status for task in (frozen, heir)] == [200, 200]
    assert apify.count(START) == 1


async def test_a_vendor_that_is_away_while_its_run_goes_on_is_not_paid_twice(api, people, apify, db):
    sakura = await people.influencer()
    apify.fail("server_error", "GET /v2/actor-runs/", times=3)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 502
    (run,) = await db.fetch(RUNS)
    assert (run["state"], run["vendor_run_id"]) == ("RUNNING", next(iter(apify.runs)))
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 200
    assert apify.count(START) == 1


@pytest.mark.parametrize("platform", ["instagram", "tiktok"])
async def test_a_start_whose_answer_was_lost_is_found_and_not_paid_twice(api, people, apify, db, platform):
    one, two = await people.influencer(), await people.influencer()
    path = CONNECT if platform == "instagram" else "/social-media/tiktok/connect-public"
    await connect(api, two, "yuki.hairstyle", platform)  # another run that began meanwhile
    apify.fail("lose_answer", START)
    assert (await api.post(path, {"username": SAKURA}, one)).status == 502
    (run,) = await db.fetch(f"{RUNS.split(' order')[0]} where username = $1", SAKURA)
    assert (run["state"], run["vendor_run_id"]) == ("RUNNING", None)
    assert (await api.post(path, {"username": SAKURA.upper()}, two)).status == 200
    assert apify.count(START) == 2
    run_id = await db.fetchval("select vendor_run_id from scrape_runs where username = $1", SAKURA)
    assert apify.runs[run_id].username == SAKURA


@pytest.mark.parametrize(
    ("ended", "age_seconds"), [("FAILED", 0), ("ABORTED", 0), ("SUCCEEDED", 60)], ids=["failed", "aborted", "earlier"]
)
async def test_a_run_that_is_not_the_lost_one_is_not_taken_for_it(api, people, apify, db, ended, age_seconds):
    sakura = await people.influencer()
    apify.fail("lose_answer", START)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 502
    (run,) = apify.runs.values()
    run.status, run.started_at = ended, run.started_at - timedelta(seconds=age_seconds)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 200
    assert apify.count(START) == 2


async def test_an_instance_that_resumes_does_not_end_the_run_of_its_successor(instance, db):
    store = ScrapeRuns(db)
    frozen = await join(store)
    await db.execute(KILL)
    heir = await join(store)
    assert not await store.note_vendor_run(frozen, "found")  # the next caller has not checked yet
    assert await store.note_vendor_run(heir, "found")
    assert await store.note_vendor_run(frozen, "found")
    assert not await store.note_vendor_run(frozen, "another")
    assert await db.fetchval("select vendor_run_id from scrape_runs") == "found"
    assert await store.succeed(frozen, "{}") is None


async def test_no_run_starts_while_the_vendor_cannot_be_asked_for_one(api, people, apify):
    sakura = await people.influencer()
    apify.fail("lose_answer", START)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 502
    apify.fail("server_error", "GET .*/runs$", times=3)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 502
    apify.fail("bad_gateway", "GET .*/INPUT$", times=3)
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 502
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 200
    assert apify.count(START) == 1


async def test_a_run_that_cannot_be_finished_is_abandoned(api, people, apify, db):
    sakura = await people.influencer()
    await db.execute(
        "insert into scrape_runs (platform, username, vendor_run_id, attempt, lease_until)"
        " values ('INSTAGRAM', $1, 'gone', $2, now())",
        SAKURA,
        MAX_ATTEMPTS,
    )
    assert (await api.post(CONNECT, {"username": SAKURA}, sakura)).status == 200
    assert [row["state"] for row in await db.fetch(RUNS)] == ["FAILED", "SUCCEEDED"]


async def test_a_run_that_cannot_be_stored_is_ended(api, people, apify, db, monkeypatch):
    async def lost(self, run, vendor_run_id):
        raise ConnectionError("the database is unavailable")

    monkeypatch.setattr("db.queries.social.scrape_runs.ScrapeRuns.note_vendor_run", lost)
    apify.run_seconds = 3600
    answer = await api.post(CONNECT, {"username": SAKURA}, await people.influencer())
    assert answer.status == 500
    assert apify.aborted == list(apify.runs)


async def test_a_scrape_is_refused_when_too_many_wait(api, people, apify, monkeypatch):
    monkeypatch.setattr(api.instance.services.scrapes.slots, "_max_waiting", 0)
    monkeypatch.setattr(api.instance.services.scrapes.slots, "_semaphore", asyncio.Semaphore(0))
    answer = await api.post(CONNECT, {"username": SAKURA}, await people.influencer())
    assert (answer.status, answer.code) == (503, "NOT_READY")
    assert not apify.calls


@pytest.mark.parametrize("role", ["influencer", "salon", "admin"])
async def test_every_user_may_look_up_a_profile_which_is_fetched_once(api, other_api, people, apify, role):
    reader = await getattr(people, role)()
    first = await api.get(f"/social-media/instagram/profile/@{SAKURA.upper()}", reader)
    assert (first.status, first.body["cached"]) == (200, False)
    assert (first.data["username"], first.data["followersCount"]) == (SAKURA, 48_200)
    assert len(first.data["metadata"]["recentPosts"]) == 12
    again = await other_api.get(f"/social-media/instagram/profile/{SAKURA}", await people.salon())
    assert (again.body["cached"], again.data) == (True, first.data)
    assert again.body["profile"] == again.data
    assert apify.count(START) == 1


async def test_profile_and_videos_of_tiktok_come_from_one_run(api, people, apify):
    reader = await people.salon()
    profile = await api.get(f"/social-media/tiktok/profile/{SAKURA}", reader)
    videos = await api.get(f"/social-media/tiktok/videos/{SAKURA}?limit=10", reader)
    assert (videos.body["videos"], videos.body["cached"]) == (videos.data, True)
    seen = list(videos.data)
    while videos.body["pageInfo"]["hasMore"]:
        cursor = videos.body["pageInfo"]["nextCursor"]
        videos = await api.get(f"/social-media/tiktok/videos/{SAKURA}?limit=10&cursor={cursor}", reader)
        seen += videos.data
    assert seen == profile.data["metadata"]["recentVideos"]
    assert len(seen) == 24
    assert apify.count(START) == 1
    assert (await api.get(f"/social-media/tiktok/videos/{SAKURA}?cursor=nonsense", reader)).status == 400


async def test_a_lookup_is_fetched_again_after_a_week(api, people, apify, db):
    reader = await people.salon()
    for days, runs in [(0, 1), (6.9, 1), (0.2, 2)]:
        await age(db, days)
        assert (await api.get(f"/social-media/instagram/profile/{SAKURA}", reader)).status == 200
        assert apify.count(START) == runs


async def test_a_missing_profile_is_cached_for_minutes(api, people, apify, db):
    reader = await people.salon()
    for _ in range(2):
        answer = await api.get("/social-media/instagram/profile/nobody.here", reader)
        assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert apify.count(START) == 1
    await age(db, 0.01)
    assert (await api.get("/social-media/instagram/profile/nobody.here", reader)).status == 404
    assert apify.count(START) == 2


async def test_connecting_does_not_use_a_cached_failure(api, people, apify):
    """A user who has just made the profile public tries again immediately."""
    sakura = await people.influencer()
    assert (await api.post(CONNECT, {"username": "himitsu.nails"}, sakura)).status == 409
    apify.behaviours.clear()
    assert (await api.post(CONNECT, {"username": "himitsu.nails"}, sakura)).status == 200


async def test_only_lookups_that_cost_count_against_the_limit(api, people, apify, limit):
    limit("limit_connect", Limit(2, 3600))
    reader = await people.salon()
    for username, status in [
        (SAKURA, 200),
        (SAKURA, 200),
        ("yuki.hairstyle", 200),
        ("mika_skincare", 429),
        (SAKURA, 200),
    ]:
        assert (await api.get(f"/social-media/instagram/profile/{username}", reader)).status == status
    assert apify.count(START) == 2


@pytest.mark.parametrize("username", ["a b", "%E6%A1%9C", "a" * 31, "%00", "..%2f..%2fadmin"])
async def test_a_lookup_of_an_invalid_handle(api, people, apify, username):
    path = f"/social-media/instagram/profile/{username.replace(' ', '%20')}"
    assert (await api.get(path, await people.salon())).status in (400, 404)
    assert not apify.calls


async def test_a_profile_connected_by_one_is_known_to_lookups(api, people, apify):
    await connect(api, await people.influencer())
    answer = await api.get(f"/social-media/instagram/profile/{SAKURA}", await people.salon())
    assert answer.body["cached"] is True
    assert apify.count(START) == 1
    assert "verificationCode" not in answer.data
