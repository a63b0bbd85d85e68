"""The shapes that admins alone see (contract §3, Admin), declared as those of db/schemas/shapes.py."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.schemas.shapes import CardUser, ConnectionRequest, Influencer, Salon, Shape, Sql, Time, User

# The web client reads suspension from this field: it is true for accounts that are verified and active.
IN_GOOD_STANDING = Sql(
    "(select {u}.email_verified_at is not null and {u}.status = 'ACTIVE' from users {u} where {u}.id = {t}.user_id)"
)


class AdminInfluencer(Influencer):
    email_verified: Annotated[bool, IN_GOOD_STANDING]


class AdminSalon(Salon):
    email_verified: Annotated[bool, IN_GOOD_STANDING]


class AdminUser(User):
    influencer: Annotated[
        AdminInfluencer | None, Sql(AdminInfluencer.row("influencers {i} where {i}.user_id = {t}.id"))
    ]
    salon: Annotated[AdminSalon | None, Sql(AdminSalon.row("salons {s} where {s}.user_id = {t}.id"))]


def card_of(side: str) -> Sql:
    return Sql(CardUser.row(f"users {{u}} where {{u}}.id = {{t}}.{side}", email="coalesce({u}.email, '')"))


class AdminConnection(ConnectionRequest):
    sender: Annotated[CardUser, card_of("sender_id")]
    receiver: Annotated[CardUser, card_of("receiver_id")]


class ActivityLog(Shape):
    id: UUID
    action: str
    description: str
    admin_id: UUID | None
    admin_name: str | None
    admin_email: str | None
    target_user_id: UUID | None
    target_user_name: str | None
    target_user_email: str | None
    ip_address: str | None
    user_agent: str | None
    metadata: Annotated[str | None, Sql("{t}.metadata::text"), Field(description="JSON text")]
    created_at: Time


class UserCounts(Shape):
    total: int
    influencers: int
    salons: int
    verified: int
    unverified: int
    completed_onboarding: int
    recent_signups: int = Field(description="In the last 30 days")


class ConnectionCounts(Shape):
    total: int
    pending: int
    accepted: int
    recent: int = Field(description="Requests of the last 30 days")


class AccountCounts(Shape):
    instagram: int
    tiktok: int
    total: int


class MessageCounts(Shape):
    total: int


class Statistics(Shape):
    users: UserCounts
    connections: ConnectionCounts
    social_media: AccountCounts
    messages: MessageCounts
    active_today: int


class GrowthDay(Shape):
    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")]
    influencers: int
    salons: int


class StatusCount(Shape):
    status: Literal["Pending", "Accepted", "Rejected"]
    count: int


class Charts(Shape):
    user_growth: Annotated[list[GrowthDay], Field(min_length=30, max_length=30)]
    connection_stats: Annotated[list[StatusCount], Field(min_length=3, max_length=3)]


class Dashboard(Shape):
    stats: Statistics
    charts: Charts
