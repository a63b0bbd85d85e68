"""Files in handlers: read from a form, stored before a transaction, deleted when no row refers to them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog

from db.errors import Forbidden, Invalid, UnsupportedMediaType
from db.pool import DatabaseUnavailable, Transaction
from db.queries.users import DeletedUser, delete_user
from db.schemas.faults import fault
from db.schemas.fields import Body
from handlers.http.base import Handler
from handlers.http.errors import BodyTooLarge
from realtime.events import ConversationClosed, NotificationDeleted
from services.errors import VendorError
from services.files.images import PICTURE_MAX_BYTES, AcceptedFile, accept_picture
from services.files.media import Folder
from services.files.multipart import UploadedFile
from services.slots import Busy
from services.tiktok.revocations import revoke_now

log = structlog.get_logger()

FORM_BYTES = 256 * 1024  # for the fields and boundaries around a file
PICTURE_FORM_BYTES = PICTURE_MAX_BYTES + FORM_BYTES
DELETE_SECONDS = 5.0  # a reply waits this long for the deletion of files, which then continues in the background

PICTURE_FOLDERS: dict[str, Folder] = {"INFLUENCER": "influencer-profiles", "SALON": "salon-profiles"}

IS_USED = """
    select exists (select from influencers where user_id = $1 and profile_pic = $2)
        or exists (select from salons where user_id = $1 and profile_pic = $2)
        or exists (select from attachments where url = $2)
"""

removals: set[asyncio.Task[None]] = set()  # asyncio keeps only weak references to tasks


class FileOnly(Body):
    """A form whose only field is a file."""


class FileHandler(Handler):
    def file(self, name: str, max_bytes: int) -> UploadedFile | None:
        """Return the first file of this form field, if there is one."""
        found = self.body.files.get(name)
        if not found:
            return None
        if len(found[0].data) > max_bytes:
            raise BodyTooLarge(max_bytes)
        return found[0]

    def required_file(self, name: str, max_bytes: int) -> UploadedFile:
        if self.body.form is None:
            raise UnsupportedMediaType("Please send the file as multipart/form-data")
        file = self.file(name, max_bytes)
        if file is None:
            raise Invalid([fault(name, "is required")])
        return file

    async def optional_picture(self, name: str) -> AcceptedFile | None:
        """Return the picture of a form, if there is one. Only then the request counts as an upload."""
        file = self.file(name, PICTURE_MAX_BYTES)
        if file is None:
            return None
        if self.caller.role not in PICTURE_FOLDERS:
            raise Forbidden("Only influencers and salons have a picture; please sign in as one of them")
        await self.count([self.user_claim("limit_upload")])
        return await accept_picture(file.data)

    @asynccontextmanager
    async def stored_picture(self, file: AcceptedFile | None) -> AsyncIterator[str | None]:
        """Store the caller's new picture, if there is one, and yield its URL."""
        if file is None:
            yield None
        else:
            async with self.stored(PICTURE_FOLDERS[self.caller.role], file) as url:
                yield url

    @asynccontextmanager
    async def stored(self, folder: Folder, file: AcceptedFile) -> AsyncIterator[str]:
        """Store a file before the transaction, which must not wait for it. Delete the file if the transaction fails."""
        url = await self.services.media.save(folder, file.data, file.content_type, file.extension)
        try:
            yield url
        except DatabaseUnavailable:
            await self.delete_unless_used(url)
            raise
        except BaseException:
            await self.delete_stored(url)
            raise

    async def delete_unless_used(self, url: str) -> None:
        """Delete a file unless it is in use: a failed transaction may have committed. If unsure, keep it."""
        try:
            used = await self.db.fetchval(IS_USED, self.caller.id, url)
        except DatabaseUnavailable:
            log.warning("a file may have been left behind", url=url)
            return
        if not used:
            await self.delete_stored(url)

    async def delete_stored(self, *urls: str | None) -> None:
        """Delete files that no row refers to. A failure is logged and does not fail the request."""
        task = asyncio.create_task(self.delete_files([url for url in urls if url]))
        removals.add(task)
        task.add_done_callback(removals.discard)
        await asyncio.wait({task}, timeout=DELETE_SECONDS)

    async def delete_files(self, urls: list[str]) -> None:
        for url in urls:
            try:
                await self.services.media.delete(url)
            except (VendorError, Busy, OSError) as error:
                log.warning("a file was left behind", url=url, error=repr(error))

    async def delete_account(self, tx: Transaction, user_id: str) -> DeletedUser | None:
        """Delete an account, and publish its consequences after the commit. Return None if there is no such account."""
        deleted = await delete_user(tx, user_id)
        if deleted is None:
            return None
        for conversation_id in deleted.conversation_ids:
            tx.after_commit(self.publish, ConversationClosed(conversation_id, "deleted"))
        for notice in deleted.notices:
            tx.after_commit(self.publish, NotificationDeleted(*notice))
        tx.after_commit(self.application.sessions.check_now)
        tx.after_commit(revoke_now, self.db, self.services.tiktok, deleted.revocations)
        tx.after_commit(self.delete_stored, *deleted.files)
        return deleted
