"""The words of profiles and searches: categories, regions and genders, with their other spellings.

Categories and prefectures are stored as lower-case slugs, countries as upper-case codes. Reading is lenient: case,
accents, spaces and Japanese spellings do not matter.
"""

import re
import unicodedata

from db.schemas.countries import COUNTRIES
from db.schemas.words import Category, words_of


def by_alias(aliases: dict[str, str]) -> dict[str, str]:
    """Return the stored word of each alias, from the aliases of each stored word, separated by spaces."""
    return {alias: word for word, listed in aliases.items() for alias in listed.split()}


CATEGORIES = words_of(Category)

# Spellings of each category.
CATEGORY_ALIASES = by_alias(
    {
        "technology": "tech it gadgets テクノロジー",
        "beauty": "makeup make-up cosmetics skincare hair nails 美容",
        "lifestyle": "life ライフスタイル",
        "fashion": "style ファッション",
        "fitness": "gym sports フィットネス",
        "food": "foodie cooking グルメ",
        "travel": "旅行",
        "gaming": "games game ゲーム",
        "wellness": "health 健康",
        "parenting": "family kids 子育て",
        "pets": "pet animals ペット",
        "photography": "photo photos 写真",
    }
)

# Slug → Japanese name, from north to south.
PREFECTURES = {
    "hokkaido": "北海道",
    "aomori": "青森",
    "iwate": "岩手",
    "miyagi": "宮城",
    "akita": "秋田",
    "yamagata": "山形",
    "fukushima": "福島",
    "ibaraki": "茨城",
    "tochigi": "栃木",
    "gunma": "群馬",
    "saitama": "埼玉",
    "chiba": "千葉",
    "tokyo": "東京",
    "kanagawa": "神奈川",
    "niigata": "新潟",
    "toyama": "富山",
    "ishikawa": "石川",
    "fukui": "福井",
    "yamanashi": "山梨",
    "nagano": "長野",
    "gifu": "岐阜",
    "shizuoka": "静岡",
    "aichi": "愛知",
    "mie": "三重",
    "shiga": "滋賀",
    "kyoto": "京都",
    "osaka": "大阪",
    "hyogo": "兵庫",
    "nara": "奈良",
    "wakayama": "和歌山",
    "tottori": "鳥取",
    "shimane": "島根",
    "okayama": "岡山",
    "hiroshima": "広島",
    "yamaguchi": "山口",
    "tokushima": "徳島",
    "kagawa": "香川",
    "ehime": "愛媛",
    "kochi": "高知",
    "fukuoka": "福岡",
    "saga": "佐賀",
    "nagasaki": "長崎",
    "kumamoto": "熊本",
    "oita": "大分",
    "miyazaki": "宮崎",
    "kagoshima": "鹿児島",
    "okinawa": "沖縄",
}

# Cities that are better known than their prefecture.
CITIES = by_alias(
    {
        "kanagawa": "yokohama 横浜 kawasaki 川崎 kamakura",
        "aichi": "nagoya 名古屋",
        "hokkaido": "sapporo 札幌",
        "hyogo": "kobe 神戸 himeji",
        "miyagi": "sendai 仙台",
        "iwate": "morioka",
        "ibaraki": "mito",
        "tochigi": "utsunomiya",
        "gunma": "maebashi takasaki",
        "saitama": "omiya",
        "ishikawa": "kanazawa 金沢",
        "yamanashi": "kofu",
        "shizuoka": "hamamatsu 浜松",
        "mie": "tsu",
        "shiga": "otsu",
        "osaka": "sakai",
        "shimane": "matsue",
        "kagawa": "takamatsu",
        "ehime": "matsuyama",
        "fukuoka": "hakata kitakyushu",
        "okinawa": "naha 那覇",
        "tokyo": "shibuya shinjuku harajuku ginza",
    }
)

REGION_ALIASES = {japanese: slug for slug, japanese in PREFECTURES.items()} | CITIES | {"japan": "JP", "日本": "JP"}

# “Osaka-fu”, “Kanagawa Prefecture”, “神奈川県”, “横浜市” mean the place before it.
REGION_SUFFIX = re.compile(r"-(prefecture|ken|fu|to|city|shi)$|(?<=..)[都府県市]$")

GENDERS = by_alias(
    {
        "MALE": "m male man 男性",
        "FEMALE": "f female woman 女性",
        "NON_BINARY": "other non-binary nonbinary その他",
        "PREFER_NOT_TO_SAY": "prefer-not-to-say 回答しない",
    }
)


def slug(text: str) -> str:
    """Return the text in lower case, without accents (Hyōgo), words joined by hyphens, letters in normal width."""
    plain = unicodedata.normalize("NFKD", text)
    bare = "".join(char for char in plain if not "\u0300" <= char <= "\u036f")
    return re.sub(r"[\s_-]+", "-", unicodedata.normalize("NFKC", bare).strip().casefold())


def read_category(text: str) -> str:
    word = slug(text)
    category = CATEGORY_ALIASES.get(word, word)
    if category not in CATEGORIES:
        raise ValueError(f"must be one of {', '.join(CATEGORIES)}")
    return category


def read_region(text: str) -> str:
    word = slug(text)
    for name in (word, REGION_SUFFIX.sub("", word)):
        for region in (REGION_ALIASES.get(name, name), name.upper()):
            if region in PREFECTURES or region in COUNTRIES:
                return region
    raise ValueError("must be a Japanese prefecture or a two-letter country code")


def read_gender(text: str) -> str:
    gender = GENDERS.get(slug(text))
    if gender is None:
        raise ValueError("must be MALE, FEMALE, NON_BINARY or PREFER_NOT_TO_SAY")
    return gender


# English names by stored word: prefectures from north to south, then countries by name.
REGION_NAMES = {
    **{prefecture: prefecture.title() for prefecture in PREFECTURES},
    **dict(sorted(COUNTRIES.items(), key=lambda country: slug(country[1]))),
}
CATEGORY_NAMES = {category: category.title() for category in CATEGORIES}
