"""Connecting public profiles: access, what is stored, errors for each failure of the vendor, and the cost."""

import asyncio
from typing import Any

import pytest

from settings import Limit
from tests.helpers.social import SAKURA, START, age, connect
from tests.vendors.people import instagram_profile, person

CONNECT = {"instagram": "/social-media/instagram/connect", "tiktok": "/social-media/tiktok/connect-public"}
PLATFORMS = list(CONNECT)


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_connecting_answers_the_account_and_a_code(api, people, apify, platform):
    sakura = await people.influencer()
    answer = await api.post(CONNECT[platform], {"username": SAKURA}, sakura)
    account = answer.body["account"]
    assert (answer.status, answer.body["success"]) == (200, True)
    assert (account["platform"], account["username"], account["platformUsername"]) == (platform.upper(), SAKURA, SAKURA)
    assert (account["followersCount"], account["connection"], account["isActive"]) == (48_200, "PUBLIC", True)
    assert account["isVerified"] is False
    assert account["engagementRate"] > 0
    assert account["metadata"]["topHashtags"][:2] == ["美容", "ネイルサロン"]
    assert answer.body["verificationCode"] == account["verificationCode"]
    assert answer.body["verificationCode"] in answer.body["message"]
    accounts = await api.get("/social-media/accounts", sakura)
    assert accounts.body["accounts"] == accounts.data == [account]


@pytest.mark.parametrize("platform", PLATFORMS)
async def test_an_account_is_shown_with_its_posts_to_its_owner_alone(api, people, apify, platform):
    sakura, other = await people.influencer(), await people.influencer("Other")
    account = await connect(api, sakura, platform=platform)
    path = f"/social-media/{'instagram' if platform == 'instagram' else 'tiktok/public'}/{account['id']}"
    shown = (await api.get(path, sakura)).body
    assert (shown["cached"], shown["account"]["id"]) == (True, account["id"])
    assert 0 <= shown["cacheAge"] < 60
    posts = shown["account"]["posts"]
    assert len(posts) == (12 if platform == "instagram" else 24)
    assert posts[0]["hashtags"] == ["美容", "ネイルサロン", "Tokyo"]
    assert [post["postedAt"] for post in posts] == sorted((post["postedAt"] for post in posts), reverse=True)
    assert (await api.get(path, other)).status == 404
    assert (await api.delete(path, other)).status == 404
    assert (await api.post(f"/social-media/{account['id']}/verify", user=other)).status == 404
    sync = path.removesuffix(f"/{account['id']}") + "/sync"
    assert (await api.post(sync, {"accountId": account["id"]}, other)).status == 404
    assert (await api.get("/social-media/accounts", other)).data == []
    wrong = f"/social-media/{'tiktok/public' if platform == 'instagram' else 'instagram'}/{account['id']}"
    assert (await api.get(wrong, sakura)).status == 404


@pytest.mark.parametrize("username", ["@Sakura.Nails_Tokyo", "  @SAKURA.NAILS_TOKYO ", "＠sakura.nails_tokyo"])
async def test_a_handle_as_people_type_it(api, people, apify, username):
    account = await connect(api, await people.influencer(), username)
    assert account["username"] == SAKURA
    assert apify.runs_started == 1


@pytest.mark.parametrize("username", ["", "@", "a b", "a" * 31, "桜", "../x", "a\u0000b", "a?b=c", None, 5, ["sakura"]])
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_an_invalid_handle_costs_nothing(api, people, apify, platform, username):
    answer = await api.post(CONNECT[platform], {"username": username}, await people.influencer())
    assert (answer.status, answer.code, answer.fields) == (400, "VALIDATION_ERROR", {"username"})
    assert not apify.calls


async def test_a_one_letter_handle_is_one_on_instagram_alone(api, people, apify):
    sakura = await people.influencer()
    assert (await api.post(CONNECT["instagram"], {"username": "x"}, sakura)).status == 200
    assert (await api.post(CONNECT["tiktok"], {"username": "x"}, sakura)).status == 400


async def test_callers_without_access_start_no_run(api, people, apify):
    for person_ in (await people.salon(), await people.admin(), None):
        answer = await api.post(CONNECT["instagram"], {"username": SAKURA}, person_)
        assert answer.status == (403 if person_ else 401)
    assert not apify.calls


async def test_the_limit_of_connecting(api, people, apify, limit):
    limit("limit_connect", Limit(2, 3600))
    sakura = await people.influencer()
    statuses = [(await api.post(CONNECT["instagram"], {"username": SAKURA}, sakura)).status for _ in range(3)]
    assert statuses == [200, 200, 429]


# The states of the vendor, as its dataset, its run and its API report them.
STATES = [
    ("nobody.here", None, 404, "NOT_FOUND", "PROFILE_NOT_FOUND"),
    ("nothing.here", None, 404, "NOT_FOUND", "PROFILE_NOT_FOUND"),
    ("himitsu.nails", None, 409, "PROFILE_PRIVATE", "PROFILE_PRIVATE"),
    ("otona.nails", None, 409, "PROFILE_RESTRICTED", "PROFILE_RESTRICTED"),
    ("broken.actor", None, 502, "UPSTREAM_FAILED", "UPSTREAM_RUN_FAILED"),
    ("slow.actor", None, 504, "UPSTREAM_TIMEOUT", "UPSTREAM_TIMEOUT"),
    ("garbage.actor", None, 502, "UPSTREAM_FAILED", "UPSTREAM_UNREADABLE"),
    (SAKURA, "out_of_credit", 502, "UPSTREAM_FAILED", "UPSTREAM_PAUSED"),
    (SAKURA, "rate_limited", 502, "UPSTREAM_FAILED", "UPSTREAM_BUSY"),
    (SAKURA, "bad_token", 502, "UPSTREAM_FAILED", "UPSTREAM_REFUSED"),
    (SAKURA, "server_error", 502, "UPSTREAM_FAILED", "UPSTREAM_FAILED"),
    (SAKURA, "disconnect", 502, "UPSTREAM_FAILED", "UPSTREAM_UNREACHABLE"),
    (SAKURA, "nonsense", 502, "UPSTREAM_FAILED", "UPSTREAM_UNREADABLE"),
]


@pytest.mark.parametrize(("username", "failure", "status", "code", "reason"), STATES)
@pytest.mark.parametrize("platform", PLATFORMS)
async def test_each_state_of_the_vendor_has_its_answer(
    api, people, apify, db, platform, username, failure, status, code, reason
):
    sakura = await people.influencer()
    apify.fail_with = failure
    answer = await api.post(CONNECT[platform], {"username": username}, sakura)
    assert (answer.status, answer.code, answer.body["reason"]) == (status, code, reason)
    assert not any(word in answer.raw.decode().lower() for word in ("apify", "vendor words", "token", "usage"))
    assert (await api.get("/social-media/accounts", sakura)).data == []
    # No lease is left: the next caller looks for a run that may continue at the vendor.
    assert await db.fetchval("select count(*) from scrape_runs where state = 'RUNNING' and lease_until > now()") == 0

    # The failure is temporary: the next attempt starts a new run.
    apify.fail_with = None
    apify.behaviours.clear()
    assert (await api.post(CONNECT[platform], {"username": username}, sakura)).status == 200


async def test_zero_followers_and_posts_without_captions(api, people, apify):
    apify.datasets["atarashii.hito"] = [
        instagram_profile(person("atarashii.hito"))
        | {"latestPosts": [{"id": "1", "type": "Image", "caption": None, "likesCount": 3, "commentsCount": 0}]}
    ]
    sakura = await people.influencer()
    account = await connect(api, sakura, "atarashii.hito")
    assert (account["followersCount"], account["engagementRate"]) == (0, 0)
    (post,) = (await api.get(f"/social-media/instagram/{account['id']}", sakura)).data["posts"]
    assert (post["caption"], post["hashtags"], post["likesCount"]) == (None, [], 3)


async def test_more_than_a_million_likes(api, people, apify):
    item = instagram_profile(person(SAKURA))
    item["latestPosts"][0] |= {"likesCount": 1_200_000, "commentsCount": 0}
    apify.datasets[SAKURA] = [item | {"latestPosts": item["latestPosts"][:1]}]
    sakura = await people.influencer()
    account = await connect(api, sakura)
    assert account["engagementRate"] == round(1_200_000 / 48_200 * 100, 2)
    assert account["metadata"]["averageLikes"] == 1_200_000
    (post,) = (await api.get(f"/social-media/instagram/{account['id']}", sakura)).data["posts"]
    assert post["likesCount"] == 1_200_000


async def test_the_same_post_twice_in_one_dataset(api, people, apify, db):
    item = instagram_profile(person(SAKURA))
    item["latestPosts"] += item["latestPosts"][:3]
    apify.datasets[SAKURA] = [item]
    await connect(api, await people.influencer())
    assert await db.fetchval("select count(*) from social_media_posts") == 12


async def test_the_same_post_in_two_syncs_is_updated_not_doubled(api, people, apify, db):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    item = instagram_profile(person(SAKURA))
    item["latestPosts"][0] |= {"likesCount": 777, "caption": "今日は #休み"}
    apify.datasets[SAKURA] = [item]
    await age(db, 8)
    synced = await api.post("/social-media/instagram/sync", {"accountId": account["id"]}, sakura)
    assert (synced.status, synced.body["cached"]) == (200, False)
    assert apify.runs_started == 2
    posts = (await api.get(f"/social-media/instagram/{account['id']}", sakura)).data["posts"]
    assert len(posts) == 12
    assert (posts[0]["likesCount"], posts[0]["hashtags"]) == (777, ["休み"])


async def test_connecting_again_keeps_the_code_and_the_account(api, people, apify):
    sakura = await people.influencer()
    first = await connect(api, sakura)
    again = await connect(api, sakura, f"@{SAKURA.upper()}")
    assert (again["id"], again["verificationCode"]) == (first["id"], first["verificationCode"])
    assert apify.runs_started == 1  # a result of the last hour is used again


async def test_another_handle_takes_the_place_of_the_former_one(api, people, apify, db):
    sakura = await people.influencer()
    first = await connect(api, sakura)
    await db.execute(
        "update social_media_accounts set is_verified = true, verification_code = null, reminders_sent = 2"
    )
    second = await connect(api, sakura, "yuki.hairstyle")
    assert (second["id"], second["username"], second["isVerified"]) == (first["id"], "yuki.hairstyle", False)
    assert second["verificationCode"]
    (row,) = await db.fetch("select reminders_sent, reminded_at from social_media_accounts")
    assert tuple(row) == (0, None)
    shown = (await api.get(f"/social-media/instagram/{second['id']}", sakura)).data
    assert len(shown["posts"]) == 12
    assert not {post["platformPostId"] for post in shown["posts"]} & {
        post["id"] for post in first["metadata"]["recentPosts"]
    }


async def test_reach_follows_the_largest_active_account(api, people, apify, db):
    reach = "select followers_count, engagement_rate from listings"
    sakura = await people.influencer()
    large = await connect(api, sakura)
    await connect(api, sakura, "yuki.hairstyle", "tiktok")
    assert tuple(await db.fetchrow(reach)) == (48_200, large["engagementRate"])
    await api.delete(f"/social-media/instagram/{large['id']}", sakura)
    assert (await db.fetchrow(reach))["followers_count"] == 12_750
    await api.delete("/social-media/tiktok", sakura)
    assert tuple(await db.fetchrow(reach)) == (0, 0)


async def test_old_posts_make_room(api, people, apify, db, monkeypatch):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    await db.execute(
        "insert into social_media_posts (account_id, platform_post_id, media_type, posted_at)"
        " select $1, n, 'IMAGE', now() - interval '5 years' from generate_series(1, 120) n",
        account["id"],
    )
    await connect(api, sakura)
    assert await db.fetchval("select count(*) from social_media_posts") == 100
    assert await db.fetchval("select count(*) from social_media_posts where platform_post_id ~ '^[0-9]{1,3}$'") == 88


@pytest.mark.parametrize("spelling", ["instagram", "INSTAGRAM", "Instagram"])
async def test_disconnecting_by_platform(api, people, apify, db, spelling):
    sakura, other = await people.influencer(), await people.influencer("Other")
    await connect(api, sakura)
    await connect(api, other, "yuki.hairstyle")
    assert (await api.delete(f"/social-media/{spelling}", sakura)).status == 200
    assert (await api.delete(f"/social-media/{spelling}", sakura)).status == 404
    assert await db.fetchval("select array_agg(username) from social_media_accounts") == ["yuki.hairstyle"]
    assert await db.fetchval("select count(*) from social_media_posts") == 12


@pytest.mark.parametrize("platform", ["facebook", "tik tok", "%00", "accounts'--"])
async def test_an_unknown_platform(api, people, platform):
    assert (await api.delete(f"/social-media/{platform.replace(' ', '%20')}", await people.influencer())).status == 404


async def test_without_keys_these_routes_are_not_configured_and_the_rest_works(api, people):
    sakura = await people.influencer()
    nothing = "00000000-0000-4000-8000-000000000000"
    for method, path, body in [
        ("POST", "/social-media/instagram/connect", {"username": SAKURA}),
        ("POST", "/social-media/tiktok/connect-public", {"username": SAKURA}),
        ("POST", "/social-media/instagram/sync", {"accountId": nothing}),
        ("POST", "/social-media/tiktok/public/sync", {"accountId": nothing}),
        ("POST", f"/social-media/{nothing}/verify", None),
        ("GET", f"/social-media/instagram/profile/{SAKURA}", None),
        ("GET", f"/social-media/tiktok/profile/{SAKURA}", None),
        ("GET", f"/social-media/tiktok/videos/{SAKURA}", None),
        ("GET", "/social-media/tiktok/auth", None),
    ]:
        answer = await api.call(method, path, body, sakura)
        assert (answer.status, answer.code) == (503, "NOT_CONFIGURED"), path
    assert (await api.get("/social-media/accounts", sakura)).data == []
    assert (await api.get(f"/social-media/instagram/{nothing}", sakura)).status == 404
    assert (await api.delete("/social-media/instagram", sakura)).status == 404


async def test_the_limit_of_syncing_explains_the_automatic_sync(api, people, apify, limit):
    limit("limit_sync", Limit(3, 3600))
    sakura = await people.influencer()
    account = await connect(api, sakura)
    body = {"accountId": account["id"]}
    answers = [await api.post("/social-media/instagram/sync", body, sakura) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert all(answer.body["cached"] for answer in answers[:3])
    assert "automatically" in answers[3].body["error"]
    assert answers[3].body["retryAfter"] > 0
    assert apify.runs_started == 1


async def test_a_sync_that_fails_leaves_the_account_as_it_was(api, people, apify, db):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    await age(db, 8)
    apify.fail_with = "server_error"
    assert (await api.post("/social-media/instagram/sync", {"accountId": account["id"]}, sakura)).status == 502
    shown = (await api.get("/social-media/accounts", sakura)).data[0]
    assert shown["followersCount"] == account["followersCount"]


async def test_an_account_that_is_disconnected_while_it_is_synced_does_not_come_back(api, people, apify, db):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    await age(db, 8)
    apify.run_seconds = 3600
    apify.started.clear()
    sync = asyncio.create_task(api.post("/social-media/instagram/sync", {"accountId": account["id"]}, sakura))
    await apify.started.wait()
    await api.delete("/social-media/instagram", sakura)
    for run in apify.runs.values():
        run.end("SUCCEEDED")
    assert (await sync).status == 404
    assert await db.fetchval("select count(*) from social_media_accounts") == 0
    assert await db.fetchval("select count(*) from social_media_posts") == 0
    assert apify.count(START) == 2


def strange_profiles() -> list[tuple[str, dict[str, Any]]]:
    profile = instagram_profile(person(SAKURA))
    post = profile["latestPosts"][0]

    def posts(**changes):
        return profile | {"latestPosts": [post | changes]}

    return [
        ("half an emoji", posts(caption="ネイル\ud83d") | {"fullName": "さくら\ud83d", "biography": "\udc4d"}),
        ("controls", posts(caption="a\x00b\x1b[31m") | {"fullName": "a\x00b", "biography": "\x07"}),
        ("right to left", posts(caption="مرحبا #تجميل \u202e") | {"fullName": "שלום"}),
        ("numbers beyond all bounds", posts(likesCount=10**40, commentsCount=1e308) | {"followersCount": 10**30}),
        ("numbers as text", posts(likesCount="1.2M", commentsCount="-1") | {"followersCount": "48,200"}),
        ("no numbers", posts(likesCount=None, commentsCount=float("nan"))),
        ("endless", posts(caption="#美容" * 50_000, url="https://x.example/" + "a" * 50_000)),
        ("links that are none", posts(url="javascript:alert(1)", displayUrl="data:text/html,x")),
        ("dates that are none", posts(timestamp="0000-13-99T99:99:99Z")),
        ("dates from afar", posts(timestamp="9999-12-31T23:59:59Z")),
        ("deep", posts(caption={"a": [{"b": "c"}] * 100})),
        ("ten thousand posts", profile | {"latestPosts": [post | {"id": str(n)} for n in range(10_000)]}),
        ("posts that are none", profile | {"latestPosts": [None, 1, "x", [], {}, post]}),
        ("SQL", posts(caption="'; drop table users; --") | {"fullName": "Robert'); drop table users; --"}),
    ]


@pytest.mark.parametrize(
    ("what", "item"), strange_profiles(), ids=lambda value: value if isinstance(value, str) else ""
)
async def test_any_answer_of_a_vendor_is_stored_or_refused(api, people, apify, what, item):
    """No answer is a 500, and none breaks the declared shape."""
    apify.datasets[SAKURA] = [item]
    sakura = await people.influencer()
    answer = await api.post(CONNECT["instagram"], {"username": SAKURA}, sakura)
    assert answer.status == 200, answer
    shown = await api.get(f"/social-media/instagram/{answer.data['id']}", sakura)
    assert shown.status == 200
    assert len(shown.data["posts"]) <= 24
    text = shown.raw.decode()
    assert not any(bad in text for bad in ("\\u0000", "javascript:", "\\u001b"))
    assert (await api.get("/social-media/accounts", sakura)).data[0]["id"] == answer.data["id"]
    assert (await api.get(f"/social-media/instagram/profile/{SAKURA}", sakura)).status == 200
