"""Typing: repeated while keys are pressed, ended after a pause. Typing of others ends without a repetition."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .conversation import Conversation

REPEAT_SECONDS = 3.0  # the server ends typing after six
PAUSE_SECONDS = 5.0  # after the last key
EXPIRY_SECONDS = 7.0  # without a repetition for this time, another user's typing has ended
TYPISTS = 100  # of one conversation; it has two participants today


class Typing:
    def __init__(self, chat: "Conversation") -> None:
        self.chat = chat
        self.sent_at = -REPEAT_SECONDS
        self.ending: asyncio.TimerHandle | None = None
        self.others: dict[str, asyncio.TimerHandle] = {}

    def key(self) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() - self.sent_at >= REPEAT_SECONDS and self.chat.encer.send_frame("typing_start", self.chat.id):
            self.sent_at = loop.time()
        if self.ending:
            self.ending.cancel()
        self.ending = loop.call_later(PAUSE_SECONDS, self.stop)

    def stop(self) -> None:
        if self.ending:
            self.sent()
            self.chat.encer.send_frame("typing_stop", self.chat.id)

    def sent(self) -> None:
        """A message ends its sender's typing on the server too."""
        if self.ending:
            self.ending.cancel()
        self.ending, self.sent_at = None, -REPEAT_SECONDS

    def receive(self, user_id: str, typing: bool) -> None:
        timer = self.others.pop(user_id, None)
        if timer:
            timer.cancel()
        if typing and len(self.others) < TYPISTS:
            later = asyncio.get_running_loop().call_later(EXPIRY_SECONDS, self.receive, user_id, False)
            self.others[user_id] = later
        if typing != (timer is not None):
            self.chat.emit("typing", {"conversationId": self.chat.id, "userId": user_id, "typing": typing})

    def offline(self) -> None:
        if self.ending:
            self.sent()
        for user_id in [*self.others]:
            self.receive(user_id, False)
