"""The users who type in one conversation, so that its sockets receive each start once, and always an end."""

import asyncio
from collections.abc import Callable

TYPING_SECONDS = 6.0
# The typist's instance publishes the end. If it was killed, or the event was lost, each instance ends the typing.
EXPIRY_SECONDS = TYPING_SECONDS + 1.5


class TypingState:
    """The users who type in one conversation, as the sockets of this instance know them."""

    __slots__ = ("on_expired", "typists")

    def __init__(self, on_expired: Callable[[str], None]) -> None:
        """`on_expired(user_id)` is called when no end arrived in time."""
        self.on_expired = on_expired
        self.typists: dict[str, tuple[float, asyncio.TimerHandle]] = {}  # user → time of the last `user_typing`, timer

    def begin(self, user_id: str) -> bool:
        """Store that the user types and restart the expiry; return whether this is new to the sockets."""
        known = self.end(user_id)
        loop = asyncio.get_running_loop()
        self.typists[user_id] = loop.time(), loop.call_later(EXPIRY_SECONDS, self.on_expired, user_id)
        return not known

    def end(self, user_id: str) -> bool:
        """Remove the user; return whether the sockets had received that this user types."""
        _, timer = self.typists.pop(user_id, (None, None))
        if timer:
            timer.cancel()
        return timer is not None

    def began_within(self, user_id: str, seconds: float) -> bool:
        """Return whether the user types, and the last `user_typing` arrived within the last `seconds`."""
        known = self.typists.get(user_id)
        return known is not None and asyncio.get_running_loop().time() - known[0] < seconds

    def clear(self) -> None:
        for _, timer in self.typists.values():
            timer.cancel()
        self.typists.clear()
