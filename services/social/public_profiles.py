"""Public profiles by scraping: the code that Instagram and TikTok share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any, ClassVar

from services.apify.runs import ApifyActors, OnStarted
from services.errors import (
    ActorFailed,
    ProfileNotFound,
    ProfilePrivate,
    ProfileRestricted,
    UnreadableAnswer,
    VendorError,
)
from services.social.profiles import Platform, SocialProfile

# Actors write failures into the dataset, in one of these fields, and report the run as a success.
ERROR_FIELDS = ("error", "errorCode", "errorDescription", "note")
NOT_FOUND = ("not_found", "not found", "notfound", "not exist", "n't exist", "no_items", "no such")
RESTRICTED = ("restricted_page", "restricted profile", "restricted access", "restricted_profile", "age-restricted")
PRIVATE = ("is private", "private account", "account_private", "profile_private", "private_profile")


class PublicProfiles(ABC):
    """Profiles of one platform, through one actor. Raises the errors of `services.errors`."""

    platform: ClassVar[Platform]
    max_items: ClassVar[int]

    def __init__(self, actors: ApifyActors, actor_id: str) -> None:
        self.actors = actors
        self.actor_id = actor_id

    async def fetch(
        self, username: str, on_started: OnStarted | None = None, since: datetime | None = None
    ) -> SocialProfile:
        """Start a paid run and return its profile; `on_started` receives the run's id before the wait.

        With `since`, continue a run that was started after it and whose id was lost.
        """
        items = await self.actors.scrape(self.actor_id, self.run_input(username), self.max_items, on_started, since)
        return self.visible(items, username)

    async def resume(self, run_id: str, username: str) -> SocialProfile:
        """Return the result of a run that was started before; start none."""
        return self.visible(await self.actors.resume(run_id, self.max_items), username)

    def visible(self, items: Sequence[Any], username: str) -> SocialProfile:
        profile = self.read(items, username)
        if profile.is_private:
            raise ProfilePrivate(self.actor_id, username)
        return profile

    @abstractmethod
    def run_input(self, username: str) -> dict[str, Any]:
        """Return the input for the actor."""

    @abstractmethod
    def read(self, items: Sequence[Any], username: str) -> SocialProfile:
        """Return the profile among the items of a dataset."""


def explain_missing(vendor: str, items: Sequence[Any], username: str, others: bool) -> VendorError:
    """Return why no item is the requested profile; `others` is whether they are other people's profiles."""
    objects = [item for item in items if isinstance(item, dict)]
    complaint = next(filter(None, map(complaint_of, objects)), "")
    if any(is_restricted(item) for item in objects):
        return ProfileRestricted(vendor, complaint or f"{username} is restricted")
    if others and not complaint:
        return ProfileNotFound(vendor, f"the dataset is about others than {username}")
    if not complaint:
        return UnreadableAnswer(vendor, f"no profile in the dataset of {username}")
    # `no_items` means a missing profile or a blocked scraper; the latter lists its failed requests.
    blocked = any(item.get("requestErrorMessages") for item in objects)
    if not blocked and any(sign in complaint.lower() for sign in PRIVATE):
        return ProfilePrivate(vendor, complaint)
    if not blocked and any(sign in complaint.lower() for sign in NOT_FOUND):
        return ProfileNotFound(vendor, complaint)
    return ActorFailed(vendor, complaint)


def complaint_of(item: dict[str, Any]) -> str:
    return " ".join(str(item[field]) for field in ERROR_FIELDS if item.get(field))


def is_restricted(item: dict[str, Any]) -> bool:
    """Return whether the platform hides the profile from people who are not signed in, by its age or country limits."""
    if item.get("requestErrorMessages"):  # the scraper was blocked and read nothing of the profile
        return False
    named = any(sign in complaint_of(item).lower() for sign in RESTRICTED)
    return named or item.get("isRestrictedProfile") is True or bool(item.get("restrictionReason"))
