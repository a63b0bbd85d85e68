"""Who is typing where: on this instance's sockets, and as far as this instance has been told."""

import asyncio
from collections.abc import Callable

from realtime.events import Event, UserStoppedTyping, UserTyping

TYPING_SECONDS = 6.0
REPEAT_SECONDS = 1.0  # the other instances are told again that often, not with each key that a client repeats
# The end is told by the typist's instance; if that was killed, or Redis has lost it, each tells its own sockets.
LOST_SECONDS = TYPING_SECONDS + REPEAT_SECONDS + 0.5


class Typists:
    def __init__(self, publish: Callable[[Event], None]) -> None:
        self.publish = publish
        self.timers: dict[tuple[str, str], tuple[float, asyncio.TimerHandle]] = {}  # told when, ends by

    def start(self, conversation_id: str, user_id: str) -> None:
        """Ends TYPING_SECONDS after a client has repeated it for the last time."""
        key = (conversation_id, user_id)
        loop = asyncio.get_running_loop()
        told_at, timer = self.timers.get(key, (None, None))
        if timer:
            timer.cancel()
        if told_at is None or loop.time() - told_at >= REPEAT_SECONDS:
            told_at = loop.time()
            self.publish(UserTyping(conversation_id, user_id))
        self.timers[key] = told_at, loop.call_later(TYPING_SECONDS, self.stop, *key)

    def stop(self, conversation_id: str, user_id: str) -> None:
        _, timer = self.timers.pop((conversation_id, user_id), (None, None))
        if timer:
            timer.cancel()
            self.publish(UserStoppedTyping(conversation_id, user_id))


class TypingHeard:
    """What the sockets that have joined one conversation have been told: a beginning once, and always an end."""

    def __init__(self, lost: Callable[[str], None]) -> None:
        """`lost(user_id)`: no end has been heard of."""
        self.lost = lost
        self.timers: dict[str, asyncio.TimerHandle] = {}

    def is_news(self, user_id: str, typing: bool) -> bool:
        timer = self.timers.pop(user_id, None)
        if timer:
            timer.cancel()
        if typing:
            self.timers[user_id] = asyncio.get_running_loop().call_later(LOST_SECONDS, self.lost, user_id)
        return not typing or timer is None

    def clear(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
        self.timers.clear()
