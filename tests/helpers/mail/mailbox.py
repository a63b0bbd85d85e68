"""Read the newest mail that the console sender has written, as soon as it is sent."""

import asyncio
import email
import email.policy
import re
from pathlib import Path

from db.pool import Database

WAITING = "select exists (select from email_outbox where sent_at is null)"
CODE = re.compile(r"^\s+(\d{6})\s*$", re.MULTILINE)


class Mailbox:
    def __init__(self, folder: Path, db: Database) -> None:
        self.folder = folder
        self.db = db

    async def text(self) -> str:
        """Return the text of the newest mail after the outbox is empty."""
        async with asyncio.timeout(5):
            while await self.db.fetchval(WAITING):
                await asyncio.sleep(0.01)
        newest = max(self.folder.glob("*.eml"), key=lambda path: path.name)
        mail = email.message_from_bytes(newest.read_bytes(), policy=email.policy.default)
        part = mail.get_body(["plain"])
        assert part
        return part.get_content().replace("\r\n", "\n")

    async def code(self) -> str:
        """Return the code in the newest mail."""
        found = CODE.search(await self.text())
        assert found
        return found[1]
