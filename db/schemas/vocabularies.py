"""The words of profiles and searches: categories, regions and genders, with their other spellings.

Categories and prefectures are stored as lower-case slugs, countries as upper-case codes. Reading is lenient: case,
accents, spaces and Japanese spellings do not matter.
"""

import re
import unicodedata

from db.schemas.countries import COUNTRIES

CATEGORIES = (
    "beauty", "lifestyle", "fashion", "fitness", "food", "travel", "technology", "gaming", "wellness", "parenting",
    "pets", "photography",
)  # fmt: skip

CATEGORY_ALIASES = {
    "tech": "technology", "it": "technology", "gadgets": "technology", "テクノロジー": "technology",
    "makeup": "beauty", "make-up": "beauty", "cosmetics": "beauty", "skincare": "beauty", "hair": "beauty",
    "nails": "beauty", "美容": "beauty", "life": "lifestyle", "ライフスタイル": "lifestyle", "style": "fashion",
    "ファッション": "fashion", "gym": "fitness", "sports": "fitness", "フィットネス": "fitness", "foodie": "food",
    "cooking": "food", "グルメ": "food", "旅行": "travel", "games": "gaming", "game": "gaming", "ゲーム": "gaming",
    "health": "wellness", "健康": "wellness", "family": "parenting", "kids": "parenting", "子育て": "parenting",
    "pet": "pets", "animals": "pets", "ペット": "pets", "photo": "photography", "photos": "photography",
    "写真": "photography",
}  # fmt: skip

# Slug → Japanese name, from north to south.
PREFECTURES = {
    "hokkaido": "北海道", "aomori": "青森", "iwate": "岩手", "miyagi": "宮城", "akita": "秋田", "yamagata": "山形",
    "fukushima": "福島", "ibaraki": "茨城", "tochigi": "栃木", "gunma": "群馬", "saitama": "埼玉", "chiba": "千葉",
    "tokyo": "東京", "kanagawa": "神奈川", "niigata": "新潟", "toyama": "富山", "ishikawa": "石川", "fukui": "福井",
    "yamanashi": "山梨", "nagano": "長野", "gifu": "岐阜", "shizuoka": "静岡", "aichi": "愛知", "mie": "三重",
    "shiga": "滋賀", "kyoto": "京都", "osaka": "大阪", "hyogo": "兵庫", "nara": "奈良", "wakayama": "和歌山",
    "tottori": "鳥取", "shimane": "島根", "okayama": "岡山", "hiroshima": "広島", "yamaguchi": "山口",
    "tokushima": "徳島", "kagawa": "香川", "ehime": "愛媛", "kochi": "高知", "fukuoka": "福岡", "saga": "佐賀",
    "nagasaki": "長崎", "kumamoto": "熊本", "oita": "大分", "miyazaki": "宮崎", "kagoshima": "鹿児島",
    "okinawa": "沖縄",
}  # fmt: skip

# Cities that are better known than their prefecture.
CITIES = {
    "yokohama": "kanagawa", "横浜": "kanagawa", "kawasaki": "kanagawa", "川崎": "kanagawa", "kamakura": "kanagawa",
    "nagoya": "aichi", "名古屋": "aichi", "sapporo": "hokkaido", "札幌": "hokkaido", "kobe": "hyogo", "神戸": "hyogo",
    "himeji": "hyogo", "sendai": "miyagi", "仙台": "miyagi", "morioka": "iwate", "mito": "ibaraki",
    "utsunomiya": "tochigi", "maebashi": "gunma", "takasaki": "gunma", "omiya": "saitama", "kanazawa": "ishikawa",
    "金沢": "ishikawa", "kofu": "yamanashi", "hamamatsu": "shizuoka", "浜松": "shizuoka", "tsu": "mie",
    "otsu": "shiga", "sakai": "osaka", "matsue": "shimane", "takamatsu": "kagawa", "matsuyama": "ehime",
    "hakata": "fukuoka", "kitakyushu": "fukuoka", "naha": "okinawa", "那覇": "okinawa", "shibuya": "tokyo",
    "shinjuku": "tokyo", "harajuku": "tokyo", "ginza": "tokyo",
}  # fmt: skip

REGION_ALIASES = {
    **{japanese: slug for slug, japanese in PREFECTURES.items()}, **CITIES, "japan": "JP", "日本": "JP",
}  # fmt: skip

# “Osaka-fu”, “Kanagawa Prefecture”, “神奈川県”, “横浜市” mean the place before it.
REGION_SUFFIX = re.compile(r"-(prefecture|ken|fu|to|city|shi)$|(?<=..)[都府県市]$")

GENDERS = {
    "m": "MALE", "male": "MALE", "man": "MALE", "男性": "MALE",
    "f": "FEMALE", "female": "FEMALE", "woman": "FEMALE", "女性": "FEMALE",
    "other": "NON_BINARY", "non-binary": "NON_BINARY", "nonbinary": "NON_BINARY", "その他": "NON_BINARY",
    "prefer-not-to-say": "PREFER_NOT_TO_SAY", "回答しない": "PREFER_NOT_TO_SAY",
}  # fmt: skip


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
