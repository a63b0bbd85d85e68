"""A client's frame, taken apart: which event, with what, and the id to answer by (contract §4)."""

import json
from typing import Any, NamedTuple

import orjson

from db.error_codes import ErrorCode
from db.schemas.decode import NotJson, TooDeep, decode_json
from realtime.sockets.commands import CommandError

MAX_ID_CHARS = 128


class Frame(NamedTuple):
    event: str
    data: Any
    id: str | int | None


class BadFrame(CommandError):
    """Its answer carries the frame's id, if that much could be read."""

    def __init__(self, code: ErrorCode, error: str, frame_id: str | int | None = None) -> None:
        super().__init__(code, error)
        self.id = frame_id


def parse(frame: str | bytes) -> Frame:
    """Raises BadFrame."""
    if isinstance(frame, bytes):
        raise BadFrame("INVALID_FRAME", "Frames are text, not binary")
    try:
        parsed = decode_json(frame)
    except TooDeep as error:
        raise BadFrame("VALIDATION_ERROR", f"The frame {error}", id_of(error.shallow)) from None
    except NotJson:
        raise BadFrame("INVALID_JSON", "The frame is not valid JSON", salvage_id(frame)) from None
    if not isinstance(parsed, dict):
        raise BadFrame("INVALID_FRAME", "A frame is an object with an event and its data")
    event, data, frame_id = parsed.get("event"), parsed.get("data"), parsed.get("id")
    if frame_id is not None and not is_id(frame_id):
        raise BadFrame("INVALID_FRAME", f"An id is a text of at most {MAX_ID_CHARS} characters or a whole number")
    if not isinstance(event, str):
        raise BadFrame("INVALID_FRAME", "A frame is an object with an event and its data", frame_id)
    return Frame(event, {} if data is None else data, frame_id)


def is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= MAX_ID_CHARS


def salvage_id(frame: str) -> str | int | None:
    """Browsers send half an emoji, of a text that was cut there, as an escape that orjson refuses but json reads."""
    try:
        parsed = json.loads(frame)
        orjson.dumps(id_of(parsed))  # as the answer will
    except (ValueError, TypeError, RecursionError):
        return None
    return id_of(parsed)


def id_of(parsed: Any) -> str | int | None:
    frame_id = parsed.get("id") if isinstance(parsed, dict) else None
    return frame_id if is_id(frame_id) else None
