"""Messages that wait to be sent: bounded, in order per conversation, each stored once."""

import asyncio
import uuid
from collections.abc import Callable
from typing import Any, Protocol

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
from .socket import Socket
from .types import Message, Unsent

ITEMS = 200  # waiting messages; with more, the network is down for long, and the program must decide
SECONDS = 3_600.0  # how long a message waits at most
MAX_CONTENT = 5_000
MAX_FILE_URL = 2_000
TRIES = 10  # after answers such as NOT_READY
LONGEST_WAIT = 60.0  # for a rate limit


class OutboxStore(Protocol):
    """The persistence hook: it receives all waiting messages at each change, and returns them at the start."""

    def load(self) -> list[Unsent]: ...

    def save(self, items: list[Unsent]) -> None: ...


class Item:
    def __init__(self, unsent: Unsent, seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self.unsent = unsent
        self.stored: asyncio.Future[Message] = loop.create_future()
        self.stored.add_done_callback(
            lambda stored: stored.cancelled() or stored.exception()
        )  # the program may ignore the result
        self.deadline = loop.time() + seconds
        self.tries = 0


class Outbox:
    def __init__(self, emit: Callable[[str, Any], None], store: OutboxStore | None, seconds: float = SECONDS) -> None:
        self.emit = emit
        self.store = store
        self.seconds = seconds
        self.items: dict[str, Item] = {}  # by clientMessageId, oldest first
        self.socket: Socket | None = None
        self.sending: dict[str, asyncio.Task[None]] = {}  # by conversation
        self.loaded = False

    def load(self) -> None:
        """Load the messages that an earlier run of the program did not send."""
        if not self.loaded:
            self.loaded = True
            for unsent in self._stored()[:ITEMS]:
                self.items.setdefault(unsent["clientMessageId"], Item(unsent, self.seconds))

    async def send(self, unsent: Unsent) -> Message:
        """Queue a message; return it as it was stored. Cancelling removes it from the queue."""
        check(unsent)
        self.load()
        if unsent["clientMessageId"] in self.items:
            return await asyncio.shield(self.items[unsent["clientMessageId"]].stored)
        if len(self.items) >= ITEMS:
            raise OutboxFull(f"{ITEMS} messages wait to be sent. Wait until some of them are sent.")
        item = self.items[unsent["clientMessageId"]] = Item(unsent, self.seconds)
        timer = asyncio.get_running_loop().call_later(self.seconds, self._expire, item)
        self._save()
        self._send_waiting(unsent["conversationId"])
        try:
            return await item.stored
        finally:
            timer.cancel()
            if item.stored.cancelled():
                self._remove(item)

    def live(self, socket: Socket) -> None:
        """Send the waiting messages over this socket."""
        self.load()
        self.socket = socket
        for conversation_id in {item.unsent["conversationId"] for item in self.items.values()}:
            self._send_waiting(conversation_id)

    def offline(self) -> None:
        self.socket = None
        for task in self.sending.values():
            task.cancel()
        self.sending.clear()

    def end(self, error: EncerError) -> None:
        """Fail all waiting calls. The stored list stays, so that a later run sends the messages."""
        self.offline()
        for item in self.items.values():
            if not item.stored.done():
                item.stored.set_exception(error)
        self.items.clear()
        self.loaded = False

    def discard(self) -> None:
        """Delete the stored list, so that the next user of this device does not send it."""
        self.items.clear()
        self._save()

    def _send_waiting(self, conversation_id: str) -> None:
        if self.socket and conversation_id not in self.sending:
            task = asyncio.create_task(self._send_all(self.socket, conversation_id))
            self.sending[conversation_id] = task

    async def _send_all(self, socket: Socket, conversation_id: str) -> None:
        """Send one message at a time, so that a message that must be sent again keeps its place."""
        try:
            while item := next((i for i in self.items.values() if i.unsent["conversationId"] == conversation_id), None):
                await self._send_one(socket, item)
        except Closed:
            pass  # sent again over the next socket
        finally:
            if self.sending.get(conversation_id) is asyncio.current_task():
                del self.sending[conversation_id]

    async def _send_one(self, socket: Socket, item: Item) -> None:
        if asyncio.get_running_loop().time() > item.deadline:
            return self._expire(item)
        try:
            answer = await socket.ask("send_message", {k: v for k, v in item.unsent.items() if v is not None})
        except (NotSignedIn, Closed):
            raise Closed("The socket is closing.") from None
        except (RateLimited, Unavailable) as error:
            item.tries += 1
            if item.tries >= TRIES:
                return self._fail(item, error)
            await asyncio.sleep(min(error.retry_after or 0.5 * item.tries, LONGEST_WAIT))
        except EncerError as error:
            self._fail(item, error)
        else:
            self._remove(item)
            if not item.stored.done():
                item.stored.set_result(answer["message"])
            self.emit("sent", answer["message"])
        return None

    def _expire(self, item: Item) -> None:
        if item.unsent["clientMessageId"] in self.items:
            self._fail(item, SendTimeout(f"The message was not confirmed within {self.seconds:.0f} s. Send it again."))

    def _fail(self, item: Item, error: EncerError) -> None:
        self._remove(item)
        if not item.stored.done():
            item.stored.set_exception(error)
        self.emit("failed", {"message": item.unsent, "error": error})

    def _remove(self, item: Item) -> None:
        self.items.pop(item.unsent["clientMessageId"], None)
        self._save()

    def _save(self) -> None:
        if self.store:
            try:
                self.store.save([item.unsent for item in self.items.values()])
            except Exception:  # a store that fails must not stop messages from being sent
                log.exception("The outbox was not stored.")

    def _stored(self) -> list[Unsent]:
        try:
            return self.store.load() if self.store else []
        except Exception:
            log.exception("The stored outbox is unreadable; its messages are not sent.")
            return []


def check(unsent: Unsent) -> None:
    """Refuse a message that the server would refuse, before it waits for a connection."""
    if len(unsent["content"]) > MAX_CONTENT:
        raise TooLarge(
            f"The message has more than {MAX_CONTENT} characters. Send a shorter one, or several.",
            code="VALIDATION_ERROR",
            details=[{"field": "content", "message": f"at most {MAX_CONTENT} characters"}],
        )
    if len(unsent["clientMessageId"]) > 64 or len(unsent["fileUrl"] or "") > MAX_FILE_URL:
        raise TooLarge(
            "The client message id has more than 64 characters, or the file's URL more than 2,000. Shorten it."
        )


def new_id() -> str:
    return str(uuid.uuid4())
