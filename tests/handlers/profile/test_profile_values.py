"""Values of a profile: numbers, texts, links and times as vendors and attackers write them."""

import json

import pytest

from services.social.profiles import engagement, hashtags, read_username
from tests.helpers.scrapes import TIKTOK, instagram, post, video

# Numbers


def test_engagement_is_the_mean_of_reactions_in_percent_of_the_followers():
    assert instagram(post(id="1"), post(id="2", likesCount=20, commentsCount=1)).engagement_rate == 1.65
    shared = TIKTOK.read([video(shareCount=3), video(id="8", diggCount=0, commentCount=0)], "sakura")
    assert shared.engagement_rate == 0.75
    assert (shared.metadata["averageLikes"], shared.metadata["averageShares"]) == (5.0, 1.5)


def test_zero_followers_have_no_engagement():
    assert instagram(post(likesCount=1_200_000), followersCount=0).engagement_rate == 0.0
    assert engagement([], 100) == 0.0


@pytest.mark.parametrize("likes", [1_200_000, 1_200_000.0, "1200000", "1,200,000", "1.2M", "1200K", " 1.2m "])
def test_a_million_likes_in_any_spelling(likes):
    profile = instagram(post(likesCount=likes))
    assert profile.posts[0].likes_count == 1_200_000
    assert type(profile.metadata["recentPosts"][0]["likesCount"]) is int
    assert profile.metadata["averageLikes"] == 1_200_000


@pytest.mark.parametrize("likes", [-1, None, "", False])
def test_hidden_likes_count_as_none(likes):
    assert instagram(post(likesCount=likes)).posts[0].likes_count == 0


def test_views_are_averaged_over_what_can_be_viewed():
    profile = instagram(post(id="1"), post(id="2", type="Video", videoViewCount=300))
    assert profile.metadata["averageViews"] == 300
    assert instagram(post()).metadata["averageViews"] == 0


@pytest.mark.parametrize("count", [10**400, "9" * 400, "1e999", float("inf"), float("nan"), [], {}, "many", "-", "½"])
def test_unreasonable_counts_cause_no_error(count):
    """A post with an invalid count is left out; a huge number is limited to what JSON numbers can hold."""
    profile = instagram(post(id="1", likesCount=count), post(id="2"))
    assert profile.posts[-1].platform_post_id == "2"
    assert all(0 <= post.likes_count < 2**53 for post in profile.posts)
    assert profile.engagement_rate >= 0


# Texts


@pytest.mark.parametrize(
    ("caption", "tags"),
    [
        ("#美容 #ネイルサロン #Tokyo", ["美容", "ネイルサロン", "Tokyo"]),
        ("今日の#ネイル#美容。#ヘアサロン、", ["ネイル", "美容", "ヘアサロン"]),
        ("＃全角も #ー長音 #々 #ﾈｲﾙ", ["全角も", "ー長音", "々", "ﾈｲﾙ"]),
        ("#か\u3099くせい", ["がくせい"]),
        ("#tokyo #Tokyo #TOKYO", ["tokyo"]),
        ("#1 #2024 #2024夏", ["2024夏"]),
        ("# #  ## #!", []),
        ("it&#39;s https://x.test/a#part #yes", ["yes"]),
        ("https://x.test/a #b", ["b"]),
        ("#💅 #nail_art", ["nail_art"]),
        ("#جمال #красота", ["جمال", "красота"]),
        ("", []),
        (None, []),
    ],
)
def test_hashtags(caption, tags):
    assert hashtags(caption) == tags


def test_hashtags_have_a_bound():
    assert len(hashtags(" ".join(f"#tag{n}" for n in range(1000)))) == 60
    assert hashtags("#" + "a" * 5000) == ["a" * 100]


def test_top_hashtags_are_the_most_used_in_any_case():
    profile = instagram(post(id="1", caption="#a #Nail"), post(id="2", caption="#nail #b"), post(id="3", caption="#b"))
    assert profile.metadata["topHashtags"] == ["Nail", "b", "a"]


@pytest.mark.parametrize("caption", [None, "", "   ", 5.0, ["x"]])
def test_posts_without_captions(caption):
    profile = instagram(post(caption=caption))
    assert profile.posts[0].caption is None
    assert profile.posts[0].hashtags == []
    assert profile.metadata["recentPosts"][0]["caption"] == ""


def test_texts_can_be_stored_and_sent():
    """PostgreSQL stores no NUL, and UTF-8 encodes no lone surrogate."""
    profile = instagram(post(caption="a\x00b\ud83dc\x1b[2J\nd\te"), biography="\x00", fullName="花子\u202e🎉")
    assert profile.posts[0].caption == "abc[2J\nd\te"
    assert profile.biography is None
    assert profile.metadata["bio"] == ""
    assert profile.display_name == "花子\u202e🎉"
    json.dumps(profile.metadata, ensure_ascii=False).encode()


def test_texts_have_a_bound():
    profile = instagram(post(caption="あ" * 100_000), biography="い" * 100_000, fullName="う" * 100_000)
    assert (len(profile.posts[0].caption), len(profile.biography), len(profile.display_name)) == (5000, 2000, 200)


@pytest.mark.parametrize(
    "link", ["javascript:alert(1)", "data:text/html,x", "//x.test", "https://x.test/ a", "https://" + "x" * 9000, 5, {}]
)
def test_invalid_links_are_dropped(link):
    profile = instagram(post(url=link, displayUrl=link), profilePicUrl=link)
    assert (profile.profile_picture, profile.posts[0].url, profile.posts[0].media_url) == (None, None, None)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-10-30T09:00:00.000Z", "2026-10-30T09:00:00.000Z"),
        ("2026-10-30T18:00:00+09:00", "2026-10-30T09:00:00.000Z"),
        (1793350800, "2026-10-30T09:00:00.000Z"),
        ("1793350800", "2026-10-30T09:00:00.000Z"),
        (1793350800000, "2026-10-30T09:00:00.000Z"),
        *(
            (bad, None)
            for bad in ("yesterday", "", None, 0, -(10**30), 10**30, float("nan"), "0001-01-01T00:00:00+14:00")
        ),
    ],
)
def test_moments(moment, expected):
    profile = instagram(post(timestamp=moment))
    assert profile.metadata["recentPosts"][0]["timestamp"] == expected
    assert (profile.posts[0].posted_at is None) == (expected is None)


def test_each_post_comes_once():
    """Two rows of one post would make the upsert fail."""
    assert [post.platform_post_id for post in instagram(post(), post(), post(id="2")).posts] == ["1", "2"]


def test_posts_have_a_bound():
    profile = instagram(*(post(id=str(n)) for n in range(10_000)))
    assert len(profile.posts) == len(profile.metadata["recentPosts"]) == 24


@pytest.mark.parametrize("broken", [None, 5, "x", [], {}, {"type": "Image"}, {"id": ""}, {"id": {}}])
def test_a_broken_post_does_not_fail_the_profile(broken):
    assert [post.platform_post_id for post in instagram(broken, post()).posts] == ["1"]


@pytest.mark.parametrize("posts", [None, "x", {}, 5])
def test_posts_that_are_not_a_list(posts):
    assert instagram(latestPosts=posts).posts == []


# Usernames


@pytest.mark.parametrize(
    ("typed", "username"),
    [
        ("@Sakura.Nails_Tokyo", "Sakura.Nails_Tokyo"),
        ("  sakura ", "sakura"),
        ("＠sakura", "sakura"),
        ("a.b_c.9", "a.b_c.9"),
    ],
)
def test_usernames_as_people_type_them(typed, username):
    assert read_username("INSTAGRAM", typed) == username


@pytest.mark.parametrize("typed", ["", "@", "@@sakura", "a b", "a/b", "さくら", "sakura\n#", "ａｂ", "a" * 31, "a\x00"])
def test_usernames_that_cannot_be(typed):
    with pytest.raises(ValueError, match="username"):
        read_username("INSTAGRAM", typed)


@pytest.mark.parametrize("typed", ["a", "a" * 25])
def test_tiktok_usernames_have_other_lengths(typed):
    assert read_username("INSTAGRAM", typed)
    with pytest.raises(ValueError, match="username"):
        read_username("TIKTOK", typed)
