"""Publish the start and end of typing of users on this instance's sockets."""

import asyncio

from realtime import typing_state
from realtime.events import UserStoppedTyping, UserTyping
from realtime.hub import Hub
from realtime.publisher import Publisher

REPEAT_SECONDS = 1.0  # publish at most this often, not with each frame that a client repeats


class Typists:
    """Publishes that a user types on this instance, and the end of it."""

    def __init__(self, hub: Hub, publisher: Publisher) -> None:
        self.hub = hub
        self.publisher = publisher
        self.timers: dict[tuple[str, str], asyncio.TimerHandle] = {}  # (conversation, user) → the end of the typing

    def start(self, conversation_id: str, user_id: str) -> None:
        """Publish `user_typing`; it ends TYPING_SECONDS after the last repetition."""
        if not self.hub.is_typing(conversation_id, user_id, REPEAT_SECONDS):
            self.publisher.publish(UserTyping(conversation_id, user_id))
        key = (conversation_id, user_id)
        if timer := self.timers.pop(key, None):
            timer.cancel()
        self.timers[key] = asyncio.get_running_loop().call_later(typing_state.TYPING_SECONDS, self.stop, *key)

    def stop(self, conversation_id: str, user_id: str) -> None:
        """Publish `user_stopped_typing` if the user is typing here, unless a message has ended the typing already."""
        if timer := self.timers.pop((conversation_id, user_id), None):
            timer.cancel()
            if self.hub.is_typing(conversation_id, user_id):
                self.publisher.publish(UserStoppedTyping(conversation_id, user_id))
