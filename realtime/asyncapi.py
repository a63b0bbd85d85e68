"""The description of the socket as AsyncAPI 3.1, made from the classes of events and commands.

Each event and command contributes its description, its data and an example; close codes, `reason` values and limits
come from the constants that the server uses.
"""

import inspect
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel

from db.queries.conversations import CATCH_UP_MESSAGES
from db.schemas.json_schema import ClientSchema
from realtime.events import CLOSED_REASONS, EVENTS, RESYNC_REASONS, Ack, NoData, Reply
from realtime.schema_examples import example_of
from realtime.sockets.client import HEARTBEAT_SECONDS
from realtime.sockets.close_codes import CLOSE_CODES
from realtime.sockets.commands import COMMANDS, JOINED_CONVERSATIONS, Command
from realtime.sockets.frames import MAX_ID_CHARS
from realtime.sockets.send_queue import MAX_BYTES
from realtime.sockets.socket import SIGN_IN_SECONDS, TORNADO_SETTINGS
from realtime.typing_state import TYPING_SECONDS
from settings import VERSION, Limit, Settings

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
EXAMPLE_ID = 7
PERIODS: dict[float, str] = {1: "second", 60: "minute", 3600: "hour", 86400: "day"}

ABOUT = """
A native WebSocket for chat, notifications and presence. Every frame is a text in JSON:
`{"event": "…", "data": {…}, "id"?: …}`.

**Sign in** in one of three ways: the header `Authorization: Bearer <access token>`; the subprotocols `encer.v1` and
`bearer.<access token>`, which browsers can send; or `authenticate` as the first frame, within 5 seconds. The server
reads no token from the address. `ready` follows. Send `authenticate` with a newer token before the old one expires.

**Answers.** A command with an `id` gets exactly one answer with the same `id`: its `ack` (or `pong`), or `error`.

**Conversations.** `join_conversation` with `after`, the highest `rev` that the client has, replays what it missed and
then delivers live, without a gap or a repetition. A socket that joined nothing still receives notifications and
presence.
"""

SIGN_IN = (
    "An access token (JWT) of `POST /api/v1/auth/login`. Send it as `Authorization: Bearer <token>`, as the "
    "subprotocols `encer.v1, bearer.<token>`, or in the first frame, `authenticate`."
)


class FrameSchemas:
    """The models of the description, each once, under `components`."""

    def __init__(self) -> None:
        self.defs: Json = {
            "FrameId": {
                "title": "FrameId",
                "description": "Chosen by the client; the answer repeats it.",
                "type": ["string", "integer"],
                "maxLength": MAX_ID_CHARS,
                "examples": [EXAMPLE_ID],
            }
        }

    def add(self, model: type[BaseModel]) -> Json:
        """Return a reference to the model."""
        schema = model.model_json_schema(ref_template=REF, schema_generator=ClientSchema)
        for name, each in {**schema.pop("$defs", {}), model.__name__: {"title": model.__name__, **schema}}.items():
            name_types(name, each.get("properties", {}))
            self.defs[name] = without_null_defaults(each)
        return {"$ref": REF.format(model=model.__name__)}

    def message(
        self,
        name: str,
        title: str,
        data: Json,
        description: str,
        *,
        required: tuple[str, ...],
        has_id: bool = True,
        example: Mapping[str, Any] = MappingProxyType({}),
    ) -> Json:
        """Return the message of a frame. Its payload is described under `components` as `{title}Frame`."""
        summary = description.split("\n")[0]
        payload: Json = {
            "title": f"{title}Frame",
            "type": "object",
            "description": summary,
            "required": ["event", *required],
            "properties": {
                "event": {
                    "title": f"{title}Event",
                    "type": "string",
                    "const": name,
                    "description": "The name of the frame",
                },
                "data": {**data, "description": "The data of this frame"},
            },
        }
        frame: Json = {"event": name, "data": {**example_of(data, self.defs), **example}}
        if has_id:
            payload["properties"]["id"] = {
                "$ref": REF.format(model="FrameId"),
                "description": "The same in a frame and in its answer",
            }
            frame["id"] = EXAMPLE_ID
        self.defs[payload["title"]] = payload
        return {
            "name": name,
            "title": title,
            "summary": summary,
            "description": description,
            "contentType": "application/json",
            "payload": {"$ref": REF.format(model=payload["title"])},
            "examples": [{"name": title, "payload": frame}],
        }

    def message_to_client(self, *about: Any, recipients: str, **more: Any) -> Json:
        message = self.message(*about, **more)
        self.defs[message["payload"]["$ref"].rpartition("/")[2]]["additionalProperties"] = False
        message["description"] += f"\n\nReceived by: {recipients}."
        return {**message, "x-recipients": recipients}


def name_types(model: str, properties: Json) -> None:
    """Give each enum a unique type name: generators merge two enums of one name."""
    for name, schema in properties.items():
        if "enum" in schema:
            is_long = name != name.lower()
            schema.setdefault("title", f"{'' if is_long else model}{name[0].upper()}{name[1:]}")


def without_null_defaults(schema: Any) -> Any:
    """Remove defaults that are null, empty, 0 or false: a client omits the field instead of sending them."""
    if isinstance(schema, dict):
        return {
            key: without_null_defaults(value)
            for key, value in schema.items()
            if not (key == "default" and value in (None, [], 0))
        }
    return [without_null_defaults(item) for item in schema] if isinstance(schema, list) else schema


def asyncapi(settings: Settings) -> Json:
    schemas = FrameSchemas()
    events = {name: event_message(name, schemas) for name in EVENTS if name != Ack.name}
    commands = {f"client.{name}": command_message(command, schemas) for name, command in COMMANDS.items()}
    acks = {
        f"ack.{name}": ack_message(command, schemas) for name, command in COMMANDS.items() if command.ack is not None
    }
    reasons = {"resync": RESYNC_REASONS, "conversation_closed": CLOSED_REASONS}
    return {
        "asyncapi": "3.1.0",
        "info": {
            "title": "Beautiful Encer realtime",
            "version": VERSION,
            "description": "\n\n".join([ABOUT.strip(), *tables(settings)]),
            "contact": {"name": "Beautiful Encer", "url": settings.public_url},
            "license": {"name": "MIT", "url": "https://opensource.org/license/mit"},
            "tags": [{"name": "chat"}, {"name": "notifications"}, {"name": "presence"}],
        },
        "defaultContentType": "application/json",
        "servers": {"main": server(settings.public_url)},
        "channels": {
            "socket": {
                "title": "The socket",
                "description": "One WebSocket carries everything.",
                "address": "/ws",
                "servers": [{"$ref": "#/servers/main"}],
                "messages": {**events, **acks, **commands},
                "x-close-codes": [{"code": code, **about._asdict()} for code, about in CLOSE_CODES.items()],
                "x-reasons": reasons,
                "x-limits": [{"what": what, "limit": limit} for what, limit in limits(settings)],
            }
        },
        "operations": {**receive_operations(), **send_operations(events)},
        "components": {
            "schemas": schemas.defs,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": SIGN_IN}
            },
        },
    }


def server(public_url: str) -> Json:
    address = urlsplit(public_url)
    return {
        "host": address.netloc,
        "pathname": address.path.rstrip("/"),
        "protocol": "wss" if address.scheme == "https" else "ws",
        "title": "This server",
        "description": "Every instance behind this address serves every client.",
        "security": [{"$ref": "#/components/securitySchemes/bearer"}],
    }


def event_message(name: str, schemas: FrameSchemas) -> Json:
    event = EVENTS[name]
    return schemas.message_to_client(
        name,
        event.__name__,
        schemas.add(event.shape()),
        inspect.getdoc(event) or "",
        required=("data",),
        has_id=issubclass(event, Reply),
        example=event.example,
        recipients=event.recipients,
    )


def command_message(command: type[Command], schemas: FrameSchemas) -> Json:
    needs_data = any(field.is_required() for field in command.model_fields.values())
    required = ("data",) if needs_data else ()
    description = inspect.getdoc(command) or ""
    return schemas.message(command.name, command.__name__, schemas.add(command), description, required=required)


def ack_message(command: type[Command], schemas: FrameSchemas) -> Json:
    data = command.ack or NoData
    return schemas.message_to_client(
        Ack.name,
        f"{command.__name__}Ack",
        schemas.add(data),
        f"The answer to `{command.name}`. {inspect.getdoc(data)}",
        required=("data", "id"),
        recipients=Ack.recipients,
    )


CHANNEL = {"$ref": "#/channels/socket"}


def message_refs(names: Iterable[str]) -> list[Json]:
    return [{"$ref": f"#/channels/socket/messages/{name}"} for name in names]


def receive_operations() -> Json:
    """Return the operations that the server receives: one per command, with the messages that answer it."""
    return {
        name: {
            "action": "receive",
            "title": command.__name__,
            "summary": (inspect.getdoc(command) or "").split("\n")[0],
            "channel": CHANNEL,
            "messages": message_refs([f"client.{name}"]),
            "reply": {
                "channel": CHANNEL,
                "messages": message_refs([f"ack.{name}" if command.ack else "pong", "error"]),
            },
        }
        for name, command in COMMANDS.items()
    }


def send_operations(events: Json) -> Json:
    return {
        f"on_{name}": {
            "action": "send",
            "title": f"On{message['title']}",
            "summary": message["summary"],
            "channel": CHANNEL,
            "messages": message_refs([name]),
        }
        for name, message in events.items()
    }


# -- lists of the introduction --------------------------------------------------------------------------------------


def tables(settings: Settings) -> list[str]:
    codes = [(str(code), about.meaning, about.advice) for code, about in CLOSE_CODES.items()]
    reasons = [("`resync`", f"`{reason}`", meaning) for reason, meaning in RESYNC_REASONS.items()]
    reasons += [("`conversation_closed`", f"`{reason}`", meaning) for reason, meaning in CLOSED_REASONS.items()]
    return [
        "## Close codes\n\n" + table(("code", "meaning", "what to do"), codes),
        "## Reasons\n\n" + table(("event", "reason", "meaning"), reasons),
        "## Limits\n\n" + table(("what", "limit"), limits(settings)),
    ]


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def limits(settings: Settings) -> list[tuple[str, str]]:
    kib = TORNADO_SETTINGS["websocket_max_message_size"] // 1024
    return [
        ("Size of a frame", f"{kib} KiB, else the socket closes with 1009"),
        (
            "Frames of a socket",
            f"{in_words(settings.limit_socket_frames)}; typing frames above it are dropped, other "
            "frames close the socket with 4429",
        ),
        ("Messages of a user", in_words(settings.limit_message)),
        ("Sockets of a user", f"{settings.sockets_per_user}, else the new socket closes with 4429"),
        ("Joined conversations of a socket", f"{JOINED_CONVERSATIONS}, else `error` `TOO_MANY`"),
        ("Sign-in", f"within {SIGN_IN_SECONDS:.0f} seconds, else the socket closes with 4408"),
        ("Replay of a join", f"{CATCH_UP_MESSAGES} messages, else `complete` is false"),
        ("Length of an `id`", f"{MAX_ID_CHARS} characters"),
        ("Typing", f"ends {TYPING_SECONDS:.0f} seconds after the last `typing_start`"),
        ("Heartbeat", f"the server pings every {HEARTBEAT_SECONDS:.0f} seconds and closes a silent socket within 60"),
        ("Frames that wait for a slow client", f"{MAX_BYTES // 1024} KiB, else the socket closes with 4508"),
    ]


def in_words(limit: Limit | None) -> str:
    if limit is None:
        return "no limit"
    period = PERIODS.get(limit.period, f"{limit.period:g} seconds")
    return f"{limit.hits} per {period}" + (f" on average, at most {limit.burst} at once" if limit.burst else "")
