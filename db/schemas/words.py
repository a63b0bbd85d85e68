"""The words that fields can contain. Each set is a named type, so that generated clients name it too."""

from typing import Annotated, Literal, get_args

from pydantic import Field
from typing_extensions import TypeAliasType

Role = TypeAliasType(
    "Role", Annotated[Literal["INFLUENCER", "SALON", "ADMIN"], Field(description="The kind of an account")]
)
Gender = TypeAliasType(
    "Gender",
    Annotated[
        Literal["MALE", "FEMALE", "NON_BINARY", "PREFER_NOT_TO_SAY"], Field(description="The gender of an influencer")
    ],
)
UserStatus = TypeAliasType(
    "UserStatus",
    Annotated[Literal["ACTIVE", "SUSPENDED"], Field(description="`SUSPENDED`: an admin has blocked the account")],
)
RequestStatus = TypeAliasType(
    "RequestStatus",
    Annotated[Literal["PENDING", "ACCEPTED", "REJECTED"], Field(description="The state of a connection request")],
)
ConnectionStatus = TypeAliasType(
    "ConnectionStatus",
    Annotated[
        Literal["none", "connected", "sent", "received"],
        Field(description="`sent`: the caller sent an open request; `received`: the caller received one"),
    ],
)
MessageType = TypeAliasType(
    "MessageType", Annotated[Literal["TEXT", "IMAGE", "FILE"], Field(description="What a message carries")]
)
Platform = TypeAliasType("Platform", Annotated[Literal["INSTAGRAM", "TIKTOK"], Field(description="A social network")])
AccountConnection = TypeAliasType(
    "AccountConnection",
    Annotated[
        Literal["PUBLIC", "OAUTH"],
        Field(description="`PUBLIC`: read from the public profile; `OAUTH`: the owner signed in at the platform"),
    ],
)
MediaType = TypeAliasType(
    "MediaType",
    Annotated[Literal["IMAGE", "VIDEO", "CAROUSEL", "REEL", "STORY"], Field(description="The kind of a post")],
)
NotificationType = TypeAliasType(
    "NotificationType",
    Annotated[
        Literal[
            "CONNECTION_REQUEST",
            "CONNECTION_ACCEPTED",
            "CONNECTION_REJECTED",
            "NEW_MESSAGE",
            "MESSAGE_REPLY",
            "PROFILE_VIEW",
            "SYSTEM",
        ],
        Field(description="What a notification is about"),
    ],
)


Category = TypeAliasType(
    "Category",
    Annotated[
        Literal[
            "beauty",
            "lifestyle",
            "fashion",
            "fitness",
            "food",
            "travel",
            "technology",
            "gaming",
            "wellness",
            "parenting",
            "pets",
            "photography",
        ],
        Field(description="A subject of influencers; requests may have other spellings, such as `tech`"),
    ],
)


def words_of(alias: TypeAliasType) -> tuple[str, ...]:
    """Return the words of one of these types."""
    return get_args(get_args(alias.__value__)[0])
