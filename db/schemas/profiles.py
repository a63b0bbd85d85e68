"""Shapes of profiles: the caller's own, and those of other users (contract §3). shape.py explains shapes."""

from typing import Annotated
from uuid import UUID

from pydantic import Field

from db.fragments import is_between
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.shape import Shape, Sql, Time
from db.schemas.shapes import Influencer, Salon
from db.schemas.social import SocialAccount
from db.schemas.words import RequestStatus, Role

SOCIAL_ACCOUNTS = Sql(
    f"(select coalesce(json_agg({SocialAccount.sql('{a}')} order by {{a}}.platform), '[]')"
    " from social_media_accounts {a} where {a}.influencer_id = {t}.id and {a}.is_active)"
)


class OwnInfluencer(Influencer):
    """The profile of an influencer with the connected accounts."""

    social_media_accounts: Annotated[list[SocialAccount], SOCIAL_ACCOUNTS] = Field(
        description="Connected accounts, one for each platform"
    )


class ProfileStats(Shape):
    """The number of connections, and of requests ever sent and received, with any status."""

    sent_requests: Annotated[
        int, Sql("(select count(*) from connection_requests {r} where {r}.sender_id = {t}.id)")
    ] = about("How many connection requests the user ever sent", 12)
    received_requests: Annotated[
        int, Sql("(select count(*) from connection_requests {r} where {r}.receiver_id = {t}.id)")
    ] = about("How many connection requests the user ever received", 7)
    connections: Annotated[
        int,
        Sql(
            "(select count(*) from connection_requests {r}"
            " where {t}.id in ({r}.sender_id, {r}.receiver_id) and {r}.status = 'ACCEPTED')"
        ),
    ] = about("How many connections the user has", 9)


class Profile(Shape):
    """The caller's profile."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    email: Annotated[str, Sql("coalesce({t}.email, '')")] = facts.EMAIL
    role: Role = facts.ROLE
    created_at: Time = facts.CREATED_AT
    influencer: Annotated[
        OwnInfluencer | None, Sql(OwnInfluencer.row("influencers {i} where {i}.user_id = {t}.id"))
    ] = facts.INFLUENCER
    salon: Annotated[Salon | None, Sql(Salon.row("salons {s} where {s}.user_id = {t}.id"))] = facts.SALON
    stats: Annotated[ProfileStats, Sql(ProfileStats.sql("{t}"))] = about("Numbers of requests and connections")


# Only the user sees their own phone number.
OWN_PHONE = Sql("case when {t}.user_id = {viewer} then {t}.phone_no end")
SHOWN_PHONE = about("Phone number; null for other users", None, *facts.PHONE_NO.examples)


class SeenInfluencer(OwnInfluencer):
    """The profile of an influencer, as others see it."""

    phone_no: Annotated[str | None, OWN_PHONE] = SHOWN_PHONE


class SeenSalon(Salon):
    """The profile of a salon, as others see it."""

    phone_no: Annotated[str | None, OWN_PHONE] = SHOWN_PHONE


class ConnectionWith(Shape):
    """The connection request between the caller and the user, with any status."""

    id: UUID = facts.REQUEST_ID
    status: RequestStatus = facts.REQUEST_STATUS
    is_sender: Annotated[bool, Sql("{t}.sender_id = {viewer}")] = about("Whether the caller sent the request", True)


BETWEEN = is_between("{r}", "{t}.id", "{viewer}")


class SeenProfile(Shape):
    """The profile of a user. `email` is '' unless the caller is that user, connected to them, or an admin."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    email: Annotated[
        str,
        Sql(
            "case when {t}.id = {viewer}"
            " or exists (select from users {v} where {v}.id = {viewer} and {v}.role = 'ADMIN')"
            f" or exists (select from connection_requests {{r}} where {BETWEEN} and {{r}}.status = 'ACCEPTED')"
            " then coalesce({t}.email, '') else '' end"
        ),
    ] = facts.SHOWN_EMAIL
    role: Role = facts.ROLE
    created_at: Time = facts.CREATED_AT
    influencer: Annotated[
        SeenInfluencer | None, Sql(SeenInfluencer.row("influencers {i} where {i}.user_id = {t}.id", viewer="{viewer}"))
    ] = facts.INFLUENCER
    salon: Annotated[
        SeenSalon | None, Sql(SeenSalon.row("salons {s} where {s}.user_id = {t}.id", viewer="{viewer}"))
    ] = facts.SALON
    connection_status: Annotated[
        ConnectionWith | None, Sql(ConnectionWith.row(f"connection_requests {{r}} where {BETWEEN}", viewer="{viewer}"))
    ] = about("The request or connection between the caller and this user; null without one")


class OnboardedInfluencer(Shape):
    """The completed profile."""

    message: str = about("A sentence for people", "Your profile is complete")
    influencer: Influencer = about("The completed profile")


class OnboardedSalon(Shape):
    """The completed profile."""

    message: str = about("A sentence for people", "Your profile is complete")
    salon: Salon = about("The completed profile")


class AccountSettings(Shape):
    """The caller's account."""

    id: UUID = facts.USER_ID
    name: str = about("Name of the person", "Hanako Yamada", min_length=1)
    email: Annotated[str, Sql("coalesce({t}.email, '')")] = facts.EMAIL
    role: Role = facts.ROLE
    email_verified: Annotated[bool, Sql("{t}.email_verified_at is not null")] = facts.EMAIL_VERIFIED
    terms_accepted: Annotated[bool, Sql("{t}.terms_accepted_at is not null")] = facts.TERMS_ACCEPTED
    has_completed_onboarding: Annotated[bool, Sql("{t}.onboarded_at is not null")] = facts.HAS_COMPLETED_ONBOARDING
    created_at: Time = facts.CREATED_AT
