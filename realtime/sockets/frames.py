"""Parse a client's frame: its event, its data, and the id that the answer repeats (docs/api.md, Realtime)."""

import json
from typing import Any, NamedTuple

import orjson

from db.schemas.decode import NotJson, TooDeep, decode_json
from realtime.sockets.errors import InvalidFrame

MAX_ID_CHARS = 128


class Frame(NamedTuple):
    event: str
    data: Any
    id: str | int | None


def parse(frame: str | bytes) -> Frame:
    """Return event, data and id of a frame. Raises InvalidFrame."""
    if isinstance(frame, bytes):
        raise InvalidFrame("Frames must be text, not binary")
    try:
        parsed = decode_json(frame)
    except TooDeep as error:
        raise InvalidFrame(f"The frame {error}", "VALIDATION_ERROR", id_of(error.shallow)) from None
    except NotJson:
        raise InvalidFrame("The frame is not valid JSON", "INVALID_JSON", salvage_id(frame)) from None
    if not isinstance(parsed, dict):
        raise InvalidFrame
    event, data, frame_id = parsed.get("event"), parsed.get("data"), parsed.get("id")
    if frame_id is not None and not is_id(frame_id):
        raise InvalidFrame(f"An id must be a text of at most {MAX_ID_CHARS} characters or a whole number")
    if not isinstance(event, str):
        raise InvalidFrame(frame_id=frame_id)
    return Frame(event, {} if data is None else data, frame_id)


def is_id(value: Any) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool) and len(str(value)) <= MAX_ID_CHARS


def salvage_id(frame: str) -> str | int | None:
    """Return the id of a frame that orjson refuses but json accepts, such as one with half of a surrogate pair."""
    try:
        parsed = json.loads(frame)
        orjson.dumps(id_of(parsed))  # as in the answer
    except (ValueError, TypeError, RecursionError):
        return None
    return id_of(parsed)


def id_of(parsed: Any) -> str | int | None:
    frame_id = parsed.get("id") if isinstance(parsed, dict) else None
    return frame_id if is_id(frame_id) else None
