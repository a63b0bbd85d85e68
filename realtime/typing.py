"""Who is typing where, as far as they type on this instance's sockets."""

import asyncio
from collections.abc import Callable

from realtime.events import Event, UserStoppedTyping, UserTyping

TYPING_SECONDS = 6.0


class Typists:
    def __init__(self, publish: Callable[[Event], None]) -> None:
        self.publish = publish
        self.timers: dict[tuple[str, str], asyncio.TimerHandle] = {}

    def start(self, conversation_id: str, user_id: str) -> None:
        """Told once, however often a client repeats it; ends TYPING_SECONDS after the last repetition."""
        key = (conversation_id, user_id)
        timer = self.timers.get(key)
        if timer:
            timer.cancel()
        else:
            self.publish(UserTyping(conversation_id, user_id))
        self.timers[key] = asyncio.get_running_loop().call_later(TYPING_SECONDS, self.stop, *key)

    def stop(self, conversation_id: str, user_id: str) -> None:
        timer = self.timers.pop((conversation_id, user_id), None)
        if timer:
            timer.cancel()
            self.publish(UserStoppedTyping(conversation_id, user_id))
