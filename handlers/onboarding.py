"""Onboarding: store the first profile of an influencer or a salon, with or without a picture, in one transaction."""

from typing import Any

import orjson
from pydantic import model_validator

from db.queries.profiles import (
    Age,
    Bio,
    BusinessName,
    Categories,
    Description,
    InfluencerFields,
    SalonFields,
    change_profile,
)
from db.schemas import facts
from db.schemas.fields import Body, Gender, Region
from db.schemas.profiles import OnboardedInfluencer, OnboardedSalon
from db.schemas.shapes import Influencer, Salon
from handlers.files import PICTURE_FORM_BYTES, FileHandler
from handlers.http.endpoint import INFLUENCER, SALON, endpoint

COMPLETED = "Your profile is complete"


class OnboardingForm(Body):
    @model_validator(mode="before")
    @classmethod
    def drop_blank_strings(cls, given: Any) -> Any:
        """Drop strings of spaces at most: browsers send one for each field that is not filled in."""
        if not isinstance(given, dict):
            return given
        return {key: value for key, value in given.items() if not (isinstance(value, str) and not value.strip())}


class InfluencerForm(OnboardingForm, InfluencerFields):
    """The first profile of an influencer."""

    bio: Bio
    categories: Categories = facts.CATEGORIES
    region: Region
    age: Age
    gender: Gender


class SalonForm(OnboardingForm, SalonFields):
    """The first profile of a salon."""

    business_name: BusinessName
    description: Description
    preferred_categories: Categories = facts.PREFERRED_CATEGORIES


# Completion is stored, not derived from the fields of the profile.
COMPLETE = "update users set onboarded_at = coalesce(onboarded_at, now()), updated_at = now() where id = $1"

GET_INFLUENCER = f"select {Influencer.sql('i')} from influencers i where i.user_id = $1"

GET_SALON = f"select {Salon.sql('s')} from salons s where s.user_id = $1"


class Onboarding(FileHandler):
    async def complete(self, form: Body, get_profile: str) -> orjson.Fragment:
        """Store the picture, then the profile and its completion in one transaction."""
        picture = await self.optional_picture("profilePic")
        changes = form.model_dump(exclude_unset=True)
        async with self.stored_picture(picture) as url:
            if url:
                changes["profile_pic"] = url
            async with self.db.transaction() as tx:
                unused = await change_profile(tx, self.caller.id, self.caller.role, changes)
                await tx.execute(COMPLETE, self.caller.id)
                profile: orjson.Fragment = await tx.fetchval(get_profile, self.caller.id)
                tx.after_commit(self.delete_stored, unused)
        return profile


class InfluencerOnboarding(Onboarding):
    @endpoint(
        INFLUENCER,
        body=InfluencerForm,
        files=("profilePic",),
        max_bytes=PICTURE_FORM_BYTES,
        returns=OnboardedInfluencer,
        top=("message", "influencer"),
        errors=("NOT_FOUND",),
    )
    async def post(self, form: InfluencerForm) -> None:
        """Complete an influencer's profile, as JSON or as a form with `profilePic`."""
        profile = await self.complete(form, GET_INFLUENCER)
        answer: dict[str, Any] = {"message": COMPLETED, "influencer": profile}
        self.reply(answer, **answer)


class SalonOnboarding(Onboarding):
    @endpoint(
        SALON,
        body=SalonForm,
        files=("profilePic",),
        max_bytes=PICTURE_FORM_BYTES,
        returns=OnboardedSalon,
        top=("message", "salon"),
        errors=("NOT_FOUND",),
    )
    async def post(self, form: SalonForm) -> None:
        """Complete a salon's profile, as JSON or as a form with `profilePic`."""
        profile = await self.complete(form, GET_SALON)
        answer: dict[str, Any] = {"message": COMPLETED, "salon": profile}
        self.reply(answer, **answer)


routes = [
    ("/onboarding/influencer", InfluencerOnboarding),
    ("/onboarding/salon", SalonOnboarding),
]
