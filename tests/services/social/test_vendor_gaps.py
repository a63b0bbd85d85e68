"""Data that vendors omit: restricted profiles, hidden likes, and numbers that are null."""

from typing import Any

import pytest

from services.errors import ActorFailed, ProfileRestricted, VendorError
from tests.helpers.scrapes import INSTAGRAM, TIKTOK, instagram, post, video
from tests.helpers.social import SAKURA, age, connect, connect_oauth
from tests.vendors.people import instagram_profile, person, tiktok_items

# -- restricted profiles ---------------------------------------------------------------------------------------------

RESTRICTED: list[dict[str, Any]] = [
    {"username": "sakura", "error": "restricted_page", "errorDescription": "Restricted access, only partial data"},
    {"username": "sakura", "isRestrictedProfile": True, "restrictionReason": "You must be 18 years old or over"},
    {"username": "sakura", "restrictionReason": "You must be 25 years old or over to see this profile"},
    {"error": "Restricted profile"},
]
NOT_RESTRICTED: list[tuple[dict[str, Any], type[VendorError]]] = [
    (RESTRICTED[0] | {"requestErrorMessages": ["Error: Request blocked"]}, ActorFailed),
    ({"username": "sakura", "error": "access is restricted for a while"}, ActorFailed),
]


@pytest.mark.parametrize("item", RESTRICTED)
def test_a_restricted_profile(item):
    with pytest.raises(ProfileRestricted) as caught:
        INSTAGRAM.read([item], "sakura")
    assert caught.value.status == 409
    assert "minimum age" in caught.value.message and "later" not in caught.value.message


@pytest.mark.parametrize(("item", "error"), NOT_RESTRICTED)
def test_a_scraper_that_was_turned_away_says_nothing_of_the_profile(item, error):
    with pytest.raises(VendorError) as caught:
        INSTAGRAM.read([item], "sakura")
    assert type(caught.value) is error


def test_a_restricted_profile_that_can_be_read_is_read():
    assert instagram(post(), isRestrictedProfile=True).followers_count == 1000


async def test_a_look_up_of_a_restricted_profile_is_paid_for_once(api, people, apify):
    sakura = await people.influencer()
    for _ in range(3):
        answer = await api.get("/social-media/instagram/profile/otona.nails", sakura)
        assert (answer.status, answer.code) == (409, "PROFILE_RESTRICTED")
    assert apify.runs_started == 1


# -- hidden likes ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("hidden", [-1, -1.0, "-1", None])
def test_hidden_likes_belong_to_no_mean(hidden):
    profile = instagram(
        post(id="1", likesCount=hidden, commentsCount=500), post(id="2", likesCount=30), post(id="3", likesCount=10)
    )
    assert profile.metadata["averageLikes"] == 20
    assert profile.engagement_rate == round((30 + 2 + 10 + 2) / 2 / 1000 * 100, 2)
    assert [shown["likesCount"] for shown in profile.metadata["recentPosts"]] == [0, 30, 10]
    assert [kept.likes_count for kept in profile.posts] == [0, 30, 10]


def test_likes_that_are_all_hidden():
    profile = instagram(post(id="1", likesCount=-1), post(id="2", likesCount=-1))
    assert (profile.metadata["averageLikes"], profile.engagement_rate) == (0, 0)


def test_no_likes_are_a_number():
    assert instagram(post(id="1", likesCount=0), post(id="2", likesCount=10)).metadata["averageLikes"] == 5


# -- numbers that are null -------------------------------------------------------------------------------------------

NO_AUTHOR_NUMBERS = {"fans": None, "following": None, "video": None, "heart": None}
NO_USER_NUMBERS = {"follower_count": None, "following_count": None, "video_count": None, "likes_count": None}
NO_VIDEO_NUMBERS = {"like_count": None, "comment_count": None, "share_count": None, "view_count": None}
COUNTS = ("followersCount", "followingCount", "postsCount", "engagementRate")


def counts(account: dict[str, Any]) -> list[float]:
    return [account[name] for name in COUNTS]


def test_null_counts_of_the_scraper():
    profile = TIKTOK.read([video(author=NO_AUTHOR_NUMBERS, diggCount=None, playCount=None)], "sakura")
    assert profile.followers_count is profile.following_count is profile.posts_count is profile.engagement_rate is None
    assert (profile.posts[0].likes_count, profile.posts[0].views_count) == (0, 0)
    assert profile.metadata["recentVideos"][0]["likesCount"] == 0


async def test_consent_with_null_counts_connects_and_a_sync_keeps_what_is_known(api, people, tiktok, db):
    sakura = await people.influencer()
    tiktok.users[SAKURA] = NO_USER_NUMBERS
    tiktok.videos[SAKURA] = [{"id": "1", "create_time": 1_790_000_000, **NO_VIDEO_NUMBERS}]
    assert await connect_oauth(api, tiktok, sakura) == {"tiktok": "connected"}
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert counts(account) == [0, 0, 0, 0]

    tiktok.users.clear()
    tiktok.videos.clear()
    known = await sync(api, db, sakura, account)
    assert known["followersCount"] == 48_200 and known["engagementRate"] > 0
    tiktok.users[SAKURA] = NO_USER_NUMBERS
    assert counts(await sync(api, db, sakura, account)) == counts(known)
    assert await connect_oauth(api, tiktok, sakura) == {"tiktok": "connected"}
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert counts(account) == counts(known)
    assert await connect_oauth(api, tiktok, sakura, "yuki.hairstyle") == {"tiktok": "connected"}
    tiktok.users["mika_skincare"] = NO_USER_NUMBERS
    assert await connect_oauth(api, tiktok, sakura, "mika_skincare") == {"tiktok": "connected"}
    (account,) = (await api.get("/social-media/accounts", sakura)).data
    assert counts(account) == [0, 0, 0, 0]  # nothing is known about the new handle


async def sync(api, db, sakura, account) -> dict[str, Any]:
    await age(db, 8)
    answer = await api.post("/social-media/tiktok/public/sync", {"accountId": account["id"]}, sakura)
    assert (answer.status, answer.body["cached"]) == (200, False)
    return answer.data


async def test_a_scrape_with_null_counts_connects_and_a_sync_keeps_what_is_known(api, people, apify, db):
    sakura = await people.influencer()
    nulls = [item | {"authorMeta": item["authorMeta"] | NO_AUTHOR_NUMBERS} for item in tiktok_items(person(SAKURA), 3)]
    apify.datasets[SAKURA] = nulls
    account = await connect(api, sakura, platform="tiktok")
    assert counts(account) == [0, 0, 0, 0]
    assert (await api.get(f"/social-media/tiktok/profile/{SAKURA}", sakura)).data["followersCount"] == 0
    apify.datasets.clear()
    known = await sync(api, db, sakura, account)
    assert known["followersCount"] == 48_200
    apify.datasets[SAKURA] = nulls
    assert counts(await sync(api, db, sakura, account)) == counts(known)


async def test_instagram_without_its_lesser_counts_keeps_what_is_known(api, people, apify, db):
    sakura = await people.influencer()
    account = await connect(api, sakura)
    apify.datasets[SAKURA] = [instagram_profile(person(SAKURA)) | {"followsCount": None, "postsCount": None}]
    await age(db, 8)
    answer = await api.post("/social-media/instagram/sync", {"accountId": account["id"]}, sakura)
    assert answer.body["cached"] is False
    assert counts(answer.data) == counts(account)
