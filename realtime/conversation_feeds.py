"""The state of one conversation as this instance's sockets have received it.

A conversation's changes carry its counter (`rev`). A feed knows the rev that its sockets have received. It delivers
the next change, drops known ones, and holds changes beyond a gap until catch_up.py has filled the gap from the
database. So it does not matter whether Redis repeats, reorders or loses events.
"""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Protocol

from db.queries.conversations import Change, ChangedReadMark, Changes
from realtime import channels
from realtime.events import (
    ConversationClosed,
    Event,
    MessageDeleted,
    MessageEdited,
    MessageRead,
    MessageSent,
    Resync,
    UserStoppedTyping,
    UserTyping,
)
from realtime.typing_state import TypingState

GAP_SECONDS = 0.05  # wait before a gap is read from the database: the order of two instances' events can change
HELD_CHANGES = 1_000  # held changes after a gap; more are dropped, because the database has them all


class Listener(Protocol):
    """The part of a signed-in client that feeds use (realtime/sockets/client.py)."""

    user_id: str

    def send(self, frame: bytes, event: Event | None = None) -> None:
        """Send a frame; with its event, if the time from the event's publication to the socket is to be measured."""

    def leave(self, conversation_id: str) -> None: ...


@dataclass(frozen=True, slots=True)
class LiveChange:
    """A change as it was published."""

    event: Event

    def frame_for(self, received: int) -> bytes:
        return self.event.frame


@dataclass(frozen=True, slots=True)
class StoredChange:
    """A change as the database stores it. `position` is the rev that all sockets of the feed have received."""

    conversation_id: str
    change: Change
    position: int
    event: ClassVar[None] = None

    def frame_for(self, received: int) -> bytes:
        return replay(self.conversation_id, self.change, max(self.position, received))


@dataclass(frozen=True, slots=True)
class MissingChanges:
    """More changes than a catch-up delivers."""

    conversation_id: str
    event: ClassVar[None] = None

    def frame_for(self, received: int) -> bytes:
        return Resync("behind", self.conversation_id).frame


PendingChange = LiveChange | StoredChange | MissingChanges


def replay(conversation_id: str, change: Change, received: int) -> bytes:
    """Return the frame with the present state of a message, for a client that has received all up to rev `received`."""
    if change.seq > received:
        return MessageSent(conversation_id, change.rev, change.message, None).frame
    if change.deleted:
        return MessageDeleted(conversation_id, change.message_id, change.seq, change.rev).frame
    return MessageEdited(conversation_id, change.rev, change.message).frame


class CatchUpQueue:
    """The conversation feeds whose missing changes the workers of catch_up.py read; each is queued at most once."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[ConversationFeed] = asyncio.Queue()
        self.queued: set[ConversationFeed] = set()
        self.all_soon = asyncio.Event()  # compare everything now, not at the next interval

    def put(self, feed: "ConversationFeed", after_seconds: float = 0.0) -> None:
        if feed in self.queued:
            return
        self.queued.add(feed)
        if after_seconds:
            asyncio.get_running_loop().call_later(after_seconds, self.queue.put_nowait, feed)
        else:
            self.queue.put_nowait(feed)

    async def get(self) -> "ConversationFeed":
        feed = await self.queue.get()
        self.queued.discard(feed)
        return feed


class ConversationFeed:
    """The sockets of this instance that joined one conversation, and the rev that they have received."""

    __slots__ = (
        "catch_ups",
        "channel",
        "closed",
        "conversation_id",
        "created_at",
        "held",
        "joining",
        "lagging",
        "listeners",
        "position",
        "read_marks",
        "typing",
    )

    def __init__(self, conversation_id: str, catch_ups: CatchUpQueue) -> None:
        self.conversation_id = conversation_id
        self.channel = channels.conversation(conversation_id)
        self.catch_ups = catch_ups
        self.typing = TypingState(self._end_expired_typing)
        self.created_at = time.monotonic()
        self.closed = False
        self.position: int | None = None  # known as soon as the first socket has joined
        self.listeners: dict[Listener, int] = {}  # each with the rev that its join has delivered
        self.joining: dict[Listener, list[tuple[int, PendingChange]]] = {}
        self.held: dict[int, PendingChange] = {}
        self.lagging = False  # whether the database has changes that did not arrive
        self.read_marks: dict[str, int] = {}  # user → the last delivered read mark; marks only move forward

    @property
    def empty(self) -> bool:
        return not self.listeners and not self.joining

    # -- joining -----------------------------------------------------------------------------------------------------

    def begin_join(self, listener: Listener) -> None:
        """Collect the changes for this socket while the database is read."""
        self.joining[listener] = []

    def finish_join(self, listener: Listener, last_rev: int) -> None:
        """Deliver the collected changes. The socket has received the state at `last_rev`."""
        collected = self.joining.pop(listener)
        if not self.joining:
            self.joining = {}  # an emptied dictionary would keep its memory
        self.listeners[listener] = last_rev
        if self.position is None:
            self.position = last_rev
            self._drop_held_up_to(last_rev)
            self._deliver_held()
        for rev, change in collected:
            if rev > last_rev:
                listener.send(change.frame_for(last_rev))
        self.listeners[listener] = max(last_rev, collected[-1][0] if collected else 0)

    def remove(self, listener: Listener) -> None:
        self.joining.pop(listener, None)
        self.listeners.pop(listener, None)
        if self.empty:
            self.typing.clear()

    # -- delivering --------------------------------------------------------------------------------------------------

    def deliver(self, event: Event) -> None:
        if isinstance(event, MessageSent | MessageEdited | MessageDeleted):
            if self.position is None or event.rev > self.position:
                self.held[event.rev] = LiveChange(event)
                self._deliver_held()
            if isinstance(event, MessageSent) and event.sender_id and self.typing.end(event.sender_id):
                self._send(UserStoppedTyping(self.conversation_id, event.sender_id), except_user=event.sender_id)
        elif isinstance(event, UserTyping):
            if self.typing.begin(event.user_id):
                self._send(event, except_user=event.user_id)
        elif isinstance(event, UserStoppedTyping):
            self.typing.end(event.user_id)
            self._send(event, except_user=event.user_id)
        elif isinstance(event, MessageRead):
            if event.seq > self.read_marks.get(event.user_id, 0):
                self.read_marks[event.user_id] = event.seq
                self._send(event)
        else:
            self._send(event)
            if isinstance(event, ConversationClosed):
                self._close()

    def misses(self, mark: ChangedReadMark, now: float) -> bool:
        """Return whether this read mark was not delivered. Clients fetch marks that are older than the feed."""
        return now - mark.age >= self.created_at and mark.seq > self.read_marks.get(mark.user_id, 0)

    def _send(self, event: Event, except_user: str | None = None) -> None:
        for listener in list(self.listeners):
            if listener.user_id != except_user:
                listener.send(event.frame, event)

    def _end_expired_typing(self, user_id: str) -> None:
        self.deliver(UserStoppedTyping(self.conversation_id, user_id))

    def _close(self) -> None:
        """Remove all sockets. A socket that is joining finds `closed` set."""
        self.closed = True
        for listener in self.listeners:
            listener.leave(self.conversation_id)
        self.listeners.clear()
        self.typing.clear()

    def _deliver_held(self) -> None:
        while self.position is not None and self.position + 1 in self.held:
            self.position += 1
            self._deliver_change(self.position, self.held.pop(self.position))
        if len(self.held) > HELD_CHANGES:
            self.held.clear()
        if self.position is not None and self.held:
            self.catch_ups.put(self, GAP_SECONDS)

    def _deliver_change(self, rev: int, change: PendingChange) -> None:
        for collected in self.joining.values():
            collected.append((rev, change))
        for listener, received in list(self.listeners.items()):
            if rev > received:
                listener.send(change.frame_for(received), change.event)

    def _drop_held_up_to(self, rev: int) -> None:
        self.held = {number: change for number, change in self.held.items() if number > rev}

    # -- catching up -------------------------------------------------------------------------------------------------

    @property
    def needs_catch_up(self) -> bool:
        return self.position is not None and not self.empty and (self.lagging or bool(self.held))

    def catch_up(self) -> None:
        """Ask for the changes that the database has and this feed has not received."""
        if self.position is not None:
            self.lagging = True
            self.catch_ups.put(self)

    def apply(self, changes: Changes, held_before: Iterable[int]) -> None:
        """Deliver the state that the database had at `changes.last_rev`, unless it has arrived meanwhile.

        `held_before` are the revs that were held before the database was read. One that the database did not have
        will never arrive: for example, the database was restored to an older state.
        """
        if self.position is None:
            return
        self.lagging = False
        if not changes.complete:
            self._deliver_change(changes.last_rev, MissingChanges(self.conversation_id))
        position = self.position
        for change in changes.changes:
            if change.rev > self.position:
                self._deliver_change(change.rev, StoredChange(self.conversation_id, change, position))
        self.position = max(self.position, changes.last_rev)
        self._drop_held_up_to(self.position)
        if changes.closed:
            self.deliver(ConversationClosed(self.conversation_id))
        self._deliver_held()
        for rev in held_before:
            self.held.pop(rev, None)
