"""/asyncapi.json describes every frame, close code and reason, is valid, and becomes good types."""

import ast
import json
import re
from pathlib import Path

import jsonschema
import pytest

from realtime.asyncapi import asyncapi, tables
from realtime.events import CLOSED_REASONS, EVENTS, RESYNC_REASONS, Event
from realtime.sockets import close_codes
from realtime.sockets.commands import COMMANDS
from tests.helpers.programs import long_test
from tools.node.packages import install_packages, run_node

ROOT = Path(__file__).parents[2]


@pytest.fixture
def described(settings):
    return json.loads(json.dumps(asyncapi(settings)))


@pytest.fixture
def messages(described):
    return described["channels"]["socket"]["messages"]


def payload(described, message):
    return described["components"]["schemas"][message["payload"]["$ref"].rpartition("/")[2]]


def test_every_command_event_and_answer_is_described(described, messages):
    acks = {f"ack.{name}" for name, command in COMMANDS.items() if command.ack}
    assert messages.keys() == EVENTS.keys() - {"ack"} | {f"client.{name}" for name in COMMANDS} | acks
    assert COMMANDS["ping"].ack is None
    assert "pydantic" not in json.dumps(messages)  # a shape without a docstring would inherit this one
    needed = {name: payload(described, message)["required"] for name, message in messages.items()}
    assert (needed["ready"], needed["client.ping"]) == (["event", "data"], ["event"])
    assert needed["client.join_conversation"] == ["event", "data"]
    assert needed["ack.mark_read"] == ["event", "data", "id"]
    for name, message in messages.items():
        assert message["description"] and message["title"], name
        assert ("x-recipients" in message) == (not name.startswith("client.")), name


def names(event: type[Event]) -> set[str]:
    own = {event.name} if hasattr(event, "name") else set()
    return own.union(*map(names, event.__subclasses__()))


def test_every_event_has_a_shape():
    assert "notification_updated" in names(Event)
    assert names(Event) <= EVENTS.keys()


def test_a_bare_id_joins(described, messages):
    data = described["components"]["schemas"]["JoinConversation"]
    by_object, bare = data["anyOf"]
    assert (by_object["required"], bare["type"]) == (["conversationId"], "string")
    assert bare["pattern"] == by_object["properties"]["conversationId"]["pattern"]


def test_every_example_is_a_frame_that_its_schema_accepts(described, messages):
    for name, message in messages.items():
        [example] = message["examples"]
        schema = {"components": described["components"], **message["payload"]}
        jsonschema.Draft202012Validator(schema).validate(example["payload"])
        event = example["payload"]["event"]
        assert event == name.removeprefix("client.") or (event == "ack" and name.startswith("ack."))


def test_every_type_and_every_field_is_described(described):
    schemas = described["components"]["schemas"]
    assert len(schemas) > 60
    assert [name for name, schema in schemas.items() if not schema.get("description")] == []
    fields = {
        f"{name}.{field}": about
        for name, schema in schemas.items()
        for field, about in schema.get("anyOf", [schema])[0].get("properties", {}).items()
    }
    assert len(fields) > 180
    assert [field for field, about in fields.items() if not about.get("description")] == []


def test_close_codes_and_reasons_are_complete_and_have_one_wording(described, settings):
    channel = described["channels"]["socket"]
    constants = {value for name, value in vars(close_codes).items() if name.isupper() and isinstance(value, int)}
    assert {about["code"] for about in channel["x-close-codes"]} == constants
    assert channel["x-reasons"]["resync"].keys() == RESYNC_REASONS.keys()
    realtime, api = ((ROOT / "docs" / name).read_text().splitlines() for name in ("realtime.md", "api.md"))
    codes, reasons = (table.split("\n")[4:] for table in tables(settings)[:2])  # without heading and head
    assert (len(codes), len(reasons)) == (len(constants), len(RESYNC_REASONS) + len(CLOSED_REASONS))
    assert [row for row in [*codes, *reasons] if row not in realtime] == []
    assert [row for row in codes if row not in api] == []
    sent = set()
    for path in [*(ROOT / "realtime").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("resync", "Resync")):
                sent |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    assert sent == RESYNC_REASONS.keys()  # every documented reason is sent, and no other one


def test_the_server_is_the_public_address_with_its_path(settings):
    described = asyncapi(settings.model_copy(update={"public_url": "https://example.com/encer"}))
    server = described["servers"]["main"]
    assert (server["host"], server["pathname"], server["protocol"]) == ("example.com", "/encer", "wss")


@long_test()
def test_the_official_parser_accepts_it_and_its_models_compile(described, tmp_path):
    install_packages()
    document = tmp_path / "asyncapi.json"
    document.write_text(json.dumps(described))
    read = run_node("asyncapi.mjs", document)
    assert read.returncode == 0, read.stderr
    found = json.loads(read.stdout)
    assert (found["valid"], found["said"]) == (True, [])
    models = {model["name"]: model["code"] for model in found["models"]}
    assert models.keys() >= {"MessageSentFrame", "JoinConversationAck", "ResyncReason", "NotificationType"}
    assert not [name for name in models if re.search(r"anonymous|schema_?\d|root", name, re.IGNORECASE)]
    assert len(models) == len(found["models"])
    assert re.search(r"\bunreadCount['\"]?: number;", models["NotificationRead"])
    frames = {name: code for name, code in models.items() if name.endswith("Frame")}
    assert len(frames) > 30
    assert [name for name, code in frames.items() if not re.search(r"^ *['\"]?event['\"]?: ", code, re.M)] == []
    assert "reserved" not in "".join(models.values())
    source = tmp_path / "models.ts"
    source.write_text("\n".join(models.values()))
    options = ("--noEmit", "--strict", "--skipLibCheck", "--lib", "es2022", "--typeRoots", tmp_path / "none")
    compiled = run_node("node_modules/typescript/bin/tsc", *options, source)
    assert compiled.returncode == 0, compiled.stdout
