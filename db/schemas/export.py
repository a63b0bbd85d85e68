"""The export of an account's data: all personal data of its owner, without secrets (contract §3, export).

Of other users it contains only the name. It contains only the messages that the owner sent.
"""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.fragments import other_participant
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.profiles import AccountSettings
from db.schemas.shape import Shape, Sql, Time
from db.schemas.shapes import Influencer, Notification, Salon
from db.schemas.social import SocialAccount
from db.schemas.words import MediaType, MessageType, RequestStatus


class ExportedAccount(AccountSettings):
    """The account."""

    updated_at: Time = facts.UPDATED_AT
    email_verified_at: Time | None = about("When the e-mail was verified", "2026-01-31T09:35:00.000Z")
    terms_accepted_at: Time | None = facts.TERMS_ACCEPTED_AT
    onboarded_at: Time | None = about("When the first profile was completed", "2026-01-31T09:40:00.000Z")
    last_seen_at: Time | None = about("When the user was last connected", "2026-02-01T18:05:12.480Z")
    influencer: Annotated[Influencer | None, Sql(Influencer.row("influencers {i} where {i}.user_id = {t}.id"))] = (
        facts.INFLUENCER
    )
    salon: Annotated[Salon | None, Sql(Salon.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON


class ExportedSocialAccount(SocialAccount):
    """A connected account of the caller."""

    created_at: Time = facts.CREATED_AT
    verified_at: Time | None = about("When the user proved to be the owner of the account", "2026-01-31T10:00:00.000Z")


class ExportedPost(Shape):
    """A post of a connected account."""

    id: UUID = about("Id of the post", "6e5d4c3b-2a1f-4e0d-9c8b-7a6f5e4d3c2b")
    account_id: UUID = facts.ACCOUNT_ID
    platform_post_id: str = facts.PLATFORM_POST_ID
    media_type: MediaType = facts.MEDIA_TYPE
    caption: str | None = facts.CAPTION
    url: str | None = facts.POST_URL
    likes_count: int = facts.LIKES_COUNT
    comments_count: int = facts.COMMENTS_COUNT
    shares_count: int = facts.SHARES_COUNT
    views_count: int = facts.VIEWS_COUNT
    hashtags: list[str] = facts.HASHTAGS
    posted_at: Time | None = facts.POSTED_AT


class ExportedConnection(Shape):
    """A connection request or connection of the caller."""

    id: UUID = facts.REQUEST_ID
    status: RequestStatus = facts.REQUEST_STATUS
    sent_by_me: Annotated[bool, Sql("{t}.sender_id = {viewer}")] = about("Whether the user sent the request", True)
    message: str | None = facts.REQUEST_MESSAGE
    with_name: Annotated[
        str,
        Sql(
            "(select {u}.name from users {u}"
            " where {u}.id = case when {t}.sender_id = {viewer} then {t}.receiver_id else {t}.sender_id end)"
        ),
    ] = about("Name of the other user", "Salon Sakura")
    created_at: Time = facts.CREATED_AT
    updated_at: Time = facts.UPDATED_AT


class ExportedConversation(Shape):
    """A conversation of the caller."""

    id: UUID = facts.CONVERSATION_ID
    with_name: Annotated[
        str,
        Sql(f"(select {{u}}.name from users {{u}} where {{u}}.id = {other_participant('{t}', '{viewer}')})"),
    ] = about("Name of the other user", "Salon Sakura")
    created_at: Time = facts.CREATED_AT
    last_message_at: Time | None = facts.LAST_MESSAGE_AT
    closed_at: Time | None = about("When it became read-only", "2026-03-01T00:00:00.000Z")


class ExportedMessage(Shape):
    """A message that the caller sent."""

    id: UUID = facts.MESSAGE_ID
    conversation_id: UUID = facts.CONVERSATION_ID
    seq: int = facts.SEQ
    content: str = facts.CONTENT
    message_type: MessageType = facts.MESSAGE_TYPE
    file_url: str | None = facts.NO_FILE_URL
    file_name: str | None = facts.NO_FILE_NAME
    file_size: int | None = facts.NO_FILE_SIZE
    is_edited: bool = facts.IS_EDITED
    deleted_at: Time | None = facts.DELETED_AT
    created_at: Time = facts.CREATED_AT


class ExportedSession(Shape):
    """A sign-in of the caller."""

    id: UUID = about("Id of the session", "0f9e8d7c-6b5a-4f3e-8d2c-1b0a9f8e7d6c")
    ip_address: str | None = facts.IP_ADDRESS
    user_agent: str | None = facts.USER_AGENT
    created_at: Time = facts.CREATED_AT
    last_used_at: Annotated[Time, Sql("iso({t}.rotated_at)")] = about(
        "When its tokens were last renewed", "2026-02-01T18:05:12.480Z"
    )
    expires_at: Time = about("When it ends if it is not renewed", "2026-02-08T18:05:12.480Z")
    ended_at: Time | None = about("When it ended", "2026-02-02T07:00:00.000Z")
    end_reason: str | None = about("Why it ended", "LOGGED_OUT")


class Export(Shape):
    """Everything that the server stores about the caller."""

    account: ExportedAccount = Field(description="The account with its profile")
    social_media_accounts: list[ExportedSocialAccount] = Field(
        max_length=2, description="Connected accounts, one for each platform"
    )
    social_media_posts: list[ExportedPost] = Field(description="Posts of the connected accounts")
    connections: list[ExportedConnection] = Field(description="Connections and open requests")
    conversations: list[ExportedConversation] = Field(description="Conversations")
    messages: list[ExportedMessage] = Field(description="Messages that the user sent")
    notifications: list[Notification] = Field(description="Notifications")
    sessions: list[ExportedSession] = Field(description="Sessions")
