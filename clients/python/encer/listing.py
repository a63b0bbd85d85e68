"""Read marks and unread counts of all conversations, which no join contains."""

import asyncio
from typing import TYPE_CHECKING

from .errors import MAY_PASS, EncerError
from .rest import data_of
from .socket import MALFORMED

if TYPE_CHECKING:
    from .client import Encer

PAUSE_SECONDS = 2.0  # between two listings
LONGEST_PAUSE = 60.0  # for a Retry-After
PAGES = 10
TRIES = 5


class Listing:
    """Lists the conversations when asked; several requests during a listing lead to one more."""

    def __init__(self, encer: "Encer") -> None:
        self.encer = encer
        self.running: asyncio.Task[None] | None = None
        self.is_current = False  # False if a change asks for another listing

    def ask(self) -> None:
        self.is_current = False
        if self.encer.socket and (self.running is None or self.running.done()):
            self.encer.supervise(self._run())

    async def _run(self) -> None:
        self.running = asyncio.current_task()
        tries = TRIES
        while not self.is_current and tries > 0:
            self.is_current = True
            pause = PAUSE_SECONDS
            try:
                await self._list_pages()
            except MAY_PASS as error:
                self.is_current = False
                tries -= 1
                pause = min(max(pause, error.retry_after or 0), LONGEST_PAUSE)
            except (EncerError, *MALFORMED):  # the chat continues
                break
            await asyncio.sleep(pause)

    async def _list_pages(self) -> None:
        encer = self.encer
        counts: dict[str, int] = {}
        cursor: str | None = None
        for _ in range(PAGES):
            params = {"limit": 100, **({"cursor": cursor} if cursor else {})}
            page = await encer.call("GET", "/chat/conversations", params=params)
            for listed in data_of(page, list, encer.rest.base_url):
                counts[listed["id"]] = listed["unreadCount"]
                for person in listed["participants"] if listed["id"] in encer.conversations else ():
                    mark = {"seq": person["lastReadSeq"], "readAt": person["lastReadAt"]}
                    data = {"conversationId": listed["id"], "userId": person["userId"], **mark}
                    encer.conversations[listed["id"]].receive_read(data)
            cursor = page["pageInfo"]["nextCursor"]
            if cursor is None:
                encer.unread.listed(counts)
                break
