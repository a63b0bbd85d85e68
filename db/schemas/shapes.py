"""The public shapes (docs/api.md), each declared once. shape.py explains how a shape becomes SQL."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field, Json

from db.fragments import is_unread, other_participant
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time
from db.schemas.words import (
    Category,
    ConnectionStatus,
    Gender,
    MessageType,
    NotificationType,
    Platform,
    RequestStatus,
    Role,
    UserStatus,
)

DELETED_MESSAGE = "This message was deleted"
DELETED_USER = "Deleted user"


class Picture(Shape):
    """The picture of a profile."""

    profile_pic: str | None = facts.PROFILE_PIC


class SalonPicture(Shape):
    """Picture and name of a salon."""

    profile_pic: str | None = facts.SALON_PIC
    business_name: str | None = facts.BUSINESS_NAME


INFLUENCER_PICTURE = Sql(Picture.row("influencers {i} where {i}.user_id = {t}.id"))


class UserRef(Shape):
    """A user in short."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    # '' unless the caller is that user, connected to them, or an admin: such a query replaces this expression.
    email: Annotated[str, Sql("''")] = facts.SHOWN_EMAIL
    role: Role = facts.ROLE


class CardUser(UserRef):
    """A user with the picture of the profile."""

    influencer: Annotated[Picture | None, INFLUENCER_PICTURE] = facts.INFLUENCER_PICTURE
    salon: Annotated[SalonPicture | None, Sql(SalonPicture.row("salons {s} where {s}.user_id = {t}.id"))] = about(
        "Picture and name of the salon; null for other roles", None
    )


class RequestInfluencer(Shape):
    """What a connection request shows of an influencer."""

    profile_pic: str | None = facts.PROFILE_PIC
    bio: str | None = facts.BIO
    categories: list[Category] = facts.CATEGORIES


class RequestSalon(Shape):
    """What a connection request shows of a salon."""

    business_name: str | None = facts.BUSINESS_NAME
    profile_pic: str | None = facts.SALON_PIC
    description: str | None = facts.DESCRIPTION


class RequestUser(UserRef):
    """A user of a connection request."""

    influencer: Annotated[
        RequestInfluencer | None, Sql(RequestInfluencer.row("influencers {i} where {i}.user_id = {t}.id"))
    ] = facts.INFLUENCER
    salon: Annotated[RequestSalon | None, Sql(RequestSalon.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON


EMAIL_VERIFIED = Sql("(select {u}.email_verified_at is not null from users {u} where {u}.id = {t}.user_id)")


class Influencer(Shape):
    """The profile of an influencer."""

    id: UUID = about("Id of the profile, not of the user", "2b7f1d3c-5a69-4e8b-9c0d-3f1e2d4c5b6a")
    phone_no: str | None = facts.PHONE_NO
    email_verified: Annotated[bool, EMAIL_VERIFIED] = facts.EMAIL_VERIFIED
    bio: str | None = facts.BIO
    profile_pic: str | None = facts.PROFILE_PIC
    categories: list[Category] = facts.CATEGORIES
    region: str | None = facts.REGION
    age: int | None = facts.AGE
    gender: Gender | None = facts.GENDER
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT
    user_id: UUID = facts.USER_ID


class Salon(Shape):
    """The profile of a salon."""

    id: UUID = about("Id of the profile, not of the user", "d41c8e2f-7b60-4a95-8e3d-5c6f7a8b9d0e")
    phone_no: str | None = facts.PHONE_NO
    email_verified: Annotated[bool, EMAIL_VERIFIED] = facts.EMAIL_VERIFIED
    business_name: str | None = facts.BUSINESS_NAME
    description: str | None = facts.DESCRIPTION
    profile_pic: str | None = facts.SALON_PIC
    preferred_categories: list[Category] = facts.PREFERRED_CATEGORIES
    region: str | None = facts.REGION
    website: str | None = facts.WEBSITE
    established_year: int | None = facts.ESTABLISHED_YEAR
    team_size: int | None = facts.TEAM_SIZE
    operating_hours: str | None = facts.OPERATING_HOURS
    instagram_handle: str | None = facts.INSTAGRAM_HANDLE
    tiktok_handle: str | None = facts.TIKTOK_HANDLE
    facebook_page: str | None = facts.FACEBOOK_PAGE
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT
    user_id: UUID = about("Id of the user", facts.SALON_ID)


class User(Shape):
    """An account."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    email: Annotated[str, Sql("coalesce({t}.email, '')")] = facts.EMAIL
    role: Role = facts.ROLE
    status: UserStatus = facts.USER_STATUS
    terms_accepted: Annotated[bool, Sql("{t}.terms_accepted_at is not null")] = facts.TERMS_ACCEPTED
    terms_accepted_at: Time | None = facts.TERMS_ACCEPTED_AT
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT


class FullUser(User):
    influencer: Annotated[Influencer | None, Sql(Influencer.row("influencers {i} where {i}.user_id = {t}.id"))] = (
        facts.INFLUENCER
    )
    salon: Annotated[Salon | None, Sql(Salon.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON


class SignedInUser(FullUser):
    """The account that signed in."""

    has_completed_onboarding: Annotated[bool, Sql("{t}.onboarded_at is not null")] = facts.HAS_COMPLETED_ONBOARDING


class ConnectionRequest(Shape):
    id: UUID = facts.REQUEST_ID
    status: RequestStatus = facts.REQUEST_STATUS
    message: str | None = facts.REQUEST_MESSAGE
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT
    sender_id: UUID = about("Id of the user who sent the request", "7d2c1f64-9a0b-4e3f-8c55-1b6a0d9e4f21")
    receiver_id: UUID = about("Id of the user who received the request", "c3a1b2d4-5e6f-4a7b-8c9d-0e1f2a3b4c5d")


class AskedRequest(ConnectionRequest):
    """A connection request with both users."""

    sender: UserRef = facts.SENDER
    receiver: UserRef = about("The user who received the request", facts.SALON_USER)


class ListedRequest(ConnectionRequest):
    """A connection request with both users and their profiles."""

    sender: RequestUser = facts.SENDER
    receiver: RequestUser = about("The user who received the request", facts.REQUESTED_SALON)


# The connection status between the caller and a user, from a row (id, status, sent) or none.
CONNECTION_STATE = (
    "case when {t}.id is null then 'none' when {t}.status = 'ACCEPTED' then 'connected'"
    " when {t}.sent then 'sent' else 'received' end"
)


class ConnectionState(Shape):
    """The connection status between the caller and a user."""

    status: Annotated[ConnectionStatus, Sql(CONNECTION_STATE)] = about(
        "How the caller and the user are connected", "connected"
    )
    request_id: Annotated[UUID | None, Sql("{t}.id")] = facts.REQUEST_ID


class SenderUser(Shape):
    """The sender of a message."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    influencer: Annotated[Picture | None, INFLUENCER_PICTURE] = facts.INFLUENCER_PICTURE
    salon: Annotated[Picture | None, Sql(Picture.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON_PICTURE


class Message(Shape):
    """A message of a conversation."""

    id: UUID = facts.MESSAGE_ID
    conversation_id: UUID = facts.CONVERSATION_ID
    sender_id: UUID = about("Id of the user who sent it", "7d2c1f64-9a0b-4e3f-8c55-1b6a0d9e4f21")
    seq: int = facts.SEQ
    rev: int = about("Number of the last change of the message in its conversation", 42)
    client_message_id: str | None = facts.CLIENT_MESSAGE_ID
    content: str = facts.CONTENT
    message_type: MessageType = facts.MESSAGE_TYPE
    file_url: str | None = facts.NO_FILE_URL
    file_name: str | None = facts.NO_FILE_NAME
    file_size: int | None = facts.NO_FILE_SIZE
    is_edited: bool = facts.IS_EDITED
    is_deleted: Annotated[bool, Sql("{t}.deleted_at is not null")] = about(
        "Whether the message was deleted; `content` is then a placeholder", False
    )
    deleted_at: Time | None = facts.DELETED_AT
    created_at: Time = facts.CREATED_AT
    updated_at: Time = about("When it last changed", "2026-01-31T09:30:00.000Z")
    sender: Annotated[SenderUser, Sql(SenderUser.row("users {u} where {u}.id = {t}.sender_id"))] = about(
        "The user who sent it"
    )


class Attachment(Shape):
    """An uploaded file, ready for a message of its conversation."""

    file_url: Annotated[str, Sql("{t}.url")] = facts.FILE_URL
    file_name: str = facts.FILE_NAME
    file_size: int = facts.FILE_SIZE
    message_type: MessageType = about("Whether it is a picture or another file", "IMAGE")


# Connected users see each other's e-mail, and users see their own.
PARTNER = CardUser.row(
    "users {u} where {u}.id = {t}.user_id",
    email="case when {u}.id = {viewer} or exists (select from conversations {c} where {c}.id = {t}.conversation_id"
    " and {c}.closed_at is null) then coalesce({u}.email, '') else '' end",
)
# Messages of the other participant after the reader's mark, without deleted ones.
UNREAD_COUNT = Sql(
    "(select count(*) from conversation_participants {p} join messages {m} on {m}.conversation_id = {p}.conversation_id"
    " where {p}.conversation_id = {t}.id and {p}.user_id = {viewer}"
    f" and {is_unread('{m}', '{viewer}', '{p}.last_read_seq')})"
)


class Participant(Shape):
    """A user in a conversation."""

    id: UUID = about("Id of the participation", "8a7b6c5d-4e3f-4a2b-9c1d-0e9f8a7b6c5d")
    conversation_id: UUID = facts.CONVERSATION_ID
    user_id: UUID = facts.USER_ID
    joined_at: Time = about("When the user joined the conversation", "2026-01-31T09:30:00.000Z")
    last_read_at: Time | None = about("When the user last read", "2026-02-01T18:05:12.480Z")
    last_read_seq: int = about("`seq` of the last message that the user has read", 41)
    user: Annotated[CardUser, Sql(PARTNER)] = about("The user")


PARTICIPANTS = [
    {
        "id": id,
        "conversationId": facts.CONVERSATION_ID.examples[0],
        "userId": user["id"],
        "joinedAt": facts.CREATED_AT.examples[0],
        "lastReadAt": facts.LAST_MESSAGE_AT.examples[0],
        "lastReadSeq": seq,
        "user": user,
    }
    for id, seq, user in (
        ("8a7b6c5d-4e3f-4a2b-9c1d-0e9f8a7b6c5d", 39, facts.INFLUENCER_CARD),
        ("6f5e4d3c-2b1a-4c0d-8e9f-7a6b5c4d3e2f", 42, facts.SALON_CARD),
    )
]


class Conversation(Shape):
    """A conversation of two users."""

    id: UUID = facts.CONVERSATION_ID
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT
    last_seq: int = about("`seq` of the last message; 0 without one", 42)
    last_message_at: Time | None = facts.LAST_MESSAGE_AT
    last_message: str | None = facts.LAST_MESSAGE
    participants: Annotated[
        list[Participant],
        Sql(
            f"(select json_agg({Participant.sql('{p}', viewer='{viewer}')} order by {{p}}.user_id)"
            " from conversation_participants {p} where {p}.conversation_id = {t}.id)"
        ),
    ] = about("Both users", PARTICIPANTS)
    other_user: Annotated[
        CardUser,
        Sql(
            CardUser.row(
                f"users {{u}} where {{u}}.id = {other_participant('{t}', '{viewer}')}",
                email="case when {t}.closed_at is null then coalesce({u}.email, '') else '' end",
            )
        ),
    ] = about("The participant who is not the caller", facts.SALON_CARD)
    unread_count: Annotated[int, UNREAD_COUNT] = facts.UNREAD_COUNT


class ListedConversation(Conversation):
    """A conversation with its last message."""

    messages: Annotated[
        list[Message],
        Sql(
            f"(select coalesce(json_agg({Message.sql('{m}')}), '[]') from messages {{m}}"
            " where {m}.conversation_id = {t}.id and {m}.seq = {t}.last_seq)"
        ),
    ] = Field(description="The last message, or nothing")
    is_connected: Annotated[bool, Sql("{t}.closed_at is null")] = about(
        "Whether the users are still connected, so that messages can be sent", True
    )


class ContactConversation(Shape):
    """The conversation with a contact."""

    id: UUID = facts.CONVERSATION_ID
    last_message_at: Time | None = facts.LAST_MESSAGE_AT
    last_message: str | None = facts.LAST_MESSAGE
    unread_count: Annotated[int, UNREAD_COUNT] = facts.UNREAD_COUNT


class Contact(Shape):
    """A user who is connected to the caller."""

    user: CardUser = about("The user who is connected to the caller", facts.SALON_CARD)
    conversation: ContactConversation | None = about("The conversation with this user; null before it is opened")


class NewMessageMetadata(Shape):
    """Metadata of `NEW_MESSAGE`."""

    sender_id: UUID = about("Id of the last sender", facts.SALON_ID)
    sender_name: str = about("Name of the last sender", "Salon Sakura")
    count: int = about("Number of unread messages in the conversation", 3)


class AccountMetadata(Shape):
    """Metadata of `SYSTEM`: a social account needs attention."""

    account_id: UUID = about("Id of the account", "1c2d3e4f-5a6b-4c7d-8e9f-0a1b2c3d4e5f")
    platform: Platform = facts.PLATFORM
    reason: Literal["UNVERIFIED", "NEEDS_RECONNECT", "PROVEN_BY_ANOTHER"] = about("What is wrong", "UNVERIFIED")


class ProfileViewMetadata(Shape):
    """Metadata of `PROFILE_VIEW`."""

    viewer_id: UUID = about("Id of the user who viewed the profile", facts.SALON_ID)


class Notification(Shape):
    """A notification of the caller."""

    id: UUID = about("Id of the notification", "5d4c3b2a-1f0e-4d9c-8b7a-6f5e4d3c2b1a")
    type: NotificationType = about("What the notification is about; it decides about `metadata`", "NEW_MESSAGE")
    title: str = about("A few words for people", "New message from Salon Sakura")
    message: str = about("A sentence for people", "Friday at 11 suits us.")
    is_read: bool = about("Whether the user has read it", False)
    connection_request_id: UUID | None = about(
        "The connection request that it is about; null for other types", None, "4f6e2a10-8b3c-4d5e-9f70-a1b2c3d4e5f6"
    )
    message_id: UUID | None = about("The message that it is about", "5b1d7f90-64c2-4b0e-8d1f-0c9e8a7b6d55")
    conversation_id: UUID | None = about("The conversation that it is about", "9e107d9d-372b-4c65-a1d3-5f0c8b7e6a42")
    metadata: Annotated[
        Json[NewMessageMetadata | AccountMetadata | ProfileViewMetadata] | None, Sql("{t}.metadata::text")
    ] = about(
        "JSON text of the metadata of this `type`; null for other types",
        f'{{"senderId": "{facts.SALON_ID}", "senderName": "Salon Sakura", "count": 3}}',
    )
    created_at: Time = facts.CREATED_AT
    updated_at: Annotated[Time, Sql("iso(greatest({t}.updated_at, {t}.changed_at))")] = facts.UPDATED_AT
    user_id: UUID = facts.USER_ID


class UnreadNotifications(Shape):
    """The number of unread notifications."""

    count: int = about("Number of unread notifications", 3)
