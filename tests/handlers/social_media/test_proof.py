"""Proof of ownership: the code in the bio, one owner per handle, and accounts of users without a proof."""

import asyncio

import pytest

from services.social.ownership import new_code, shows_code
from settings import Limit
from tests.helpers.social import SAKURA, START, age, connect, end_runs


async def verify(api, person, account):
    return await api.post(f"/social-media/{account['id']}/verify", user=person)


@pytest.mark.parametrize("platform", ["instagram", "tiktok"])
async def test_the_code_in_the_bio_proves_the_account(api, people, apify, db, platform):
    sakura = await people.influencer()
    account = await connect(api, sakura, platform=platform)
    missing = await verify(api, sakura, account)
    assert (missing.status, missing.code) == (409, "CODE_NOT_FOUND")
    assert missing.body["verificationCode"] == account["verificationCode"]
    assert apify.count(START) == 2  # the stored profile does not count

    apify.bios[SAKURA] = f"東京💅 {account['verificationCode'].lower()}お仕事はDMへ"
    proven = await verify(api, sakura, account)
    assert (proven.status, proven.body["isVerified"], proven.body["account"]["isVerified"]) == (200, True, True)
    assert proven.body["account"]["verificationCode"] is None
    assert "お仕事はDMへ" in proven.data["metadata"]["bio"]
    assert apify.count(START) == 3

    again = await verify(api, sakura, account)
    assert (again.status, again.body["isVerified"]) == (200, True)
    assert apify.count(START) == 3
    reconnected = await connect(api, sakura, platform=platform)
    assert (reconnected["isVerified"], reconnected["verificationCode"]) == (True, None)


async def test_the_code_of_another_does_not_prove(api, people, apify):
    sakura, thief = await people.influencer(), await people.influencer("Thief")
    mine, theirs = await connect(api, sakura), await connect(api, thief)
    assert mine["verificationCode"] != theirs["verificationCode"]
    apify.bios[SAKURA] = mine["verificationCode"]
    assert (await verify(api, thief, theirs)).code == "CODE_NOT_FOUND"
    assert (await verify(api, sakura, mine)).status == 200


async def test_a_proven_handle_cannot_be_held_by_another(api, people, apify, db):
    sakura, thief, latecomer = [await people.influencer(name) for name in ("Sakura", "Thief", "Latecomer")]
    mine, theirs = await connect(api, sakura), await connect(api, thief)
    await connect(api, latecomer, "yuki.hairstyle")
    socket = await api.socket(thief)
    apify.bios[SAKURA] = mine["verificationCode"]
    assert (await verify(api, sakura, mine)).status == 200

    # A user who had connected it without a proof loses it and is notified.
    assert (await api.get("/social-media/accounts", thief)).data == []
    received = await socket.expect("notification_received")
    assert SAKURA in received["notification"]["message"]
    assert (await db.fetchval("select followers_count from listings where user_id = $1", thief.id)) == 0
    runs = apify.count(START)
    for answer in (
        await verify(api, thief, theirs),
        await api.post("/social-media/instagram/sync", {"accountId": theirs["id"]}, thief),
        await api.post("/social-media/instagram/connect", {"username": SAKURA.upper()}, thief),
        await api.post("/social-media/instagram/connect", {"username": SAKURA}, latecomer),
    ):
        assert (answer.status, answer.code) == (409, "HANDLE_TAKEN")
    assert apify.count(START) == runs  # and no run was paid for
    assert (await api.get("/social-media/accounts", latecomer)).data[0]["username"] == "yuki.hairstyle"
    # Another platform is another account.
    assert (await connect(api, thief, SAKURA, "tiktok"))["username"] == SAKURA
    # The user can connect another account instead.
    assert (await connect(api, thief, "mika_skincare"))["isActive"] is True
    await socket.close()


async def test_of_two_who_verify_one_handle_at_once_one_wins(api, other_api, people, apify, db):
    for number in range(5):
        handle = f"both.claim.{number}"
        one, two = await people.influencer(), await people.influencer()
        first, second = await connect(api, one, handle), await connect(other_api, two, handle)
        apify.bios[handle] = f"{first['verificationCode']} {second['verificationCode']}"
        answers = await asyncio.gather(verify(api, one, first), verify(other_api, two, second))
        assert sorted(answer.status for answer in answers) == [200, 409]
        assert [answer.code for answer in answers if answer.status == 409] == ["HANDLE_TAKEN"]
        owners = await db.fetch(
            "select is_verified, is_active from social_media_accounts where username = $1 order by is_verified", handle
        )
        assert [tuple(row) for row in owners] == [(False, False), (True, True)]


async def test_connecting_while_another_proves_leaves_one_holder(api, other_api, people, apify, db):
    for number in range(5):
        handle = f"race.{number}"
        owner, other = await people.influencer(), await people.influencer()
        account = await connect(api, owner, handle)
        apify.bios[handle] = account["verificationCode"]
        proven, connected = await asyncio.gather(
            verify(api, owner, account),
            other_api.post("/social-media/instagram/connect", {"username": handle}, other),
        )
        assert proven.status == 200
        assert connected.status in (200, 409)
        active = "select count(*) from social_media_accounts where lower(username) = $1 and is_active"
        assert await db.fetchval(active, handle) == 1


def watch_joining(api, monkeypatch) -> asyncio.Event:
    """Return an event that is set when this instance joins a run, also a run of another instance."""
    store, joined = api.instance.services.scrapes.runs, asyncio.Event()
    join = store.join

    async def watched(*args, **kwargs):
        run = await join(*args, **kwargs)
        joined.set()
        return run

    monkeypatch.setattr(store, "join", watched)
    return joined


async def test_a_code_put_there_while_an_older_scrape_runs_is_found(api, other_api, people, apify, db, monkeypatch):
    """Verifying joins a run that began before the code was saved; its result does not count as a failure."""
    sakura, other = await people.influencer(), await people.influencer()
    account = await connect(api, sakura)
    await age(db, 1)
    apify.run_seconds = 3600
    apify.started.clear()
    older = asyncio.create_task(other_api.post("/social-media/instagram/connect", {"username": SAKURA}, other))
    await apify.started.wait()
    apify.started.clear()
    joined = watch_joining(api, monkeypatch)
    verifying = asyncio.create_task(verify(api, sakura, account))
    await asyncio.wait_for(joined.wait(), 10)
    end_runs(apify)  # without the code
    assert (await older).status == 200
    await apify.started.wait()
    apify.bios[SAKURA] = account["verificationCode"]
    end_runs(apify)
    assert (await verifying).status == 200
    assert apify.count(START) == 3


async def test_a_code_that_the_older_scrape_has_seen_needs_no_other(api, other_api, people, apify, db, monkeypatch):
    sakura, other = await people.influencer(), await people.influencer()
    account = await connect(api, sakura)
    await age(db, 1)
    apify.run_seconds = 3600
    apify.started.clear()
    older = asyncio.create_task(other_api.post("/social-media/instagram/connect", {"username": SAKURA}, other))
    await apify.started.wait()
    joined = watch_joining(api, monkeypatch)
    verifying = asyncio.create_task(verify(api, sakura, account))
    await asyncio.wait_for(joined.wait(), 10)
    apify.bios[SAKURA] = account["verificationCode"]
    end_runs(apify)
    assert (await verifying).status == 200
    assert apify.count(START) == 2
    await older


async def test_the_limit_of_verifying(api, people, apify, limit):
    limit("limit_connect", Limit(2, 3600))
    sakura = await people.influencer()
    account = await connect(api, sakura)
    assert [(await verify(api, sakura, account)).status for _ in range(3)] == [409, 409, 429]
    assert apify.count(START) == 3


async def test_an_account_without_a_code_gets_one(api, people, apify, db):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    await db.execute("update social_media_accounts set verification_code = null")
    missing = await verify(api, sakura, account)
    assert missing.code == "CODE_NOT_FOUND"
    apify.bios[SAKURA] = missing.body["verificationCode"]
    assert (await verify(api, sakura, account)).status == 200


async def test_verifying_while_the_vendor_fails(api, people, apify):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    apify.fail_with = "out_of_credit"
    answer = await verify(api, sakura, account)
    assert (answer.status, answer.body["reason"]) == (502, "UPSTREAM_PAUSED")


async def test_codes_of_others_are_nowhere(api, people, apify, db):
    sakura, other, salon, admin = (
        await people.influencer(),
        await people.influencer(),
        await people.salon(),
        await people.admin(),
    )
    code = (await connect(api, sakura))["verificationCode"]
    for path in (
        "/social-media/accounts",
        f"/social-media/instagram/profile/{SAKURA}",
        "/notifications",
        "/admin/users",
    ):
        for reader in (other, salon, admin):
            assert code not in (await api.get(path, reader)).raw.decode(), path


@pytest.mark.parametrize(
    ("bio", "shown"),
    [
        ("encer-ABCD2345", True),
        ("  ENCER-abcd2345.", True),
        ("ｅｎｃｅｒ－ＡＢＣＤ２３４５", True),
        ("予約はこちらencer-ABCD2345まで", True),
        ("encer-ABCD23456", False),
        ("xencer-ABCD2345", False),
        ("encer-ABCD23456 encer-ABCD2345", True),
        ("encer ABCD2345", False),
        ("", False),
        (None, False),
    ],
)
def test_what_shows_a_code(bio, shown):
    assert shows_code(bio, "encer-ABCD2345") is shown


def test_codes_are_many():
    assert len({new_code() for _ in range(1000)}) == 1000
