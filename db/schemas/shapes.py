"""The public shapes (contract §2), each declared once: its fields, its schema and the SQL that builds it.

`Message.sql("m")` is an SQL expression that builds the shape's JSON from the row `m`; PostgreSQL's text goes to the
client undecoded. A field reads the column of its own name unless it says otherwise with `Sql`, in which `{t}` is the
row, `{viewer}` the id of the reader, and any other name in braces an alias of a row inside: it becomes `m__name`, so
that it never hides the caller's alias, whatever that is.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel

Role = Literal["INFLUENCER", "SALON", "ADMIN"]
Gender = Literal["MALE", "FEMALE", "NON_BINARY", "PREFER_NOT_TO_SAY"]
RequestStatus = Literal["PENDING", "ACCEPTED", "REJECTED"]
MessageType = Literal["TEXT", "IMAGE", "FILE"]
Platform = Literal["INSTAGRAM", "TIKTOK"]
MediaType = Literal["IMAGE", "VIDEO", "CAROUSEL", "REEL", "STORY"]
NotificationType = Literal[
    "CONNECTION_REQUEST", "CONNECTION_ACCEPTED", "CONNECTION_REJECTED", "NEW_MESSAGE", "MESSAGE_REPLY", "PROFILE_VIEW",
    "SYSTEM",
]  # fmt: skip

DELETED_MESSAGE = "This message was deleted"
DELETED_USER = "Deleted user"


@dataclass(frozen=True)
class Sql:
    """The SQL expression of a field, where it is not the column of its name; of several, the outermost counts."""

    expression: str


Time = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Sql("iso({t}.{column})"),
]


class Shape(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", serialize_by_alias=True)

    @classmethod
    def sql(cls, t: str, viewer: str = "null::uuid", **given: str) -> str:
        """The JSON of this shape built from row `t`; `given` replaces the expressions of fields, as they are."""
        pairs = []
        for name, field in cls.model_fields.items():
            expression = given.pop(name, None) or fill(field_sql(field), t=t, viewer=viewer, column=name)
            pairs.append(f"'{field.alias}', {expression}")
        if given:
            raise TypeError(f"{cls.__name__} has no field {', '.join(given)}")
        return f"json_build_object({', '.join(pairs)})"

    @classmethod
    def row(cls, source: str, **given: str) -> str:
        """The shape of the one row that `source` (`users {u} where …`) yields, or null: a scalar subquery."""
        return f"(select {cls.sql(source.split()[1], **given)} from {source})"


def fill(expression: str, **values: str) -> str:
    """Put the values in; what has none is an alias inside, made from `t`."""
    return re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], f"{values['t']}__{name[1]}"), expression)


def field_sql(field: Any) -> str:
    found = [mark for mark in field.metadata if isinstance(mark, Sql)] or find_marks(field.annotation)
    return found[-1].expression if found else "{t}.{column}"


def find_marks(annotation: Any) -> list[Sql]:
    return [
        mark
        for argument in get_args(annotation)
        for mark in ([argument] if isinstance(argument, Sql) else find_marks(argument))
    ]


class Picture(Shape):
    profile_pic: str | None


class SalonPicture(Shape):
    profile_pic: str | None
    business_name: str | None


INFLUENCER_PICTURE = Sql(Picture.row("influencers {i} where {i}.user_id = {t}.id"))


class UserRef(Shape):
    id: UUID
    name: str = Field(min_length=1)
    # '' unless the reader is that user, connected to them, or an admin: a query that may tell says so.
    email: Annotated[str, Sql("''")]
    role: Role


class CardUser(UserRef):
    influencer: Annotated[Picture | None, INFLUENCER_PICTURE]
    salon: Annotated[SalonPicture | None, Sql(SalonPicture.row("salons {s} where {s}.user_id = {t}.id"))]


class RequestInfluencer(Shape):
    profile_pic: str | None
    bio: str | None
    categories: list[str]


class RequestSalon(Shape):
    business_name: str | None
    profile_pic: str | None
    description: str | None


class RequestUser(UserRef):
    influencer: Annotated[
        RequestInfluencer | None, Sql(RequestInfluencer.row("influencers {i} where {i}.user_id = {t}.id"))
    ]
    salon: Annotated[RequestSalon | None, Sql(RequestSalon.row("salons {s} where {s}.user_id = {t}.id"))]


EMAIL_VERIFIED = Sql("(select {u}.email_verified_at is not null from users {u} where {u}.id = {t}.user_id)")


class Influencer(Shape):
    id: UUID
    phone_no: str | None
    email_verified: Annotated[bool, EMAIL_VERIFIED]
    bio: str | None
    profile_pic: str | None
    categories: list[str]
    region: str | None
    age: int | None
    gender: Gender | None
    created_at: Time
    updated_at: Time
    user_id: UUID


class Salon(Shape):
    id: UUID
    phone_no: str | None
    email_verified: Annotated[bool, EMAIL_VERIFIED]
    business_name: str | None
    description: str | None
    profile_pic: str | None
    preferred_categories: list[str]
    region: str | None
    website: str | None
    established_year: int | None
    team_size: int | None
    operating_hours: str | None
    instagram_handle: str | None
    tiktok_handle: str | None
    facebook_page: str | None
    created_at: Time
    updated_at: Time
    user_id: UUID


class User(Shape):
    id: UUID
    name: str = Field(min_length=1)
    email: Annotated[str, Sql("coalesce({t}.email, '')")]
    role: Role
    status: Literal["ACTIVE", "SUSPENDED"]
    terms_accepted: Annotated[bool, Sql("{t}.terms_accepted_at is not null")]
    terms_accepted_at: Time | None
    created_at: Time
    updated_at: Time


class FullUser(User):
    influencer: Annotated[Influencer | None, Sql(Influencer.row("influencers {i} where {i}.user_id = {t}.id"))]
    salon: Annotated[Salon | None, Sql(Salon.row("salons {s} where {s}.user_id = {t}.id"))]


class SignedInUser(FullUser):
    has_completed_onboarding: Annotated[bool, Sql("{t}.onboarded_at is not null")]


class ConnectionRequest(Shape):
    id: UUID
    status: RequestStatus
    message: str | None
    created_at: Time
    updated_at: Time
    sender_id: UUID
    receiver_id: UUID


class AskedRequest(ConnectionRequest):
    sender: UserRef
    receiver: UserRef


class ListedRequest(ConnectionRequest):
    sender: RequestUser
    receiver: RequestUser


# How the reader and somebody else stand, from a row (id, status, sent) or none.
CONNECTION_STATE = (
    "case when {t}.id is null then 'none' when {t}.status = 'ACCEPTED' then 'connected'"
    " when {t}.sent then 'sent' else 'received' end"
)


class ConnectionState(Shape):
    status: Annotated[Literal["none", "connected", "sent", "received"], Sql(CONNECTION_STATE)]
    request_id: Annotated[UUID | None, Sql("{t}.id")]


class SenderUser(Shape):
    id: UUID
    name: str = Field(min_length=1)
    influencer: Annotated[Picture | None, INFLUENCER_PICTURE]
    salon: Annotated[Picture | None, Sql(Picture.row("salons {s} where {s}.user_id = {t}.id"))]


class Message(Shape):
    id: UUID
    conversation_id: UUID
    sender_id: UUID
    seq: int
    rev: int
    client_message_id: str | None
    content: str
    message_type: MessageType
    file_url: str | None
    file_name: str | None
    file_size: int | None
    is_edited: bool
    is_deleted: Annotated[bool, Sql("{t}.deleted_at is not null")]
    deleted_at: Time | None
    created_at: Time
    updated_at: Time
    sender: Annotated[SenderUser, Sql(SenderUser.row("users {u} where {u}.id = {t}.sender_id"))]


class Attachment(Shape):
    """An uploaded file, ready for a message of its conversation."""

    file_url: Annotated[str, Sql("{t}.url")]
    file_name: str
    file_size: int
    message_type: MessageType


# Two who are connected see each other's address; so does everyone their own.
PARTNER = CardUser.row(
    "users {u} where {u}.id = {t}.user_id",
    email="case when {u}.id = {viewer} or exists (select from conversations {c} where {c}.id = {t}.conversation_id"
    " and {c}.closed_at is null) then coalesce({u}.email, '') else '' end",
)
# Messages of the other one, after the reader's mark, that are still there to be read.
UNREAD_COUNT = Sql(
    "(select count(*) from conversation_participants {p} join messages {m} on {m}.conversation_id = {p}.conversation_id"
    " where {p}.conversation_id = {t}.id and {p}.user_id = {viewer} and {m}.seq > {p}.last_read_seq"
    " and {m}.sender_id <> {viewer} and {m}.deleted_at is null)"
)


class Participant(Shape):
    id: UUID
    conversation_id: UUID
    user_id: UUID
    joined_at: Time
    last_read_at: Time | None
    last_read_seq: int
    user: Annotated[CardUser, Sql(PARTNER)]


class Conversation(Shape):
    id: UUID
    created_at: Time
    updated_at: Time
    last_seq: int
    last_message_at: Time | None
    last_message: str | None
    participants: Annotated[
        list[Participant],
        Sql(
            f"(select json_agg({Participant.sql('{p}', viewer='{viewer}')} order by {{p}}.user_id)"
            " from conversation_participants {p} where {p}.conversation_id = {t}.id)"
        ),
    ]
    other_user: Annotated[
        CardUser,
        Sql(
            CardUser.row(
                "users {u} where {u}.id = case when {t}.low_id = {viewer} then {t}.high_id else {t}.low_id end",
                email="case when {t}.closed_at is null then coalesce({u}.email, '') else '' end",
            )
        ),
    ]
    unread_count: Annotated[int, UNREAD_COUNT]


class ListedConversation(Conversation):
    messages: Annotated[
        list[Message],
        Sql(
            f"(select coalesce(json_agg({Message.sql('{m}')}), '[]') from messages {{m}}"
            " where {m}.conversation_id = {t}.id and {m}.seq = {t}.last_seq)"
        ),
    ]
    is_connected: Annotated[bool, Sql("{t}.closed_at is null")]


class ContactConversation(Shape):
    id: UUID
    last_message_at: Time | None
    last_message: str | None
    unread_count: Annotated[int, UNREAD_COUNT]


class Contact(Shape):
    user: CardUser
    conversation: ContactConversation | None


class Notification(Shape):
    id: UUID
    type: NotificationType
    title: str
    message: str
    is_read: bool
    connection_request_id: UUID | None
    message_id: UUID | None
    conversation_id: UUID | None
    metadata: Annotated[str | None, Sql("{t}.metadata::text"), Field(description="JSON text")]
    created_at: Time
    updated_at: Annotated[Time, Sql("iso(greatest({t}.updated_at, {t}.changed_at))")]
    user_id: UUID


class UnreadNotifications(Shape):
    count: int


class SocialAccount(Shape):
    """Never a token, nor a verification code; both spellings of name and sync time that clients read."""

    id: UUID
    platform: Platform
    username: str
    platform_username: Annotated[str, Sql("{t}.username")]
    display_name: str | None
    profile_picture: str | None
    profile_url: str | None
    followers_count: int
    following_count: int
    posts_count: int
    engagement_rate: float
    is_active: bool
    is_verified: bool
    connection: Literal["PUBLIC", "OAUTH"]
    last_synced: Annotated[Time, Sql("iso({t}.last_synced_at)")]
    last_synced_at: Time
    metadata: dict[str, Any] | None
