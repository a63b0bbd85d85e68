"""Descriptions and examples of fields that several models share; others stand next to their field.

The first examples of a model's fields fit together: a page that shows them as one object shows what the server sends.
They are those of Hanako, an influencer, who writes a text to Salon Sakura.
"""

from typing import Any

from pydantic import Field


def about(description: str, *examples: Any, **more: Any) -> Any:
    """Describe a field: `name: str = about("Name of the person", "Hanako Yamada")`."""
    return Field(description=description, examples=list(examples) or None, **more)


USER_ID = about("Id of the user", "7d2c1f64-9a0b-4e3f-8c55-1b6a0d9e4f21")
OTHER_ID = about("Id of the other user", "c3a1b2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d")
CONVERSATION_ID = about("Id of the conversation", "9e107d9d-372b-4c65-a1d3-5f0c8b7e6a42")
MESSAGE_ID = about("Id of the message", "0b9f4c61-2d3e-4a5b-8c7d-9e0f1a2b3c4d")
REQUEST_ID = about("Id of the connection request", "4f6e2a10-8b3c-4d5e-9f70-a1b2c3d4e5f6")
ACCOUNT_ID = about("Id of the connected account", "1c9d8e7f-6a5b-4c3d-8e2f-1a0b9c8d7e6f")
CREATED_AT = about("When it was created", "2026-01-31T09:30:00.000Z")
UPDATED_AT = about("When it last changed", "2026-02-01T18:05:12.480Z")

# People
NAME = about("Name of the person", "Hanako Yamada")
EMAIL = about("E-mail address", "hanako@example.com")
ROLE = about("Role of the user", "INFLUENCER")
USER_STATUS = about("Whether the account may sign in", "ACTIVE")
SHOWN_EMAIL = about("Empty unless the reader is that user, connected to them, or an admin", "hanako@example.com")
PHONE_NO = about("Phone number", "+81 90 1234 5678")
PASSWORD = about(
    "8 to 72 bytes in UTF-8 (an ASCII character has one), neither the e-mail nor a common password",
    "correct-horse-battery",
)
EMAIL_VERIFIED = about("Whether the e-mail is verified", True)
TERMS_ACCEPTED = about("Whether the terms of service are accepted", True)
TERMS_ACCEPTED_AT = about("When the terms of service were accepted", "2026-01-31T09:30:00.000Z")
HAS_COMPLETED_ONBOARDING = about("Whether the first profile is complete", True)
PROFILE_PIC = about("Address of the picture", "https://api.encer.dev/media/influencer-profiles/5f3a9c.webp")
SALON_PIC = about("Address of the picture", "https://api.encer.dev/media/salon-profiles/8c21d7.webp")
REGION = about("A Japanese prefecture in lower case, or a country code in upper case", "tokyo")
BIO = about("What influencers write about themselves", "Beauty and travel from Tokyo. 美容と旅行が好きです。")
CATEGORIES = about("What the influencer posts about", ["beauty", "travel"])
AGE = about("Age in years", 27)
GENDER = about("Gender of the influencer", "FEMALE")
BUSINESS_NAME = about("Name of the salon", "Salon Sakura")
DESCRIPTION = about("What the salon writes about itself", "Hair and nails in Shibuya, open since 2015.")
PREFERRED_CATEGORIES = about("Which influencers the salon looks for", ["beauty", "fashion"])
WEBSITE = about("Web address of the salon", "https://salon-sakura.example.com")
ESTABLISHED_YEAR = about("Year in which the salon opened", 2015)
TEAM_SIZE = about("How many people work at the salon", 8)
OPERATING_HOURS = about("When the salon is open", "Tue–Sun 10:00–20:00")
INSTAGRAM_HANDLE = about("The salon on Instagram", "salon.sakura")
TIKTOK_HANDLE = about("The salon on TikTok", "salonsakura")
FACEBOOK_PAGE = about("Name or address of the salon's Facebook page", "https://facebook.com/salon.sakura")

# Profiles inside other shapes
INFLUENCER = about("The influencer's profile; null for other roles")
SALON = about("The salon's profile; null for other roles", None)
INFLUENCER_PICTURE = about("Picture of the influencer; null for other roles")
SALON_PICTURE = about("Picture of the salon; null for other roles", None)
SENDER = about("The user who sent the request")

# Whole users in examples
INFLUENCER_CARD = {
    "id": USER_ID.examples[0],
    "name": "Hanako Yamada",
    "email": "hanako@example.com",
    "role": "INFLUENCER",
    "influencer": {"profilePic": PROFILE_PIC.examples[0]},
    "salon": None,
}
SALON_ID = "c3a1b2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d"
SALON_USER = {"id": SALON_ID, "name": "Salon Sakura", "email": "info@salon-sakura.example.com", "role": "SALON"}
PICTURE_OF_SALON = {"profilePic": SALON_PIC.examples[0], "businessName": "Salon Sakura"}
SALON_CARD = {**SALON_USER, "influencer": None, "salon": PICTURE_OF_SALON}
REQUESTED_SALON = {**SALON_CARD, "salon": {**PICTURE_OF_SALON, "description": DESCRIPTION.examples[0]}}

# Connections and chat
REQUEST_STATUS = about("State of the request; a connection is an accepted request", "ACCEPTED")
CONNECTION_STATE = about("The connection status between the caller and this user")
REQUEST_MESSAGE = about("What the sender writes with the request", "We would love to work with you.")
CONTENT = about("Text of the message", "Would Friday at 11 suit you?")
MESSAGE_TYPE = about("Whether the message is a text, or shows a picture or another file", "TEXT")
SEQ = about("Number of the message in its conversation", 42)
CLIENT_MESSAGE_ID = about("Id chosen by the sending client; sending it again returns the first message", "b7e2-0001")
FILE_URL = about("Address of the attached file", "https://api.encer.dev/media/chat/5f3a9c.webp")
FILE_NAME = about("Name of the attached file", "nails.webp")
FILE_SIZE = about("Size of the attached file in bytes", 183402)
NO_FILE_URL = about("Address of the attached file; null without one", None, *FILE_URL.examples)
NO_FILE_NAME = about("Name of the attached file; null without one", None, *FILE_NAME.examples)
NO_FILE_SIZE = about("Size of the attached file in bytes; null without one", None, *FILE_SIZE.examples)
IS_EDITED = about("Whether the text was changed", False)
DELETED_AT = about("When the message was deleted; null if it was not", None, "2026-02-01T18:05:12.480Z")
LAST_MESSAGE = about("Beginning of the last message", "Would Friday at 11 suit you?")
LAST_MESSAGE_AT = about("When the last message was sent", "2026-02-01T18:05:12.480Z")
UNREAD_COUNT = about("How many messages the caller has not read", 3)

# Social accounts and posts
PLATFORM = about("The platform", "INSTAGRAM")
MEDIA_TYPE = about("Kind of the post", "IMAGE")
USERNAME = about("Username on the platform, without `@`", "hanako.beauty")
PLATFORM_USERNAME = about("The same as `username`", "hanako.beauty")
DISPLAY_NAME = about("Name shown on the platform", "Hanako 🌸")
PROFILE_PICTURE = about("Address of the picture on the platform", "https://scontent.cdninstagram.com/v/t51/1.jpg")
PROFILE_URL = about("Address of the profile on the platform", "https://www.instagram.com/hanako.beauty/")
FOLLOWERS_COUNT = about("Number of followers", 12400)
FOLLOWING_COUNT = about("Number of profiles that it follows", 310)
POSTS_COUNT = about("Number of posts", 284)
ENGAGEMENT_RATE = about("Mean of likes and comments of recent posts, in percent of the followers", 4.27)
PLATFORM_POST_ID = about("Id of the post on the platform", "3298476512340987")
CAPTION = about("Text of the post", "New nails! #beauty #東京")
POST_URL = about("Address of the post on the platform", "https://www.instagram.com/p/C1a2b3c4d5e/")
LIKES_COUNT = about("Number of likes", 530)
COMMENTS_COUNT = about("Number of comments", 21)
SHARES_COUNT = about("Number of shares", 8)
VIEWS_COUNT = about("Number of views", 9120)
HASHTAGS = about("Hashtags of the post, without `#`", ["beauty", "東京"])
POSTED_AT = about("When it was posted on the platform", "2026-01-28T12:00:00.000Z")

# Logs
IP_ADDRESS = about("Address that the request came from", "203.0.113.7")
USER_AGENT = about("`User-Agent` header of the client", "Mozilla/5.0 (iPhone; CPU iPhone OS 18_2 like Mac OS X)")
JSON_TEXT = about("JSON text", '{"reason": "Spam in connection requests"}')
