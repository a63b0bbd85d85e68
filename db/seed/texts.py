"""Names, profiles and messages of the invented people of `make seed`."""

from typing import NamedTuple


class Creator(NamedTuple):
    name: str
    handle: str
    categories: str
    region: str
    age: int
    gender: str
    followers: int
    bio: str


class Shop(NamedTuple):
    owner: str
    handle: str
    business_name: str
    categories: str
    region: str
    established: int
    team: int
    description: str


CREATORS = [
    Creator("佐藤 美咲", "misaki.glow", "beauty,lifestyle", "tokyo", 26, "FEMALE", 128_400,
            "都内で働きながら毎日のスキンケアを記録しています。敏感肌でも続けられるケアを紹介🌸"),
    Creator("Emma Wilson", "emma.in.tokyo", "travel,food", "tokyo", 31, "FEMALE", 84_200,
            "British in Tokyo since 2016. Hidden cafés, hot springs and the occasional bad haircut."),
    Creator("鈴木 大輔", "daisuke_fit", "fitness,wellness", "osaka", 34, "MALE", 56_700,
            "大阪のパーソナルトレーナー。忙しい人のための10分トレーニングを発信💪"),
    Creator("Aiko Tanaka", "aiko.nails", "beauty,fashion", "kanagawa", 24, "FEMALE", 212_000,
            "Nail art every Friday. Yokohama. 横浜でネイルとコーデの記録をしています。"),
    Creator("高橋 蓮", "ren.streets", "fashion,photography", "tokyo", 22, "MALE", 43_900,
            "原宿と下北沢のストリートスナップ。古着とフィルムカメラが好き。"),
    Creator("Sophie Martin", "sophiecurls", "beauty", "kyoto", 29, "FEMALE", 31_500,
            "Curly hair in a humid country. Honest reviews of salons, products and rainy seasons."),
    Creator("渡辺 さくら", "sakura_mama3", "parenting,lifestyle", "saitama", 36, "FEMALE", 97_300,
            "三人の子どもと暮らす毎日。時短ヘアアレンジと家族のごはん。"),
    Creator("James O'Connor", "james.eats.kansai", "food,travel", "osaka", 38, "MALE", 65_100,
            "Eating my way through Kansai, one counter seat at a time. 食べるの大好き！"),
    Creator("伊藤 結衣", "yui_cosme", "beauty", "aichi", 21, "FEMALE", 154_800,
            "プチプラコスメを全部試す大学生。名古屋から毎日レビュー💄"),
    Creator("Mika Kobayashi", "mikawellness", "wellness,fitness", "fukuoka", 33, "FEMALE", 28_600,
            "Yoga teacher in Fukuoka. Breath, head spa, long walks by the sea."),
    Creator("山本 翔太", "shota.gadgets", "technology,gaming", "tokyo", 28, "MALE", 73_400,
            "ガジェットと美容家電のレビュー。ドライヤーだけで30台持っています。"),
    Creator("Lina Park", "linaparkstyle", "fashion,beauty", "tokyo", 25, "FEMALE", 187_600,
            "Seoul ⇄ Tokyo. K-beauty, colour analysis, and outfits for real days."),
    Creator("中村 陽菜", "hina.hair.diary", "beauty,lifestyle", "hokkaido", 23, "FEMALE", 39_200,
            "札幌の美容専門学生。髪色の記録とセルフカラーの失敗談。"),
    Creator("Oliver Brown", "oliverbarbers", "fashion,lifestyle", "hyogo", 30, "MALE", 22_800,
            "Beards, barbers and tailoring in Kobe. Formerly an architect."),
    Creator("小林 凛", "rin_vegan", "food,wellness", "nagano", 27, "NON_BINARY", 18_900,
            "ヴィーガン料理とクルエルティフリーコスメ。山の暮らし。"),
    Creator("加藤 葵", "aoi.photo", "photography,travel", "okinawa", 32, "FEMALE", 51_000,
            "沖縄の海と光を撮るフォトグラファー。ブライダルヘアの撮影も承ります📷"),
    Creator("Daniel Kim", "danielskin", "beauty,wellness", "osaka", 29, "MALE", 61_300,
            "Skincare for men who never asked. Ingredients explained without drama."),
    Creator("吉田 美月", "mizuki_bridal", "beauty,fashion", "chiba", 28, "FEMALE", 46_500,
            "プレ花嫁の美容記録。ブライダルエステとヘアメイクを比べています。"),
    Creator("Chloe Nguyen", "chloe.lashes", "beauty", "tokyo", 26, "FEMALE", 109_700,
            "Lash lover. I try every lash lift in town so that you need not."),
    Creator("山田 健太", "kenta_camp", "travel,pets", "shizuoka", 35, "MALE", 33_700,
            "犬とキャンプ。週末は富士山のふもとにいます🐕"),
    Creator("松本 彩香", "ayaka.kimono", "fashion,lifestyle", "kyoto", 30, "FEMALE", 77_900,
            "着物スタイリスト。着物に似合う髪型を京都から。"),
    Creator("Isabella Rossi", "bella.in.japan", "lifestyle,food", "hiroshima", 33, "FEMALE", 25_400,
            "Italian mamma in Hiroshima. Family, pasta, and finding a colourist who listens."),
    Creator("井上 拓海", "takumi_hair", "beauty,gaming", "fukuoka", 24, "MALE", 88_800,
            "メンズヘアセット動画。ゲーム配信もやってます🎮"),
    Creator("木村 真央", "mao_40s", "beauty,wellness", "tokyo", 44, "FEMALE", 142_100,
            "40代からの艶髪づくり。白髪ぼかしハイライト推進派です。"),
    Creator("Noah Schmidt", "noah.runs.japan", "fitness,travel", "miyagi", 27, "MALE", 19_600,
            "Running every prefecture. 31 of 47. Sports massage enthusiast."),
    Creator("林 ひなた", "hinata.pets", "pets,lifestyle", "gifu", 22, "FEMALE", 58_200,
            "猫二匹と暮らす。猫のいる美容室を探しています🐈"),
    Creator("Grace Taylor", "gracefulcoils", "beauty,lifestyle", "kanagawa", 34, "FEMALE", 71_500,
            "Natural hair, protective styles and English-speaking salons around Tokyo Bay."),
    Creator("清水 悠", "haru.minimal", "lifestyle,photography", "ishikawa", 29, "PREFER_NOT_TO_SAY", 36_400,
            "少ない物で暮らす。金沢の静かな朝と髪のケア。"),
    Creator("森 千夏", "chinatsu_dance", "fitness,fashion", "osaka", 20, "FEMALE", 233_000,
            "ダンサー。派手髪とステージメイクの記録🔥"),
    Creator("Yuki Sakamoto", "yukicolors", "beauty,photography", "hokkaido", 27, "NON_BINARY", 94_600,
            "Hair colour as an art form. Sapporo snow, silver hair, slow portraits."),
]  # fmt: skip

SHOPS = [
    Shop("青木 麻衣", "salon_sakura_omotesando", "Salon Sakura 表参道", "beauty,fashion", "tokyo", 2012, 14,
         "表参道駅から徒歩三分。髪質改善と透明感カラーが得意なサロンです。"),
    Shop("Kenji Mori", "morihair.ginza", "Mori Hair Ginza", "beauty,lifestyle", "tokyo", 2005, 9,
         "Quiet, private seats in Ginza. English, Japanese and Chinese spoken."),
    Shop("石川 直美", "naomi.nail", "Nail Atelier NAOMI", "beauty,fashion", "kanagawa", 2016, 5,
         "横浜元町の小さなネイルアトリエ。手描きアートのご相談を。"),
    Shop("前田 亮", "barber.maeda", "BARBER MAEDA", "fashion,lifestyle", "osaka", 1978, 4,
         "親子三代の理容室。フェードと顔そりは大阪一を目指しています。"),
    Shop("Laura Bennett", "curlhouse.tokyo", "Curl House Tokyo", "beauty", "tokyo", 2019, 6,
         "Curly and coily hair is all we do. Dry cuts, honest advice."),
    Shop("藤田 彩", "spa_hinoki", "スパ ひのき", "wellness,beauty", "kyoto", 2014, 11,
         "檜の香りの中でヘッドスパとアロマトリートメント。町家を改装しました。"),
    Shop("岡田 誠", "lash.bloom", "Lash Bloom 梅田", "beauty", "osaka", 2018, 8,
         "まつげパーマ専門店。自まつげを傷めない施術を大切にしています。"),
    Shop("Hana Nakajima", "hanabridal", "Hana Bridal Beauty", "beauty,fashion", "chiba", 2010, 12,
         "Hair and make-up for weddings, with trial shoots by the sea."),
    Shop("長谷川 舞", "studio_mai", "STUDIO MAI", "beauty,photography", "aichi", 2015, 7,
         "名古屋・栄。カットから撮影まで一日で仕上げるフォトサロンです。"),
    Shop("村上 浩", "snowhair", "Snow Hair 札幌", "beauty,lifestyle", "hokkaido", 2009, 10,
         "雪国の乾燥から髪を守る。オーガニックカラー取り扱い。"),
    Shop("近藤 恵", "kids_cut_megu", "キッズカット めぐ", "parenting,beauty", "saitama", 2017, 3,
         "お子さまが泣かない美容室。絵本とおもちゃをたくさん用意しています。"),
    Shop("Ryo Saito", "fadelab.fukuoka", "Fade Lab Fukuoka", "fashion,fitness", "fukuoka", 2020, 5,
         "Fades, braids and good coffee under the railway arches of Tenjin."),
    Shop("坂本 千尋", "chihiro_esthe", "エステサロン CHIHIRO", "beauty,wellness", "hyogo", 2011, 6,
         "神戸北野の完全予約制エステ。フェイシャルと痩身をご提案します。"),
    Shop("遠藤 慎", "color_works", "COLOR WORKS", "beauty,fashion", "tokyo", 2013, 16,
         "原宿の派手髪専門店。ブリーチ三回までの料金が同じです。"),
    Shop("Anna Fischer", "quietroom.kyoto", "The Quiet Room", "wellness,lifestyle", "kyoto", 2021, 2,
         "One chair, one guest, no small talk unless you would like some."),
    Shop("原田 光", "hikari_dental", "ひかりホワイトニング", "beauty", "hiroshima", 2016, 4,
         "セルフホワイトニングと歯のクリーニング。仕事帰りにどうぞ。"),
    Shop("小川 友美", "tomomi_nail", "ネイルルーム TOMOMI", "beauty", "shizuoka", 2014, 2,
         "富士山の見えるネイルルーム。フットケアも人気です。"),
    Shop("西村 剛", "groomed.sendai", "Groomed 仙台", "fashion,beauty", "miyagi", 2018, 5,
         "仙台駅前のメンズサロン。眉とヒゲのデザインまで。"),
    Shop("Maria Santos", "sunnybrows", "Sunny Brows", "beauty", "kanagawa", 2019, 3,
         "Brow lamination and threading near Kamakura station. Walk-ins welcome."),
    Shop("福田 香織", "kaori_kimono", "きもの髪結い 香", "fashion,beauty", "kyoto", 1999, 6,
         "着付けと日本髪。祇園で舞妓体験のヘアセットも承ります。"),
    Shop("太田 樹", "itsuki_organic", "Itsuki Organic", "wellness,beauty", "nagano", 2015, 4,
         "自家栽培のハーブを使うオーガニックサロン。森の中で髪を切る。"),
    Shop("三浦 玲奈", "reina_brow", "眉サロン REINA", "beauty", "tokyo", 2020, 7,
         "似合う眉は骨格で決まる。渋谷の美眉専門サロンです。"),
    Shop("David Lee", "seoulglow.osaka", "Seoul Glow Osaka", "beauty,wellness", "osaka", 2022, 9,
         "K-beauty facials, glass skin programmes and personal colour in Shinsaibashi."),
    Shop("竹内 優", "petit_salon_yu", "プチサロン 優", "beauty,pets", "gifu", 2013, 2,
         "看板猫のいる美容室。動物が好きなお客さまをお待ちしています。"),
    Shop("金子 由紀", "yuki_headspa", "ヘッドスパ 雪月花", "wellness", "ishikawa", 2017, 5,
         "金沢・東山の古民家で、眠れるヘッドスパを六十分。"),
    Shop("和田 航", "surf_and_cut", "Surf & Cut", "lifestyle,travel", "chiba", 2012, 3,
         "海帰りのシャワーつき。潮で傷んだ髪のケアはおまかせください。"),
    Shop("中野 梨花", "rika_eyelash", "RIKA Eyelash & Brow", "beauty,fashion", "fukuoka", 2016, 6,
         "博多駅すぐ。韓国風まつげと眉のセットが人気です。"),
    Shop("Peter Hughes", "kinshi.barbers", "Kinshi Barbers", "fashion,food", "tokyo", 2021, 4,
         "Barber in front, espresso bar in the back. Kinshicho, Tokyo."),
    Shop("上田 沙織", "saori_bali", "バリニーズスパ SAORI", "wellness,travel", "okinawa", 2010, 8,
         "沖縄の海を眺めながら本格バリニーズ。カップルルームもあります。"),
    Shop("平野 武", "hirano_tech", "ヘアテック平野", "technology,beauty", "aichi", 2023, 3,
         "AIで頭皮を診断するサロン。データで選ぶヘアケアを。"),
]  # fmt: skip

CAPTIONS = [
    "新しい髪色にしました✨ #ヘアカラー #美容室",
    "Sunday morning routine #skincare #slowliving",
    "今日のネイル💅 #ネイルデザイン #セルフネイル",
    "Found this place by accident #tokyocafe #hidden",
    "撮影の裏側 #オフショット #ヘアメイク",
    "Three products I finished this month #empties #beauty",
    "雨の日でも崩れない前髪の作り方 #ヘアアレンジ",
    "New brows, new me #browlamination #japan",
    "春の新作コスメをまとめてレビュー #コスメ #スウォッチ",
    "A haircut and a coffee, please #barber #coffee",
    "白髪ぼかしハイライト、三か月経過 #白髪ぼかし",
    "What I pack for two days away #travel #packing",
]

GREETINGS = [
    "はじめまして！投稿をいつも拝見しています。ぜひ一度お店にいらしていただけませんか。",
    "Hello! We love your photos and would like to invite you for a treatment and a post.",
    "はじめまして。PRのお仕事について、ご相談させてください。",
    "Hi, I live nearby and would be happy to show your salon to my followers.",
    "お店の雰囲気がとても好きです。コラボに興味はありますか？",
    "Hello, do you have room for a collaboration this spring?",
]

# A conversation about a collaboration: the influencer's messages, and the salon's answers.
TALK = [
    ("ご連絡ありがとうございます！ぜひお願いしたいです。", "こちらこそ😊 ご希望のメニューはありますか？"),
    ("カットとカラーをお願いできますか？", "もちろんです。どんな色がお好きですか？"),
    ("I was thinking of a cool beige, nothing too bright.", "Beige would suit you. May I see a photo?"),
    ("I will take one in daylight tomorrow.", "Perfect, thank you!"),
    ("写真をお送りしました。", "拝見しました。ブリーチなしで大丈夫そうです。"),
    ("よかったです！日程はいつがよいでしょうか。", "来週の火曜か木曜の午後はいかがでしょう？"),
    ("木曜の14時でお願いします。", "承知しました。木曜14時にお待ちしています。"),
    ("How many posts would you like in return?", "One reel and two stories, within two weeks if possible."),
    ("That works for me. May I show prices?", "Yes, please do. It helps our guests."),
    ("ハッシュタグの指定はありますか？", "お店の名前と #PR をお願いいたします。"),
    ("了解です！当日はよろしくお願いします。", "お気をつけていらしてください🌸"),
    ("少し遅れそうです、五分ほど…", "大丈夫ですよ、ゆっくりどうぞ。"),
    ("Thank you so much for today, I love the colour!", "It was a pleasure. You look wonderful."),
    ("リールを投稿しました！", "拝見しました。もう予約が二件入りました、すごいです！"),
    ("本当ですか、うれしい🎉", "またぜひ次の季節にもお願いします。"),
    ("はい、夏は少し明るくしたいです。", "では七月に。楽しみにしています。"),
]

# Parts that names and profiles of `--scale` are combined from.
words = str.split
FAMILY_NAMES = words("佐藤 鈴木 高橋 田中 伊藤 渡辺 山本 中村 小林 加藤 吉田 山田 佐々木 山口 松本 井上 木村 林 清水")
GIVEN_NAMES = words("陽菜 結衣 さくら 美咲 葵 凛 莉子 七海 彩花 真央 蓮 翔太 大輝 悠真 湊 樹 陸 健太 直樹 颯")
FIRST_NAMES = words("Emma Olivia Mia Sophie Chloe Hannah Grace Naomi Yuki Aiko James Oliver Noah Liam Lucas Kenji")
LAST_NAMES = words("Smith Tanaka Brown Sato Wilson Suzuki Taylor Mori Martin Kimura Nguyen Lee Rossi Schmidt Kato")
HANDLE_WORDS = words("hana yuki glow daily tokyo hair nail mama fit eats style color salon studio lab room")
BIO_STARTS = [
    "美容師歴十年",
    "Beauty and slow mornings",
    "毎日のスキンケアを記録",
    "Street food and hidden cafes",
    "ネイルが大好き",
    "Honest reviews",
    "三人の子どもと暮らす",
    "Fitness for busy people",
    "古着とフィルムカメラ",
    "Curly hair diary",
    "プチプラコスメ",
    "Gadgets, games and hair dryers",
]
BIO_ENDS = [
    "都内で活動中です。",
    "based in Japan.",
    "お仕事のご依頼はDMへ。",
    "New posts every Friday!",
    "コラボ募集中🌸",
    "DM for work.",
    "インフルエンサーとして活動しています。",
    "Coffee first.",
    "猫と暮らしています🐈",
    "Say hello!",
]
SALON_KINDS = words("Hair ネイルサロン Lash&Brow バーバー Spa エステ ヘッドスパ 美容室")
SALON_TEXTS = [
    "駅から徒歩三分。髪質改善が得意です。",
    "Quiet seats, good coffee, honest advice.",
    "完全予約制の小さなお店です。",
    "Walk-ins welcome.",
    "オーガニックカラー取り扱い。",
    "English spoken.",
    "まつげと眉の専門店です。",
    "Open late on weekdays.",
]
