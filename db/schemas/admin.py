"""The shapes that only admins see (contract §3, Admin). shape.py explains shapes."""

from typing import Annotated, Literal
from uuid import UUID

from pydantic import Field

from db.schemas import facts
from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time
from db.schemas.shapes import CardUser, ConnectionRequest, Influencer, Salon, User

# The web client reads suspension from this field: it is true for accounts that are verified and active.
IN_GOOD_STANDING = Sql(
    "(select {u}.email_verified_at is not null and {u}.status = 'ACTIVE' from users {u} where {u}.id = {t}.user_id)"
)


class AdminInfluencer(Influencer):
    """The profile of an influencer; `emailVerified` is true for accounts that are verified and active."""

    email_verified: Annotated[bool, IN_GOOD_STANDING] = facts.EMAIL_VERIFIED


class AdminSalon(Salon):
    """The profile of a salon; `emailVerified` is true for accounts that are verified and active."""

    email_verified: Annotated[bool, IN_GOOD_STANDING] = facts.EMAIL_VERIFIED


class AdminUser(User):
    """An account with its profile, for admins."""

    influencer: Annotated[
        AdminInfluencer | None, Sql(AdminInfluencer.row("influencers {i} where {i}.user_id = {t}.id"))
    ] = facts.INFLUENCER
    salon: Annotated[AdminSalon | None, Sql(AdminSalon.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON


def card_of(side: str) -> Sql:
    return Sql(CardUser.row(f"users {{u}} where {{u}}.id = {{t}}.{side}", email="coalesce({u}.email, '')"))


class AdminConnection(ConnectionRequest):
    """A connection request or connection, for admins."""

    sender: Annotated[CardUser, card_of("sender_id")] = facts.SENDER
    receiver: Annotated[CardUser, card_of("receiver_id")] = about("The user who received the request", facts.SALON_CARD)


class ActivityLog(Shape):
    """An action of an admin."""

    id: UUID = about("Id of the entry", "3c2b1a0f-9e8d-4c7b-8a6f-5e4d3c2b1a0f")
    action: str = about("The action", "USER_SUSPENDED")
    description: str = about("The action as a sentence for people", "Suspended Hanako Yamada (hanako@example.com)")
    admin_id: UUID | None = about("Id of the admin who did it", "a1b2c3d4-e5f6-4a7b-8c9d-0e1f2a3b4c5d")
    admin_name: str | None = about("Name of the admin", "Ken Admin")
    admin_email: str | None = about("E-mail of the admin", "admin@example.com")
    target_user_id: UUID | None = about("Id of the user concerned", "7d2c1f64-9a0b-4e3f-8c55-1b6a0d9e4f21")
    target_user_name: str | None = about("Name of the user concerned", "Hanako Yamada")
    target_user_email: str | None = about("E-mail of the user concerned", "hanako@example.com")
    ip_address: str | None = facts.IP_ADDRESS
    user_agent: str | None = facts.USER_AGENT
    metadata: Annotated[str | None, Sql("{t}.metadata::text")] = facts.JSON_TEXT
    created_at: Time = facts.CREATED_AT


class UserCounts(Shape):
    """Users by kind."""

    total: int = about("All users", 820)
    influencers: int = about("Influencers", 610)
    salons: int = about("Salons", 210)
    verified: int = about("Users with a verified e-mail", 790)
    unverified: int = about("Users without a verified e-mail", 30)
    completed_onboarding: int = about("Users with a complete profile", 700)
    recent_signups: int = about("Sign-ups of the last 30 days", 64)


class ConnectionCounts(Shape):
    """Connection requests by state."""

    total: int = about("All connection requests", 1530)
    pending: int = about("Open requests", 140)
    accepted: int = about("Connections", 1210)
    recent: int = about("Requests of the last 30 days", 88)


class AccountCounts(Shape):
    """Connected accounts by platform."""

    instagram: int = about("Connected Instagram accounts", 480)
    tiktok: int = about("Connected TikTok accounts", 320)
    total: int = about("All connected accounts", 800)


class MessageCounts(Shape):
    """Messages of all users."""

    total: int = about("All messages", 45210)


class Statistics(Shape):
    """Numbers of the whole platform."""

    users: UserCounts = about("Users by kind")
    connections: ConnectionCounts = about("Connection requests by state")
    social_media: AccountCounts = about("Connected accounts by platform")
    messages: MessageCounts = about("Messages of all users")
    active_today: int = about("Users who were active today", 95)


class GrowthDay(Shape):
    """Sign-ups of one day."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\d$")] = about("The day", "2026-01-31")
    influencers: int = about("Influencers who signed up on it", 3)
    salons: int = about("Salons that signed up on it", 1)


class StatusCount(Shape):
    """The number of connection requests with a status."""

    status: Literal["Pending", "Accepted", "Rejected"] = about("Status of the requests", "Accepted")
    count: int = about("Number of requests with this status", 1210)


class Charts(Shape):
    """Numbers for charts."""

    user_growth: Annotated[list[GrowthDay], Field(min_length=30, max_length=30)] = Field(description="The last 30 days")
    connection_stats: Annotated[list[StatusCount], Field(min_length=3, max_length=3)] = Field(
        description="Requests by state"
    )


class Dashboard(Shape):
    """Numbers of the whole platform."""

    stats: Statistics = about("Numbers of the whole platform")
    charts: Charts = about("Numbers for charts")
