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


# The tables of docs/realtime.md and docs/api.md have the same sentences.
CLOSE_CODES: dict[int, CloseCode] = {
    GOING_AWAY: CloseCode(
        "The instance stops.", "Reconnect after the `reconnectAfterMs` of the `going_away` that came before."
    ),
    TOO_LARGE: CloseCode("The frame was too large.", "Send a smaller frame; reconnect and resume."),
    TRY_AGAIN: CloseCode("The database is unavailable.", "Reconnect later, with increasing pauses."),
    PROTOCOL_ERROR: CloseCode(
        "The client offered subprotocols without `encer.v1`, or sent data that the WebSocket protocol forbids, such as "
        "an unmasked frame or a reserved close code.",
        "Do not reconnect; correct the client.",
    ),
    INVALID_TOKEN: CloseCode("The access token is invalid or has expired.", "Renew the token, then reconnect."),
    SESSION_ENDED: CloseCode(
        "The user has logged out or was suspended or deleted.", "Do not reconnect; ask the user to sign in."
    ),
    NOT_SIGNED_IN: CloseCode(
        "The socket was open for 5 seconds without a sign-in.", "Reconnect and send the token at once."
    ),
    FLOOD: CloseCode(
        "The client sent too many frames (pings, pongs and fragments count too), or the user has too many sockets.",
        "Send fewer frames, or close another socket first; then reconnect.",
    ),
    TOO_SLOW: CloseCode("The client reads too slowly.", "Reconnect and resume."),
}

KNOWN = {1000, 1001, 1006, *CLOSE_CODES}


def close_code_label(code: int | None) -> str:
    """Return a label with few values: clients can send any code from 1000 to 4999."""
    return "none" if code is None else str(code) if code in KNOWN else "other"


for code in CLOSE_CODES:  # the counters start at 0, to show the first increase
    SOCKETS_CLOSED.labels(code, "server")
