"""From the actors' datasets to a profile: known and unusual spellings, and every kind of missing profile."""

import json
from datetime import UTC, datetime

import pytest

from services.apify.runs import ApifyActors
from services.errors import ActorFailed, EmptyDataset, ProfileNotFound, ProfilePrivate, UnreadableAnswer, VendorError
from services.social.instagram import InstagramProfiles
from services.tiktok.profiles import TikTokProfiles
from settings import load_settings
from tests.helpers.scrapes import INSTAGRAM, TIKTOK, instagram, post, video
from tests.vendors.apify import TOKEN, Apify
from tests.vendors.people import WRITTEN, instagram_profile, tiktok_items

COMMON_KEYS = {
    "bio",
    "isVerified",
    "averageLikes",
    "averageComments",
    "averageShares",
    "averageViews",
    "topHashtags",
}
POST_KEYS = {"id", "type", "caption", "likesCount", "commentsCount", "timestamp", "url", "displayUrl"}
VIDEO_KEYS = {
    "id",
    "shareUrl",
    "coverImageUrl",
    "videoDescription",
    "likesCount",
    "commentsCount",
    "sharesCount",
    "viewsCount",
}
SAKURA = WRITTEN[0]


# Instagram


def test_an_instagram_profile_as_the_actor_writes_it():
    profile = INSTAGRAM.read([instagram_profile(SAKURA)], "Sakura.Nails_Tokyo")
    assert profile.platform == "INSTAGRAM"
    assert profile.username == "sakura.nails_tokyo"
    assert profile.display_name == "さくら｜ネイルアーティスト"
    assert profile.biography == SAKURA.bio
    assert profile.profile_picture and profile.profile_picture.endswith("_l.jpg")
    assert profile.profile_url == "https://www.instagram.com/sakura.nails_tokyo/"
    assert (profile.followers_count, profile.following_count, profile.posts_count) == (48_200, 612, 1_043)
    assert profile.engagement_rate and 0 < profile.engagement_rate < 10
    assert [post.media_type for post in profile.posts[:3]] == ["IMAGE", "CAROUSEL", "REEL"]
    assert profile.posts[0].hashtags == ["美容", "ネイルサロン", "Tokyo"]
    assert profile.posts[0].posted_at == datetime(2026, 10, 30, 9, tzinfo=UTC)
    assert profile.posts[6].caption is None


def test_instagram_metadata_has_exactly_the_keys_that_the_web_client_reads():
    metadata = INSTAGRAM.read([instagram_profile(SAKURA)], SAKURA.username).metadata
    assert set(metadata) == COMMON_KEYS | {"recentPosts"}
    assert all(set(post) == POST_KEYS for post in metadata["recentPosts"])
    assert [post["type"] for post in metadata["recentPosts"][:3]] == ["Image", "Sidecar", "Video"]
    assert metadata["recentPosts"][0]["timestamp"] == "2026-10-30T09:00:00.000Z"
    assert metadata["recentPosts"][6]["caption"] == ""
    assert "美容" in metadata["topHashtags"]
    assert json.loads(json.dumps(metadata)) == metadata


@pytest.mark.parametrize(
    "spelling",
    [
        {"followsCount": 7, "private": True, "verified": True, "profilePicUrlHD": "https://x.test/hd.jpg"},
        {"followingCount": 7, "isPrivate": True, "isVerified": True, "profilePicUrl": "https://x.test/hd.jpg"},
        {"followsCount": None, "followingCount": 7, "private": None, "isPrivate": True, "verified": None}
        | {"isVerified": True, "profilePicUrlHD": "", "profilePicUrl": "https://x.test/hd.jpg"},
    ],
)
def test_both_spellings_of_an_instagram_profile(spelling):
    profile = instagram(**spelling)
    assert profile.following_count == 7
    assert profile.is_private and profile.is_verified_by_platform
    assert profile.metadata["isVerified"] is True
    assert profile.profile_picture == "https://x.test/hd.jpg"


def test_both_spellings_of_an_instagram_post():
    profile = instagram(post(id="1"), post(id=None, shortCode="Cxyz"))
    assert [post.platform_post_id for post in profile.posts] == ["1", "Cxyz"]


# TikTok


def test_a_tiktok_profile_as_the_actor_writes_it():
    profile = TIKTOK.read(tiktok_items(SAKURA, 24), "SAKURA.nails_tokyo")
    assert profile.platform == "TIKTOK"
    assert profile.username == "sakura.nails_tokyo"
    assert profile.profile_url == "https://www.tiktok.com/@sakura.nails_tokyo"
    assert (profile.followers_count, profile.following_count, profile.posts_count) == (48_200, 612, 1_043)
    assert len(profile.posts) == 24
    assert {post.media_type for post in profile.posts} == {"VIDEO"}
    assert profile.posts[0].hashtags == ["美容", "ネイルサロン", "Tokyo"]
    assert profile.posts[0].views_count > 0
    assert str(profile.posts[0].media_url).endswith(".jpeg")


def test_tiktok_metadata_has_exactly_the_keys_that_the_web_client_reads():
    metadata = TIKTOK.read(tiktok_items(SAKURA, 24), SAKURA.username).metadata
    assert set(metadata) == COMMON_KEYS | {"recentVideos"}
    assert all(set(video) == VIDEO_KEYS for video in metadata["recentVideos"])
    assert json.loads(json.dumps(metadata)) == metadata


def test_a_tiktok_profile_without_videos():
    profile = TIKTOK.read([{"authorMeta": {"name": "sakura", "fans": 3}, "note": "No videos found"}], "sakura")
    assert (profile.followers_count, profile.posts, profile.engagement_rate) == (3, [], 0.0)


# Missing profiles


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([{"username": "sakura", "error": "not_found", "errorDescription": "Page not found"}], ProfileNotFound),
        ([{"error": "no_items", "errorDescription": "Empty or private data for provided input"}], ProfileNotFound),
        ([{"error": "no_items", "requestErrorMessages": ["Error: Request blocked"]}], ActorFailed),
        ([{"error": "profile_private", "errorDescription": "Private"}], ProfilePrivate),
        ([{"error": "cookies expired"}], ActorFailed),
        ([{"username": "somebody_else", "followersCount": 5}], ProfileNotFound),
        ([{"username": "sakura"}], UnreadableAnswer),
        ([{"username": "sakura", "followersCount": "a lot"}], UnreadableAnswer),
        ([{"username": "sakura", "followersCount": 5, "private": {"x": 1}}], UnreadableAnswer),
        ([{"username": ["sakura"], "followersCount": 5}], ProfileNotFound),
        ([{"hello": "world"}], UnreadableAnswer),
        ([1, None, "x", [[]]], UnreadableAnswer),
    ],
)
def test_no_instagram_profile(items, error):
    with pytest.raises(VendorError) as caught:
        INSTAGRAM.read(items, "sakura")
    assert type(caught.value) is error


@pytest.mark.parametrize(
    ("items", "error"),
    [
        ([{"error": "Profile does not exist", "errorCode": "NOT_FOUND", "input": "sakura"}], ProfileNotFound),
        ([{"authorMeta": {"name": "sakura"}, "error": "Profile not found"}], ProfileNotFound),
        ([{"note": "This account is private", "input": "sakura"}], ProfilePrivate),
        ([{"errorCode": "BLOCKED", "input": "sakura"}], ActorFailed),
        ([video(author={"name": "somebody_else"})], ProfileNotFound),
        ([video(author={"fans": "a lot"})], UnreadableAnswer),
        ([{"authorMeta": "sakura", "id": "1"}], UnreadableAnswer),
        ([{"hello": "world"}], UnreadableAnswer),
        ([1, None], UnreadableAnswer),
    ],
)
def test_no_tiktok_profile(items, error):
    with pytest.raises(VendorError) as caught:
        TIKTOK.read(items, "sakura")
    assert type(caught.value) is error


# Through the SDK


@pytest.mark.parametrize("profiles", [InstagramProfiles, TikTokProfiles])
async def test_fetch_and_resume(profiles, tmp_path):
    async with Apify() as vendor:
        settings = load_settings(
            app_env="test", data_dir=tmp_path, apify_api_url=vendor.url, apify_api_token=TOKEN, scrape_timeout="20s"
        )
        actors = ApifyActors.from_settings(settings)
        assert actors.configured
        assert actors.timeout == 20
        service = profiles.from_settings(settings, actors)
        runs = []

        async def on_started(run):
            runs.append(run.id)

        profile = await service.fetch("sakura.nails_tokyo", on_started)
        assert profile.platform == service.platform
        assert profile.posts
        assert await service.resume(runs[0], "sakura.nails_tokyo") == profile
        assert vendor.runs_started == 1
        await actors.close()


@pytest.mark.parametrize("profiles", [InstagramProfiles, TikTokProfiles])
@pytest.mark.parametrize(
    ("username", "error"),
    [
        ("nobody.here", ProfileNotFound),
        ("nothing.here", EmptyDataset),
        ("himitsu.nails", ProfilePrivate),
        ("garbage.actor", UnreadableAnswer),
        ("no_items", ProfileNotFound),
        ("blocked", ActorFailed),
    ],
)
async def test_fetching_what_cannot_be_shown(profiles, username, error):
    async with Apify() as vendor:
        vendor.behaviours |= {"no_items": "no_items", "blocked": "blocked"}
        actor = "apify/instagram-profile-scraper" if profiles is InstagramProfiles else "clockworks/tiktok-scraper"
        with pytest.raises(VendorError) as caught:
            await profiles(ApifyActors(TOKEN, vendor.url, 20), actor).fetch(username)
        assert type(caught.value) is error


async def test_the_inputs_are_those_of_the_actors():
    async with Apify() as vendor:
        actors = ApifyActors(TOKEN, vendor.url, 20)
        await InstagramProfiles(actors, "apify/instagram-profile-scraper").fetch("sakura.nails_tokyo")
        await TikTokProfiles(actors, "clockworks/tiktok-scraper").fetch("sakura.nails_tokyo")
        starts = [call for call in vendor.calls if call.method == "POST"]
        assert [call.body for call in starts] == [
            {"usernames": ["sakura.nails_tokyo"]},
            {"profiles": ["sakura.nails_tokyo"], "resultsPerPage": 24},
        ]
        assert [call.query["maxItems"] for call in starts] == ["1", "24"]
