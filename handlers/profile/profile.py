"""Profiles: read and change the caller's own, upload its picture, view another user's."""

import re
from typing import Annotated, Any

from pydantic import ConfigDict, Field, model_validator

from db.errors import NotFound
from db.queries.notifications import NotificationChange
from db.queries.profiles import InfluencerFields, Name, SalonFields, change_profile, rename
from db.schemas import facts
from db.schemas.facts import about
from db.schemas.profiles import Profile, SeenProfile
from db.schemas.shapes import Notification, Picture
from handlers.files import PICTURE_FORM_BYTES, FileHandler, FileOnly
from handlers.http.base import Handler
from handlers.http.endpoint import MEMBER, USER, endpoint
from realtime.events import NotificationReceived
from services.files.images import PICTURE_MAX_BYTES, accept_picture

GET_PROFILE = f"select {Profile.sql('u')} from users u where u.id = $1"


class OwnProfile(Handler):
    @endpoint(USER, returns=Profile)
    async def get(self) -> None:
        """Return the caller's profile, with social accounts and counts."""
        self.reply(await self.db.fetchval(GET_PROFILE, self.caller.id))


def is_blank(value: Any) -> bool:
    """Return whether the web client sends this value for a field that it did not load."""
    if isinstance(value, list):
        return all(is_blank(part) for part in value)
    return isinstance(value, str) and not value.strip()


LIST_NAMES = ("categories", "preferredCategories")
EMPTY_LIST = re.compile(r"\s*\[\s*\]\s*")  # as a form writes it


class ProfileChanges(InfluencerFields, SalonFields):
    """Fields of both roles; those of the other role are ignored. Absent, '' and [] mean unchanged; null clears."""

    # Fields of one role only, and no `profilePic`: null removes the picture.
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "Hanako Yamada", "bio": facts.BIO.examples[0], "region": "tokyo"}]}
    )

    name: Name = Field(default_factory=str)  # optional, but without null
    profile_pic: Annotated[None, about("null removes the picture; send a new one as a file", None)] = None

    @model_validator(mode="before")
    @classmethod
    def drop_unchanged_fields(cls, given: Any) -> Any:
        if not isinstance(given, dict):
            return given
        kept = {key: value for key, value in given.items() if not is_blank(value)}
        for name in LIST_NAMES:
            if isinstance(kept.get(name), str) and EMPTY_LIST.fullmatch(kept[name]):
                del kept[name]
        if kept.get("profilePic") is not None:  # sent back as it was read
            del kept["profilePic"]
        return kept


class UpdateProfile(FileHandler):
    @endpoint(
        USER,
        body=ProfileChanges,
        files=("profilePic",),
        max_bytes=PICTURE_FORM_BYTES,
        returns=Profile,
        errors=("FORBIDDEN", "NOT_FOUND"),
    )
    async def put(self, changes: ProfileChanges) -> None:
        """Change fields of the caller's profile, as JSON or as a form with `profilePic`."""
        columns = changes.model_dump(exclude_unset=True)
        name = columns.pop("name", None)
        picture = await self.optional_picture("profilePic")
        async with self.stored_picture(picture) as url:
            if url:
                columns["profile_pic"] = url
            async with self.db.transaction() as tx:
                if name is not None:
                    await rename(tx, self.caller.id, name)
                unused = await change_profile(tx, self.caller.id, self.caller.role, columns)
                profile = await tx.fetchval(GET_PROFILE, self.caller.id)
                tx.after_commit(self.delete_stored, unused)
        self.reply(profile, message="Your profile is updated")


class UploadPicture(FileHandler):
    @endpoint(
        MEMBER,
        body=FileOnly,
        files=("profilePic",),
        max_bytes=PICTURE_FORM_BYTES,
        limit="limit_upload",
        returns=Picture,
        errors=("NOT_FOUND",),
    )
    async def post(self, _: FileOnly) -> None:
        """Replace the caller's picture with the form file `profilePic` of at most 5 MiB."""
        picture = await accept_picture(self.required_file("profilePic", PICTURE_MAX_BYTES).data)
        async with self.stored_picture(picture) as url, self.db.transaction() as tx:
            unused = await change_profile(tx, self.caller.id, self.caller.role, {"profile_pic": url})
            tx.after_commit(self.delete_stored, unused)
        self.reply({"profilePic": url}, message="Your picture is updated")


# Also notifies the owner of the profile if the viewer has the other role, at most once per viewer and day.
VIEW_PROFILE = f"""
    with viewed as (
        select * from users u
        where u.id = $2 and (u.id = $1
            or (u.status = 'ACTIVE' and u.email_verified_at is not null and u.role <> 'ADMIN'))
    ), viewer as (
        select id, name, role from users where id = $1
    ), view as (
        insert into profile_views as p (viewed_id, viewer_id, viewed_on)
        select viewed.id, viewer.id, current_date from viewed, viewer
        where (viewed.role, viewer.role) in (('INFLUENCER', 'SALON'), ('SALON', 'INFLUENCER'))
            and not exists (select from profile_views p
                where p.viewed_id = viewed.id and p.viewer_id = viewer.id and p.viewed_on >= current_date)
        on conflict (viewed_id, viewer_id) do update set viewed_on = excluded.viewed_on
        where p.viewed_on < excluded.viewed_on
        returning p.viewed_id
    ), notice as (
        insert into notifications (user_id, type, title, message, actor_id, metadata)
        select view.viewed_id, 'PROFILE_VIEW', 'New profile view', viewer.name || ' viewed your profile', viewer.id,
            jsonb_build_object('viewerId', viewer.id)
        from view, viewer
        returning *
    )
    select {SeenProfile.sql("v", viewer="$1")} as body, n.user_id,
        case when n.id is not null then {Notification.sql("n")} end as notification,
        count_unread_notifications(n.user_id) as unread_count
    from viewed v left join notice n on true
"""


class ProfileOf(Handler):
    @endpoint(USER, returns=SeenProfile, acts=True)
    async def get(self, user_id: str) -> None:
        """Return a user's public profile, with the connection status between the caller and the user."""
        row = await self.db.fetchrow(VIEW_PROFILE, self.caller.id, user_id)
        if row is None:
            raise NotFound("User")
        body, *notice = row
        if notice[0]:
            self.publish(NotificationReceived(*NotificationChange(*notice)))
        self.reply(body)


routes = [
    ("/profile/me", OwnProfile),
    ("/profile/update", UpdateProfile),
    ("/profile/upload-picture", UploadPicture),
    ("/profile/{user_id}", ProfileOf),
]
