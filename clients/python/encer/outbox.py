"""Messages that wait to be sent: bounded, in order per conversation, each stored once."""

import asyncio
import random
import time
import uuid
from collections.abc import Callable
from typing import Any

from .emitter import log
from .errors import (
    Closed,
    EncerError,
    NotSignedIn,
    OutboxFull,
    RateLimited,
    SendTimeout,
    TooLarge,
    Unavailable,
)
from .outbox_stores import OutboxStore
from .socket import Socket
from .types import Message, NewMessage, Unsent

ITEMS = 200  # waiting messages; with more, the network is down for long, and the program must decide
SECONDS = 3_600.0  # how long a message waits at most, in each run of the program
MAX_CONTENT = 5_000
MAX_FILE_URL = 2_000
DEFECT_TRIES = 10  # after INTERNAL: a defect of the server may be permanent. Other answers are repeated until SECONDS.
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0  # before a repetition, if the server does not say when

Key = tuple[str, str]


def key_of(message: NewMessage) -> Key:
    return message["conversationId"], message["clientMessageId"]


class Item:
    def __init__(self, unsent: Unsent) -> None:
        loop = asyncio.get_running_loop()
        self.unsent = unsent
        self.stored: asyncio.Future[Message] = loop.create_future()
        self.stored.add_done_callback(
            lambda stored: stored.cancelled() or stored.exception()
        )  # the program may ignore the result
        self.waiters = 0  # calls of `send` that wait for it
        self.tries = 0
        self.timer: asyncio.TimerHandle | None = None


class Outbox:
    def __init__(
        self,
        emit: Callable[[str, Any], None],
        find_user: Callable[[], str],
        store: OutboxStore | None,
        seconds: float = SECONDS,
    ) -> None:
        """`find_user` returns the id of the signed-in user, or ""."""
        self.emit = emit
        self.find_user = find_user
        self.store = store
        self.seconds = seconds
        self.user = ""  # whose messages these are
        self.items: dict[Key, Item] = {}  # oldest first
        self.socket: Socket | None = None
        self.sending: dict[str, asyncio.Task[None]] = {}  # by conversation
        self.loaded = False
        self.newest = 0  # the last `queuedAt`

    async def send(self, new: NewMessage) -> Message:
        """Queue a message; return it as it was stored.

        Two calls with one client message id wait for one message. It is withdrawn when all its calls are cancelled."""
        check(new)
        self._load()
        item = self.items.get(key_of(new))
        if item is None:
            if len(self.items) >= ITEMS:
                raise OutboxFull(f"{ITEMS} messages wait to be sent. Wait until some of them are sent.")
            self.newest = max(self.newest + 1, int(time.time() * 1000))
            item = self._add({**new, "userId": self.user, "queuedAt": self.newest})
            self._change_store("add", item.unsent)
            self._send_waiting(new["conversationId"])
        item.waiters += 1
        try:
            return await asyncio.shield(item.stored)
        except asyncio.CancelledError:
            if item.waiters == 1:
                item.stored.cancel()
                self._remove(item)
            raise
        finally:
            item.waiters -= 1

    def live(self, socket: Socket, user: str) -> None:
        """Send the waiting messages of this user over this socket."""
        if self.user and self.user != user:
            self.end(Closed("Another user has signed in. A stored message waits for its author."))
        self.user, self.socket = user, socket
        self._load()
        for conversation_id in {conversation_id for conversation_id, _ in self.items}:
            self._send_waiting(conversation_id)

    def offline(self) -> None:
        self.socket = None
        for task in self.sending.values():
            task.cancel()
        self.sending.clear()

    def end(self, error: EncerError) -> None:
        """Fail all waiting calls. The store keeps the messages, so that a later run sends them."""
        self.offline()
        for item in self.items.values():
            if item.timer:
                item.timer.cancel()
            if not item.stored.done():
                item.stored.set_exception(error)
        self.items.clear()
        self.loaded, self.user = False, ""

    def discard(self, user: str) -> None:
        """Delete the stored messages of a user."""
        for unsent in self._stored() or ():
            if unsent["userId"] == user:
                self._change_store("remove", unsent)

    def _load(self) -> None:
        """Load the messages that an earlier run of the program did not send. Raises NotSignedIn."""
        if self.loaded:
            return
        self.user = self.user or self.find_user()
        if not self.user:
            raise NotSignedIn("You are not signed in. Please sign in first.")
        stored = self._stored()
        for unsent in stored or ():
            is_own = unsent["userId"] == self.user and key_of(unsent) not in self.items
            if is_own and len(self.items) < ITEMS:
                self._add(unsent)
        self.loaded = stored is not None  # a store that fails is asked again

    def _add(self, unsent: Unsent) -> Item:
        item = self.items[key_of(unsent)] = Item(unsent)
        late = SendTimeout(f"The message was not confirmed within {self.seconds:.0f} s. Send it again.")
        item.timer = asyncio.get_running_loop().call_later(self.seconds, self._fail, item, late)
        return item

    def _send_waiting(self, conversation_id: str) -> None:
        if self.socket and conversation_id not in self.sending:
            task = asyncio.create_task(self._send_all(self.socket, conversation_id))
            self.sending[conversation_id] = task

    async def _send_all(self, socket: Socket, conversation_id: str) -> None:
        """Send one message at a time, so that a message that must be sent again keeps its place."""
        try:
            while item := next((item for key, item in self.items.items() if key[0] == conversation_id), None):
                await self._send_one(socket, item)
        except Closed:
            pass  # sent again over the next socket
        finally:
            if self.sending.get(conversation_id) is asyncio.current_task():
                del self.sending[conversation_id]

    async def _send_one(self, socket: Socket, item: Item) -> None:
        local = ("userId", "queuedAt")
        frame = {name: value for name, value in item.unsent.items() if value is not None and name not in local}
        try:
            answer = await socket.ask("send_message", frame, lambda answer: answer["message"]["id"])
        except (NotSignedIn, Closed):
            raise Closed("The socket is closing.") from None
        except (RateLimited, Unavailable) as error:
            item.tries += 1
            if error.code == "INTERNAL" and item.tries >= DEFECT_TRIES:
                return self._fail(item, error)
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(item.tries - 1, 10)) * (0.5 + random.random() / 2)
            await asyncio.sleep(min(error.retry_after or pause, self.seconds))
        except EncerError as error:
            self._fail(item, error)
        else:
            self._remove(item)
            if not item.stored.done():
                item.stored.set_result(answer["message"])
            self.emit("sent", answer["message"])
        return None

    def _fail(self, item: Item, error: EncerError) -> None:
        if self.items.get(key_of(item.unsent)) is item:
            self._remove(item)
            if not item.stored.done():
                item.stored.set_exception(error)
            self.emit("failed", {"message": item.unsent, "error": error})

    def _remove(self, item: Item) -> None:
        if item.timer:
            item.timer.cancel()
        if self.items.get(key_of(item.unsent)) is item:
            del self.items[key_of(item.unsent)]
        self._change_store("remove", item.unsent)

    def _change_store(self, change: str, unsent: Unsent) -> None:
        if self.store:
            try:
                getattr(self.store, change)(unsent)
            except Exception:  # a store that fails must not stop messages from being sent
                log.exception("The outbox was not stored.")

    def _stored(self) -> list[Unsent] | None:
        try:
            return [unsent for unsent in self.store.load() if is_unsent(unsent)] if self.store else []
        except Exception:
            log.exception("The stored outbox is unreadable; its messages are not sent.")
            return None


def is_unsent(unsent: Any) -> bool:
    """Return whether an entry of a store is a message; otherwise log that it is not sent."""
    texts = ("userId", "conversationId", "clientMessageId", "content", "messageType")
    if isinstance(unsent, dict) and all(isinstance(unsent.get(name), str) for name in texts):
        return True
    log.error("An entry of the stored outbox is not a message, so it is not sent.")
    return False


def check(new: NewMessage) -> None:
    """Refuse a message that the server would refuse, before it waits for a connection."""
    if len(new["content"]) > MAX_CONTENT:
        raise TooLarge(
            f"The message has more than {MAX_CONTENT} characters. Send a shorter one, or several.",
            code="VALIDATION_ERROR",
            details=[{"field": "content", "message": f"at most {MAX_CONTENT} characters"}],
        )
    if len(new["clientMessageId"]) > 64 or len(new["fileUrl"] or "") > MAX_FILE_URL:
        raise TooLarge(
            "The client message id has more than 64 characters, or the file's URL more than 2,000. Shorten it."
        )


def new_id() -> str:
    return str(uuid.uuid4())
