"""Words in profiles and searches are accepted in the spellings that users type."""

import pytest

from db.error_codes import ERROR_CODES
from db.schemas.vocabularies import (
    CATEGORIES,
    CATEGORY_ALIASES,
    CATEGORY_NAMES,
    CITIES,
    GENDERS,
    PREFECTURES,
    REGION_ALIASES,
    REGION_NAMES,
    read_category,
    read_gender,
    read_region,
    slug,
)
from tests.helpers.clients import Api


@pytest.mark.parametrize(
    ("written", "region"),
    [
        ("Tokyo", "tokyo"), (" TOKYO ", "tokyo"), ("東京都", "tokyo"), ("Tokyo-to", "tokyo"), ("京都", "kyoto"),
        ("京都府", "kyoto"), ("Hyōgo", "hyogo"), ("Osaka-fu", "osaka"), ("Kanagawa Prefecture", "kanagawa"),
        ("yokohama", "kanagawa"), ("横浜市", "kanagawa"), ("Nagoya", "aichi"), ("sapporo", "hokkaido"),
        ("KOBE", "hyogo"), ("北海道", "hokkaido"), ("ＯＫＩＮＡＷＡ", "okinawa"), ("JP", "JP"), ("us", "US"),
        ("Japan", "JP"), ("ｊｐ", "JP"), ("Kofu", "yamanashi"),
    ],
)  # fmt: skip
def test_regions(written: str, region: str):
    assert read_region(written) == region


@pytest.mark.parametrize(
    ("written", "category"),
    [
        ("Beauty", "beauty"),
        ("tech", "technology"),
        ("TECH", "technology"),
        ("ファッション", "fashion"),
        ("ペット", "pets"),
    ],
)
def test_categories(written: str, category: str):
    assert read_category(written) == category


@pytest.mark.parametrize(
    ("written", "gender"),
    [
        ("Male", "MALE"),
        ("female", "FEMALE"),
        ("Other", "NON_BINARY"),
        ("NON_BINARY", "NON_BINARY"),
        ("non binary", "NON_BINARY"),
        ("PREFER_NOT_TO_SAY", "PREFER_NOT_TO_SAY"),
        ("Prefer not to say", "PREFER_NOT_TO_SAY"),
    ],
)
def test_genders(written: str, gender: str):
    assert read_gender(written) == gender


@pytest.mark.parametrize("read", [read_region, read_category, read_gender])
@pytest.mark.parametrize("written", ["", "atlantis", "zz", "xx", "都", "-", "tokyo;drop", "🌸"])
def test_other_words_are_rejected(read, written: str):
    with pytest.raises(ValueError, match="must be"):
        read(written)


def test_every_alias_is_reachable_and_valid():
    assert len(PREFECTURES) == 47
    assert set(CATEGORY_ALIASES.values()) <= set(CATEGORIES)
    assert set(CITIES.values()) <= PREFECTURES.keys()
    for alias in (*CATEGORY_ALIASES, *REGION_ALIASES, *GENDERS):
        assert slug(alias) == alias


def test_every_stored_word_is_accepted_unchanged():
    assert len(REGION_NAMES) == 47 + 249
    assert [read_region(region) for region in REGION_NAMES] == list(REGION_NAMES)
    assert [read_category(category) for category in CATEGORY_NAMES] == list(CATEGORIES)


async def test_the_vocabularies_are_public(api: Api):
    answer = await api.get("/discovery/vocabularies")
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    regions, categories = answer.data["regions"], answer.data["categories"]
    assert regions[0] == {"slug": "hokkaido", "name": "Hokkaido"}
    assert {"slug": "JP", "name": "Japan"} in regions and {"slug": "CI", "name": "Côte d’Ivoire"} in regions
    assert [region["name"] for region in regions[47:50]] == ["Afghanistan", "Åland Islands", "Albania"]
    assert categories[0] == {"slug": "beauty", "name": "Beauty"} and len(categories) == 12
    assert answer.data["errorCodes"] == list(ERROR_CODES)
    assert answer.data["errorCodes"] == sorted(answer.data["errorCodes"])
