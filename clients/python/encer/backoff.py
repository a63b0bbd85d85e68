"""Decide by the close code whether and when to connect again (docs/realtime.md). Has no side effects."""

import random
from collections.abc import Callable

from .errors import EncerError, NotSignedIn, SessionEnded, TooMany, Unreachable, WrongServer

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
SLOW_PAUSE, LONGEST_SLOW_PAUSE = 5.0, 60.0
LONGEST_GOODBYE = 60.0  # of what `going_away` requests: other instances serve meanwhile, so a longer pause is a fault
FIRST_ATTEMPTS = 10  # before the first success: about two minutes, then the address is probably wrong
LATER_ATTEMPTS = 2_880  # afterwards: about a day without a network
SLOW_ATTEMPTS = 20  # closes because of floods or slow reading, in a row
REFUSED_TOKENS = 3  # in a row, each newer than the one before
STEADY_SECONDS = 60.0  # after a connection of this length, earlier failures no longer count


class Backoff:
    """Counts failures. `after` returns seconds to wait, or raises the error that ends the client."""

    def __init__(self, chance: Callable[[], float] = random.random) -> None:
        self.chance = chance  # jitter, so that clients do not reconnect at the same moment
        self.failures = self.slow = self.refusals = 0
        self.growth = 0  # how often the pause has doubled
        self.was_live = False
        self.is_due = False  # whether the pause must pass in full, also if the program wakes the client

    def live(self) -> None:
        """A connection is live, and all conversations are joined: the address is correct."""
        self.was_live = True

    def after(
        self,
        code: int | None,
        error: EncerError | None = None,
        reconnect_after: float | None = None,
        lived: float = 0.0,
    ) -> float:
        """`code` is None if the connection could not be opened; then `error` is the cause.

        `lived` is for how many seconds it was live. A server that closes each connection soon is not tried
        forever: only a steady connection resets the counts."""
        if lived >= STEADY_SECONDS:
            self.failures = self.slow = self.refusals = 0
        self.is_due = code in (4429, 4508) or bool(error and error.retry_after)
        if code == 4403:
            raise SessionEnded("Your session has ended. Please sign in again.")
        if code == 4400:
            raise WrongServer("The server refuses this client's protocol. Update the client.", code="PROTOCOL_ERROR")
        if code == 4401:
            return self._refused()
        self.refusals = 0
        if code in (4429, 4508):
            return self._slow()
        self.failures += 1
        if self.failures >= (LATER_ATTEMPTS if self.was_live else FIRST_ATTEMPTS):
            raise error or Unreachable("The server does not answer. Check the network, then connect again.")
        if code == 1001 and reconnect_after is not None:
            return min(max(reconnect_after, FIRST_PAUSE / 2), LONGEST_GOODBYE) * (1 + self.chance() / 2)
        pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**self.growth)
        if lived >= pause:  # it was of use, so that the next pause need not be longer
            self.growth, pause = 0, FIRST_PAUSE
        self.growth = min(self.growth + 1, 10)
        return max(pause * (0.5 + self.chance() / 2), min((error and error.retry_after) or 0.0, LONGEST_SLOW_PAUSE))

    def _refused(self) -> float:
        self.refusals += 1
        if self.refusals >= REFUSED_TOKENS:
            raise NotSignedIn(
                "The server has refused three tokens in a row. Please sign in again.", code="INVALID_TOKEN"
            )
        return 0.0 if self.refusals == 1 else FIRST_PAUSE

    def _slow(self) -> float:
        self.slow += 1
        if self.slow >= SLOW_ATTEMPTS:
            raise TooMany("The server closes this client repeatedly. Send less or read faster, then connect again.")
        return min(LONGEST_SLOW_PAUSE, SLOW_PAUSE * 2.0 ** (self.slow - 1)) * (0.5 + self.chance() / 2)
