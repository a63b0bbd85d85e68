"""The close codes of /ws (docs/api.md, Realtime). A client decides by the code whether and when to reconnect."""

from typing import NamedTuple

from services.metrics import SOCKETS_CLOSED

GOING_AWAY = 1001
TOO_LARGE = 1009  # used by Tornado
TRY_AGAIN = 1013
PROTOCOL_ERROR = 4400
INVALID_TOKEN = 4401
SESSION_ENDED = 4403
NOT_SIGNED_IN = 4408
FLOOD = 4429
TOO_SLOW = 4508


class CloseCode(NamedTuple):
    meaning: str
    advice: str


CLOSE_CODES: dict[int, CloseCode] = {
    GOING_AWAY: CloseCode("The instance stops.", "Reconnect after the `reconnectAfterMs` of `going_away`."),
    TOO_LARGE: CloseCode("The frame was too large.", "Send a smaller frame; reconnect and resume."),
    TRY_AGAIN: CloseCode("The database is unavailable.", "Reconnect later, with increasing pauses."),
    PROTOCOL_ERROR: CloseCode(
        "The client offered other subprotocols, or sent a frame that no WebSocket client may send.",
        "Correct the client: it offers `encer.v1`, masks its frames and uses valid close codes.",
    ),
    INVALID_TOKEN: CloseCode("The access token is invalid or has expired.", "Renew the token, then reconnect."),
    SESSION_ENDED: CloseCode(
        "The user has logged out or was suspended or deleted.", "Do not reconnect; ask the user to sign in."
    ),
    NOT_SIGNED_IN: CloseCode(
        "The socket was open for 5 seconds without a sign-in.", "Reconnect and send the token at once."
    ),
    FLOOD: CloseCode(
        "The client sent too many frames, or the user has too many sockets.",
        "Send fewer frames, or close another socket first; then reconnect.",
    ),
    TOO_SLOW: CloseCode("The client reads too slowly.", "Reconnect and resume."),
}

for code in CLOSE_CODES:  # the counters start at 0, to show the first increase
    SOCKETS_CLOSED.labels(code, "server")
