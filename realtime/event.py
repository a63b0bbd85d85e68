"""The base of all events (events.py): their fields, JSON schemas, and form between instances.

An event is encoded once for all sockets and instances. Instances send each other its frame
with a header: the fields that receiving instances need to order and filter it (realtime/redis/packet.py).
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from types import NoneType, UnionType
from typing import Annotated, Any, ClassVar, NamedTuple, Self, Union, get_args, get_origin, get_type_hints

import orjson
from pydantic import create_model
from pydantic.alias_generators import to_camel

from db.schemas.shape import Shape
from services.metrics import DELIVERED

ROUTING: Any = {"use": "routing"}  # in the header, not in the client's data
LOCAL: Any = {"use": "local"}  # in neither: used only by the publishing instance

THE_SOCKET = "the socket"
JOINED = "all sockets that joined the conversation"
THE_USER = "all sockets of the user"
CONNECTED = "all sockets of the users who are connected to this user"


def encode(name: str, data: Any, id: str | int | None = None) -> bytes:
    """Return a frame: `{"event", "data", "id"?}`."""
    return orjson.dumps({"event": name, "data": data} if id is None else {"event": name, "data": data, "id": id})


@dataclass(frozen=True)
class Event:
    """An event. Its fields are its data, in camelCase, unless a field is marked differently."""

    name: ClassVar[str]
    recipients: ClassVar[str] = THE_SOCKET
    schema: ClassVar[type[Shape] | None] = None
    example: ClassVar[Mapping[str, Any]] = {}  # fields of its example that differ from those of its schema
    published_at: ClassVar[float | None] = None  # when it was published, on the clock of the publishing server
    origin: ClassVar[str] = "own"  # "other" if it came through Redis from another server

    def channels(self) -> Iterable[str]:
        """Return the channels it is published on; none for an event of one socket."""
        return ()

    def data(self) -> Any:
        """Return what clients read. A field whose default is None is left out while it is None."""
        found = ((shown, getattr(self, name), optional) for name, shown, optional in layout_of(type(self)).shown)
        return {shown: value for shown, value, optional in found if not (optional and value is None)}

    @cached_property
    def frame(self) -> bytes:
        return encode(self.name, self.data())

    def mark_published(self) -> None:
        """Store the time, to measure how long delivery takes."""
        self.__dict__["published_at"] = time.time()

    def measure_delivery(self) -> None:
        """Observe the time from the publication until now, when a socket has taken the frame."""
        if self.published_at is not None:
            DELIVERED[self.origin].observe(max(0.0, time.time() - self.published_at))

    def header(self) -> dict[str, Any]:
        """Return the fields that another instance needs beside the frame."""
        return {name: getattr(self, name) for name in layout_of(type(self)).header}

    @classmethod
    def restore(cls, header: Mapping[str, Any], frame: bytes, published_at: float | None = None) -> Self:
        """Rebuild an event of another instance. Fields that only the frame contains stay None."""
        event = cls(**dict.fromkeys(layout_of(cls).in_frame), **header)
        event.__dict__.update(frame=frame, published_at=published_at, origin="other")
        return event

    @classmethod
    def shape(cls) -> type[Shape]:
        """Return the schema of its data: `schema` if the class names one, else the fields."""
        if cls.schema is not None:
            return cls.schema
        hints = layout_of(cls).hints
        shown: dict[str, Any] = {
            item.name: (schema_type(hints[item.name]), ...)
            if item.default is not None
            else (without_none(schema_type(hints[item.name])), None)
            for item in fields(cls)
            if not item.metadata
        }
        return create_model(cls.__name__, __base__=Shape, __doc__=cls.__doc__, **shown)


class Layout(NamedTuple):
    """What an event's class says about its fields, read once, because each event needs it."""

    hints: dict[str, Any]
    shown: list[tuple[str, str, bool]]  # to clients: name, name for clients, whether it is left out while it is None
    header: list[str]  # names of those that another instance needs beside the frame
    in_frame: list[str]  # names of those that only the frame contains


LAYOUTS: dict[type, Layout] = {}


def layout_of(cls: type[Event]) -> Layout:
    if cls not in LAYOUTS:
        hints, declared = get_type_hints(cls, include_extras=True), fields(cls)
        in_frame = [item.name for item in declared if is_fragment(hints[item.name])]
        LAYOUTS[cls] = Layout(
            hints,
            [(item.name, to_camel(item.name), item.default is None) for item in declared if not item.metadata],
            [item.name for item in declared if item.metadata.get("use") != "local" and item.name not in in_frame],
            in_frame,
        )
    return LAYOUTS[cls]


def is_fragment(hint: Any) -> bool:
    return get_origin(hint) is Annotated and get_args(hint)[0] is orjson.Fragment


def schema_type(hint: Any) -> Any:
    """Return the type that describes a field to clients: the annotation beside the Python type, if it is a type."""
    if get_origin(hint) is Annotated:
        python_type, *marks = get_args(hint)
        shown = marks.pop(0) if isinstance(marks[0], type) else schema_type(python_type)
        return Annotated[shown, *marks] if marks else shown
    if get_origin(hint) is UnionType or get_origin(hint) is Union:
        return Union[tuple(schema_type(part) for part in get_args(hint))]  # noqa: UP007  made from a tuple
    return hint


def without_none(hint: Any) -> Any:
    """Return the type of a field that is left out while it is None."""
    if get_origin(hint) is Annotated:
        python_type, *marks = get_args(hint)
        return Annotated[without_none(python_type), *marks]
    return Union[tuple(part for part in get_args(hint) if part is not NoneType)]  # noqa: UP007  made from a tuple
