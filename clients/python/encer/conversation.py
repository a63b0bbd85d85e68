"""One joined conversation: resume without a gap, each change once, typing, read marks."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

from .emitter import Emitter
from .errors import Closed, EncerError, NotSignedIn, RateLimited, Unavailable
from .outbox import new_id
from .rest import Readable, data_of, not_here
from .socket import Socket, check_numbers
from .types import Attachment, Deletion, Message
from .typing import Typing

if TYPE_CHECKING:
    from .client import Encer

RECENT = 50  # messages to begin with, if the program gives no rev
PAGE = 100
REFETCH_MESSAGES = 10_000  # fetched by REST after a long absence, in 100 calls; `gap` reports the older ones
ROUNDS = 5  # of fetching and joining; then the connection is closed: the conversation changes too fast for this client
JOIN_SECONDS = 30.0  # a replay of 500 messages over a slow network
READ_PAUSE = 0.25  # between read marks, so that they do not flood the socket
READ_TRIES = 10  # while the server is not ready: about two minutes; then the next join or `read` sends the mark
READ_RETRY, LONGEST_READ_RETRY = 0.5, 30.0
CHANGES = {"message_sent": "message", "message_edited": "edited", "message_deleted": "deleted"}


class Conversation(Emitter):
    """Events: message, edited, deleted, read, typing, unread, joined, gap, closed, error (README.md)."""

    def __init__(self, encer: "Encer", id: str, after: int | None) -> None:
        super().__init__()
        self.encer = encer
        self.id = id
        self.rev = after or 0  # every change up to this one was emitted
        self.started = after is not None
        self._holds_older = self.started  # whether the program may have messages that this object did not emit
        self.first_seq: int | None = None  # of the oldest message that was emitted
        self.last_seq = 0  # of the newest one
        self.unread = 0
        self.read_by: dict[str, int] = {}  # user -> the seq up to which they have read
        self.closed = False  # the participants are no longer connected
        self._ahead: dict[int, int] = {}  # seq -> rev of what a refetch emitted, until the next join
        self._holding = True  # whether events are ignored, because a refetch or a new join will deliver them
        self._resuming = asyncio.Lock()
        self._resync_waits = False
        self._wanted_read = self._sent_read = 0
        self._reading: asyncio.Task[None] | None = None
        self._typing = Typing(self)
        self._left = False
        self._replaced: EncerError | None = None  # the reason, after another user has signed in

    # -- what a program does -----------------------------------------------------------------------------------------

    async def send(
        self, content: str = "", *, attachment: Attachment | None = None, client_message_id: str | None = None
    ) -> Message:
        """Send a message; return it as stored. Waits while offline; cancel the task to withdraw it."""
        self._check_user()
        self._typing.sent()
        return await self.encer.outbox.send(
            {
                "conversationId": self.id,
                "clientMessageId": client_message_id or new_id(),
                "content": content,
                "messageType": attachment["messageType"] if attachment else "TEXT",
                "fileUrl": attachment["fileUrl"] if attachment else None,
            }
        )

    async def edit(self, message_id: str, content: str) -> Message:
        """Change the text of a message of this user."""
        self._check_user()
        answer = await self.encer.call("PATCH", f"/chat/messages/{message_id}", {"content": content})
        return cast(Message, data_of(answer, dict, self.encer.rest.base_url))

    async def delete(self, message_id: str) -> None:
        """Delete a message of this user; a placeholder stays."""
        self._check_user()
        await self.encer.call("DELETE", f"/chat/messages/{message_id}")

    async def upload(
        self, file: bytes | Readable, name: str, progress: Callable[[int], object] | None = None
    ) -> Attachment:
        """Upload a picture or PDF for `send(attachment=…)`; `progress` gets the bytes sent so far."""
        self._check_user()
        return await self.encer.rest.upload(self.id, file, name, progress)

    async def history(self, before: int | None = None, limit: int = RECENT) -> list[Message]:
        """Return messages older than `before` (a seq), oldest first, without marking them as read."""
        self._check_user()
        messages, _ = await self._fetch(limit=limit, **({} if before is None else {"before": before}))
        if messages and self.first_seq is not None:
            self.first_seq = min(self.first_seq, messages[0]["seq"])
        return messages

    def read(self, seq: int | None = None) -> None:
        """Mark messages up to `seq` (default: all that were emitted) as read, now or when connected."""
        self._wanted_read = max(self._wanted_read, self.last_seq if seq is None else seq)
        self._flush_read()

    def typing(self) -> None:
        """Call it at each key press: others see typing until `stop_typing`, or five seconds after the last call."""
        if not self._left:
            self._typing.key()

    def stop_typing(self) -> None:
        self._typing.stop()

    async def messages(self) -> AsyncIterator[Message]:
        """Yield new messages."""
        async for _, message in self.stream("message"):
            yield message

    def end(self, error: EncerError) -> None:
        """End it, because its user has signed out of this client: another user may not be a participant."""
        self.offline()
        self._replaced = error
        self.emit("error", error)
        self._left = True
        self.end_streams(error)

    async def leave(self) -> None:
        """Leave the conversation: from now on it emits nothing, and its streams end."""
        self._left = True
        self.offline()
        self.end_streams()
        await self.encer.remove_conversation(self)

    def _check_user(self) -> None:
        """Refuse what would be done as the user who has signed in since."""
        self.encer.check_open()
        if self._replaced:
            raise self._replaced

    def emit(self, name: str, data: Any) -> None:
        if not self._left:  # a fetch or a join may still be running
            super().emit(name, data)

    # -- joining -----------------------------------------------------------------------------------------------------

    async def _fetch(self, **params: int) -> tuple[list[Message], bool]:
        """Return a page of messages, and whether there are more of them."""
        path, base_url = f"/chat/conversations/{self.id}/messages", self.encer.rest.base_url
        page = await self.encer.rest.call("GET", path, params={"peek": "true", **params})
        messages: list[Message] = data_of(page, list, base_url)
        try:
            check_numbers(*(message[name] for message in messages for name in ("seq", "rev")))
            return messages, bool(page["pageInfo"]["hasMore"])
        except (TypeError, LookupError):
            raise not_here(base_url) from None

    async def resume(self, socket: Socket, again: bool = False) -> None:
        """Join from the last known rev, and fetch changes that no replay contains. `again`: it is joined already."""
        async with self._resuming:
            if self._left:  # a newer object may have joined the conversation, so that this one must not leave it
                return
            self._holding = self._resync_waits = again
            if again:
                await socket.ask("leave_conversation", {"conversationId": self.id})
                self._holding = self._resync_waits = False
            if not self.started:
                await self._start()
            for _ in range(ROUNDS):
                if self._left:
                    return
                data = {"conversationId": self.id, "after": self.rev}
                ack = await socket.ask("join_conversation", data, self._joined, JOIN_SECONDS)
                if ack["complete"]:
                    self.emit("joined", {"rev": self.rev})
                    self._flush_read()
                    return
                await self._refetch(ack["lastRev"])
                if self._left:
                    return
                await socket.ask("leave_conversation", {"conversationId": self.id})
                self._holding = False
            raise Unavailable("The conversation changes faster than it can be fetched. Connect again later.")

    def _joined(self, ack: dict[str, Any]) -> None:
        """Handle the answer to a join, before any live event. Without a replay, live events wait for the refetch."""
        last_rev = ack["lastRev"]
        check_numbers(last_rev)
        self._holding = not ack["complete"]
        if ack["complete"]:
            self.closed = False
            self._advance(last_rev)
            self._ahead.clear()  # the replay has ended, so every later `message_sent` is new

    def resync(self, socket: Socket) -> None:
        if not self._resync_waits:  # a waiting one covers this one too
            self._resync_waits = self._holding = True
            self.encer.supervise(self.resume(socket, again=True))

    async def _start(self) -> None:
        """Begin with the newest messages; all later changes have a higher rev than they have."""
        for message in (await self._fetch(limit=RECENT))[0]:
            self._emit_fetched(message, 0)
        self.rev = max(self._ahead.values(), default=0)
        self._ahead.clear()
        self.started = True

    async def _refetch(self, last_rev: int) -> None:
        """Fetch the messages and emit the changes since `rev`; afterwards `last_rev` is covered."""
        known = self.rev
        if last_rev < known:  # the database was restored: treat all messages as changed
            known = 0
            self._ahead.clear()
        oldest = 1 if self._holds_older else self.first_seq or 1
        after = max(oldest - 1, last_rev - REFETCH_MESSAGES)
        if after >= oldest:  # the older messages are not fetched: they may be new, edited or deleted
            self.emit("gap", {"after": oldest - 1, "before": after + 1})
        more = True
        while more and not self._left:
            messages, has_more = await self._fetch(limit=PAGE, after=after)
            if any(message["seq"] <= after for message in messages):  # the next page would be the same, again and again
                raise not_here(self.encer.rest.base_url)
            for message in messages:
                self._emit_fetched(message, known)
                after = message["seq"]
            more = bool(messages) and has_more
        self.rev = known
        self._advance(last_rev)

    # -- events ------------------------------------------------------------------------------------------------------

    def receive(self, name: str, data: dict[str, Any]) -> None:
        """Handle an event of the socket."""
        if name in CHANGES:
            if not self._holding:
                self._change(name, data)
        elif name == "message_read":
            self.receive_read(data)
        elif name in ("user_typing", "user_stopped_typing"):
            self._typing.receive(data["userId"], name == "user_typing")
        elif name == "conversation_closed" and not self.closed:
            self.closed = True
            self.emit("closed", data)

    def receive_read(self, data: dict[str, Any]) -> None:
        check_numbers(data["seq"])
        if data["seq"] > self.read_by.get(data["userId"], 0):
            self.read_by[data["userId"]] = data["seq"]
            self.emit("read", data)

    def _change(self, name: str, data: dict[str, Any]) -> None:
        seq, rev = data["seq"], data["rev"]
        check_numbers(seq, rev)
        if rev <= self.rev:
            return
        is_new = rev > self._ahead.get(seq, 0)
        if is_new:
            if name == "message_sent" and seq in self._ahead:
                name = "message_edited"  # a refetch has emitted it before
            self._advance(rev)
            if data.get(
                "isDeleted"
            ):  # a replay sends a message as new if it was deleted before this client received it
                self._emit("deleted", seq, deletion_of(cast(Message, data)))
            else:
                self._emit(CHANGES[name], seq, data)
        else:
            self._advance(rev)

    def _advance(self, rev: int) -> None:
        self.rev = max(self.rev, rev)

    def _emit_fetched(self, message: Message, known: int) -> None:
        seq, rev = message["seq"], message["rev"]
        if rev <= known or rev <= self._ahead.get(seq, 0):
            return
        was_emitted = seq <= known or seq in self._ahead
        self._ahead[seq] = rev
        if message["isDeleted"]:
            self._emit("deleted", seq, deletion_of(message))
        else:
            self._emit("edited" if was_emitted else "message", seq, message)

    def _emit(self, name: str, seq: int, data: Any) -> None:
        if name == "message":
            self.first_seq = min(self.first_seq or seq, seq)
            self._typing.receive(data["senderId"], False)
        self.last_seq = max(self.last_seq, seq)
        self.emit(name, data)

    # -- the connection ----------------------------------------------------------------------------------------------

    def offline(self) -> None:
        self._typing.offline()
        if self._reading:
            self._reading.cancel()
            self._reading = None

    def _flush_read(self) -> None:
        is_due = self._wanted_read > self._sent_read and self._reading is None and not self._left
        if is_due and self.encer.socket:
            self._reading = asyncio.create_task(self._send_read(self.encer.socket))

    def _marked(self, answer: dict[str, Any]) -> None:
        self.encer.unread.set(self.id, answer["unreadCount"])

    async def _send_read(self, socket: Socket) -> None:
        tries = 0
        try:
            while self._wanted_read > self._sent_read and tries < READ_TRIES:
                seq = self._wanted_read
                try:
                    await socket.ask("mark_read", {"conversationId": self.id, "seq": seq}, self._marked)
                except (RateLimited, Unavailable) as error:  # a mark may be repeated
                    pause = READ_RETRY * 2.0**tries * (0.5 + random.random() / 2)
                    tries += 1
                    await asyncio.sleep(min(error.retry_after or pause, LONGEST_READ_RETRY))
                    continue
                tries = 0
                self._sent_read = seq
                await asyncio.sleep(READ_PAUSE)
        except (Closed, NotSignedIn):
            pass  # sent after the next join
        except EncerError as error:
            self._sent_read = self._wanted_read  # refused: not sent again
            self.emit("error", error)
        finally:
            if self._reading is asyncio.current_task():
                self._reading = None


def deletion_of(message: Message) -> Deletion:
    return {
        "messageId": message["id"],
        "conversationId": message["conversationId"],
        "seq": message["seq"],
        "rev": message["rev"],
    }
