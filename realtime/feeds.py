"""One conversation as the sockets of this instance see it: every change once, in order, with nothing left out.

Changes carry the conversation's counter (`rev`). A feed knows up to which rev its sockets have been told; what comes
next in line is passed on, what is known is dropped, and what is ahead of a gap waits while the gap is filled from the
database. So it does not matter whether Redis repeats, reorders or loses.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol

import structlog

from db.pool import DatabaseUnavailable
from db.queries.conversations import Change, Changes, Marked
from realtime import channels
from realtime.events import Envelope, Event, MessageDeleted, MessageEdited, MessageSent, UserStoppedTyping, encode
from realtime.typing import TypingHeard
from services.metrics import CATCH_UPS

log = structlog.get_logger()

GAP_SECONDS = 0.05  # two instances that send at once cross over; that long a missing change may still be on its way
RETRY_SECONDS = 0.5
HELD_ENVELOPES = 1_000  # ahead of a gap; over it they are dropped, for the database has them all


class Listener(Protocol):
    user_id: str

    def send(self, frame: bytes) -> None: ...

    def left(self, conversation_id: str) -> None: ...


FetchChanges = Callable[[str, int], Awaitable[Changes | None]]


FrameFor = Callable[[int], bytes]  # the frame for who has been told everything up to this rev


def replay(conversation_id: str, change: Change, position: int, told: int) -> bytes:
    """The frame with the present state of a message, for who knows everything up to `position` or `told`."""
    after = max(position, told)
    event: MessageSent | MessageEdited | MessageDeleted
    if change.seq > after:
        event = MessageSent(conversation_id, change.rev, change.message, None)
    elif change.deleted:
        event = MessageDeleted(change.message_id, conversation_id, change.seq, change.rev)
    else:
        event = MessageEdited(conversation_id, change.rev, change.message)
    return next(event.envelopes()).frame


class Feed:
    def __init__(
        self,
        conversation_id: str,
        fetch: FetchChanges,
        on_close: Callable[["Feed"], None],
        tell: Callable[[Event], None],
    ) -> None:
        """`tell`: the way of an event to this instance's sockets alone."""
        self.on_close = on_close
        self.typing = TypingHeard(lambda user_id: tell(UserStoppedTyping(conversation_id, user_id)))
        self.closed = False
        self.conversation_id = conversation_id
        self.channel = channels.conversation(conversation_id)
        self.fetch = fetch
        self.position: int | None = None  # known with the first socket that has joined
        self.listeners: dict[Listener, int] = {}  # each with the rev up to which its join has told it
        self.joining: dict[Listener, list[tuple[int, FrameFor]]] = {}
        self.held: dict[int, FrameFor] = {}
        self.since = time.monotonic()
        self.marks: dict[str, int] = {}  # user -> the read mark that was told last; it only moves forward
        self.catching_up: asyncio.Task[None] | None = None

    @property
    def empty(self) -> bool:
        return not self.listeners and not self.joining

    # -- joining -----------------------------------------------------------------------------------------------------

    def begin_join(self, listener: Listener) -> None:
        """From here on nothing passes this socket by: what happens while the database is asked waits for it."""
        self.joining[listener] = []

    def finish_join(self, listener: Listener, last_rev: int) -> None:
        """The socket has been told the state at `last_rev`; it now hears what came since, and what comes."""
        waiting = self.joining.pop(listener)
        self.listeners[listener] = last_rev
        if self.position is None:
            self.position = last_rev
            self.held = {rev: frame_for for rev, frame_for in self.held.items() if rev > last_rev}
            self.pass_on_held()
        for rev, frame_for in waiting:
            if rev > last_rev:
                listener.send(frame_for(last_rev))
        self.listeners[listener] = max(last_rev, waiting[-1][0] if waiting else 0)

    def leave(self, listener: Listener) -> None:
        self.joining.pop(listener, None)
        self.listeners.pop(listener, None)
        if self.empty:
            self.typing.clear()
            if self.catching_up:
                self.catching_up.cancel()

    # -- delivering --------------------------------------------------------------------------------------------------

    def deliver(self, envelope: Envelope) -> None:
        if envelope.rev is None:
            self.tell_everyone(envelope)
        elif self.position is None or envelope.rev > self.position:
            self.held[envelope.rev] = lambda told: envelope.frame
            self.pass_on_held()

    def lacks(self, mark: Marked, began: float) -> bool:
        """Whether nobody has told of this read mark; marks that are older than the feed were for its sockets to ask."""
        return began - mark.age >= self.since and mark.seq > self.marks.get(mark.user_id, 0)

    def tell_everyone(self, envelope: Envelope) -> None:
        if envelope.mark:
            user_id, seq = envelope.mark
            if seq <= self.marks.get(user_id, 0):
                return
            self.marks[user_id] = seq
        typist = envelope.except_user
        if envelope.typing is not None and typist and not self.typing.is_news(typist, envelope.typing):
            return
        for listener in list(self.listeners):
            if listener.user_id != envelope.except_user:
                listener.send(envelope.frame)
        if envelope.closes:
            self.close()

    def close(self) -> None:
        """The two are no longer connected: nothing more will happen here. Who is joining finds `closed` set."""
        self.closed = True
        for listener in self.listeners:
            listener.left(self.conversation_id)
        self.listeners.clear()
        self.typing.clear()
        self.on_close(self)

    def pass_on_held(self) -> None:
        while self.position is not None and self.position + 1 in self.held:
            self.position += 1
            self.pass_on(self.position, self.held.pop(self.position))
        if len(self.held) > HELD_ENVELOPES:
            self.held.clear()
        if self.position is not None and self.held:
            self.catch_up(GAP_SECONDS)

    def pass_on(self, rev: int, frame_for: FrameFor) -> None:
        for waiting in self.joining.values():
            waiting.append((rev, frame_for))
        for listener, told in list(self.listeners.items()):
            if rev > told:
                listener.send(frame_for(told))

    # -- catching up -------------------------------------------------------------------------------------------------

    def catch_up(self, after_seconds: float = 0) -> None:
        """Fetch from the database what this feed has not been told; one at a time."""
        if self.position is not None and not (self.catching_up and not self.catching_up.done()):
            self.catching_up = asyncio.create_task(self._catch_up(after_seconds))

    async def _catch_up(self, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        asked = after_seconds == 0  # by who knows that something is missing
        while self.position is not None and (asked or self.held):
            heard = list(self.held)
            try:
                changes = await self.fetch(self.conversation_id, self.position)
            except DatabaseUnavailable:
                await asyncio.sleep(RETRY_SECONDS)
                continue
            if changes is None:
                return
            CATCH_UPS.inc()
            self.apply(changes)
            asked = False
            for rev in heard:  # the database, asked later, knows nothing of them: it was set back, say
                self.held.pop(rev, None)

    def apply(self, changes: Changes) -> None:
        """Tell the state that the database had at `changes.last_rev`, as far as it has not arrived meanwhile."""
        assert self.position is not None
        if not changes.complete:
            frame = encode("resync", {"conversationId": self.conversation_id, "reason": "behind"})
            self.pass_on(changes.last_rev, lambda told: frame)
        position = self.position
        for change in changes.changes:
            if change.rev > self.position:
                self.pass_on(change.rev, partial(replay, self.conversation_id, change, position))
        self.position = max(self.position, changes.last_rev)
        self.held = {rev: frame_for for rev, frame_for in self.held.items() if rev > self.position}
        if changes.closed:
            data = {"conversationId": self.conversation_id, "reason": "disconnected"}
            self.tell_everyone(Envelope(self.channel, encode("conversation_closed", data), closes=True))
        self.pass_on_held()
