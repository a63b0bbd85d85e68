"""Expected failures of frames only. Others are shared with REST (db/errors.py)."""

from db.error_codes import ErrorCode
from db.errors import DomainError


class InvalidFrame(DomainError):
    """The frame is invalid. `frame_id` is its id, if it could be read; the answer repeats it."""

    code: ErrorCode = "INVALID_FRAME"
    error = "A frame must be an object with an event and its data"

    def __init__(
        self, error: str | None = None, code: ErrorCode | None = None, frame_id: str | int | None = None
    ) -> None:
        super().__init__(error, code=code)
        self.frame_id = frame_id


class UnknownEvent(DomainError):
    code: ErrorCode = "UNKNOWN_EVENT"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no event {name[:50]!r}; please see /asyncapi.json for the events")


class TooMany(DomainError):
    code: ErrorCode = "TOO_MANY"


class Closed(DomainError):
    code: ErrorCode = "CLOSED"
    error = "The socket is closed; please reconnect"
