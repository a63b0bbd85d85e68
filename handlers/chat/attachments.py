"""Files of chat messages. A client uploads a file before it sends a message with it."""

from pathlib import PurePosixPath

from db.fragments import is_participant
from db.queries.conversations import ConversationReadOnly, check_open
from db.schemas.shapes import Attachment
from handlers.files import FORM_BYTES, FileHandler, FileOnly
from handlers.http.endpoint import MEMBER, endpoint
from services.files.images import ATTACHMENT_MAX_BYTES, accept_attachment
from services.files.multipart import MAX_FILENAME_CHARS

# The right to upload may have ended while the file was checked, so the statement checks it.
ADD_ATTACHMENT = f"""
    with added as (
        insert into attachments (url, conversation_id, uploader_id, file_name, file_size, message_type)
        select $3, c.id, $2, $4, $5, $6 from conversations c
        where c.id = $1 and {is_participant("c", "$2")} and c.closed_at is null
        for share
        returning *
    )
    select {Attachment.sql("a")} from added a
"""


class Attachments(FileHandler):
    @endpoint(
        MEMBER,
        body=FileOnly,
        files=("file",),
        max_bytes=ATTACHMENT_MAX_BYTES + FORM_BYTES,
        limit="limit_upload",
        returns=Attachment,
    )
    async def post(self, conversation_id: str, _: FileOnly) -> None:
        """Upload a picture or PDF of at most 10 MB, as form file `file`, for a message in this conversation."""
        await check_open(self.db, conversation_id, self.caller.id)
        file = self.required_file("file", ATTACHMENT_MAX_BYTES)
        accepted = await accept_attachment(file.data)
        kind = "FILE" if accepted.extension == "pdf" else "IMAGE"
        async with self.stored("chat", accepted) as url:
            attachment = await self.db.fetchval(
                ADD_ATTACHMENT,
                conversation_id,
                self.caller.id,
                url,
                true_name(file.filename, accepted.extension),
                len(accepted.data),
                kind,
            )
            if attachment is None:
                raise ConversationReadOnly
        self.reply(attachment)


def true_name(name: str, extension: str) -> str:
    """Return the client's file name with the extension of its content, so that a file cannot look like another kind."""
    suffix = PurePosixPath(name).suffix.lower().replace(".jpeg", ".jpg")
    return name if suffix == f".{extension}" else f"{name[: MAX_FILENAME_CHARS - len(extension) - 1]}.{extension}"


routes = [("/chat/conversations/{conversation_id}/attachments", Attachments)]
