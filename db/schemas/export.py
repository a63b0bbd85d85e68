"""What an account's owner takes away: all that is theirs, and nothing that opens a door (contract §3, export).

Of others it tells the name only, and who said what to whom is told by the owner's own messages alone.
"""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.schemas.profiles import AccountSettings
from db.schemas.shapes import (
    Influencer,
    MediaType,
    MessageType,
    Notification,
    RequestStatus,
    Salon,
    Shape,
    SocialAccount,
    Sql,
    Time,
)


class ExportedAccount(AccountSettings):
    updated_at: Time
    email_verified_at: Time | None
    terms_accepted_at: Time | None
    onboarded_at: Time | None
    last_seen_at: Time | None
    influencer: Annotated[Influencer | None, Sql(Influencer.row("influencers {i} where {i}.user_id = {t}.id"))]
    salon: Annotated[Salon | None, Sql(Salon.row("salons {s} where {s}.user_id = {t}.id"))]


class ExportedSocialAccount(SocialAccount):
    created_at: Time
    verified_at: Time | None


class ExportedPost(Shape):
    id: UUID
    account_id: UUID
    platform_post_id: str
    media_type: MediaType
    caption: str | None
    url: str | None
    likes_count: int
    comments_count: int
    shares_count: int
    views_count: int
    hashtags: list[str]
    posted_at: Time | None


class ExportedConnection(Shape):
    id: UUID
    status: RequestStatus
    sent_by_me: Annotated[bool, Sql("{t}.sender_id = {viewer}")]
    message: str | None
    with_name: Annotated[
        str,
        Sql(
            "(select {u}.name from users {u}"
            " where {u}.id = case when {t}.sender_id = {viewer} then {t}.receiver_id else {t}.sender_id end)"
        ),
    ]
    created_at: Time
    updated_at: Time


class ExportedConversation(Shape):
    id: UUID
    with_name: Annotated[
        str,
        Sql(
            "(select {u}.name from users {u}"
            " where {u}.id = case when {t}.low_id = {viewer} then {t}.high_id else {t}.low_id end)"
        ),
    ]
    created_at: Time
    last_message_at: Time | None
    closed_at: Time | None


class ExportedMessage(Shape):
    id: UUID
    conversation_id: UUID
    seq: int
    content: str
    message_type: MessageType
    file_url: str | None
    file_name: str | None
    file_size: int | None
    is_edited: bool
    deleted_at: Time | None
    created_at: Time


class ExportedSession(Shape):
    id: UUID
    ip_address: str | None
    user_agent: str | None
    created_at: Time
    last_used_at: Annotated[Time, Sql("iso({t}.rotated_at)")]
    expires_at: Time
    ended_at: Time | None
    end_reason: str | None


class Export(Shape):
    account: ExportedAccount
    social_media_accounts: list[ExportedSocialAccount] = Field(max_length=2)
    social_media_posts: list[ExportedPost]
    connections: list[ExportedConnection]
    conversations: list[ExportedConversation]
    messages: list[ExportedMessage]
    notifications: list[Notification]
    sessions: list[ExportedSession]
