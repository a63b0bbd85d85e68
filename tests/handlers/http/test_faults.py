"""Every route describes invalid fields in sentences, with the names that users know."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import AliasChoices, BaseModel, ValidationError

from db.schemas.faults import LABELS, SENTENCES, label, list_faults
from handlers.routes import make_table
from realtime.sockets.commands import COMMANDS
from tests.helpers.clients import Api
from tests.helpers.factories import People
from tests.helpers.files.forms import File, send_form

# One invalid value of each kind; most are invalid in most fields.
BAD_VALUES: list[Any] = [
    None, "", " ", "x", "\0", "a\nb", "\u200b", "[1", "no address", "javascript:x", "\ud800", "x" * 10_000, 0, -1, 7,
    1.5, 10**40, 2**53, True, False, [], [1], ["x"] * 101, [["x"]], {}, {"a": 1},
]  # fmt: skip
WHOLE_BODIES: list[Any] = [{}, [], "text", 7, None, [{}]]

# Words of messages that are for programmers.
RAW = re.compile(
    r"(?i:input should|should (be|have|match)|value error|field required|unable to|pattern|literal|dictionary)"
    r"|\b(None|True|False|str|int|bool|NoneType|dict)\b|[{}\[\]]"
)


def models() -> Iterator[tuple[type[BaseModel], bool]]:
    """Return every model of client data, and whether it arrives as text (queries and forms) or as JSON."""
    for route in make_table().routes:
        declared = route.endpoint
        if declared.query:
            yield declared.query, True
        if declared.body:
            yield declared.body, False
            if declared.files:
                yield declared.body, True
    for command in COMMANDS.values():
        yield command, False


def names(model: type[BaseModel]) -> list[str]:
    """Return all spellings of a model's field names in JSON."""
    found: list[str] = []
    for name, field in model.model_fields.items():
        alias = field.validation_alias or field.alias or name
        found += map(str, alias.choices) if isinstance(alias, AliasChoices) else [str(alias)]
    return found


def faults_of(model: type[BaseModel], value: Any, as_text: bool) -> list[dict[str, str]]:
    try:
        if as_text:
            model.model_validate(value)
        else:
            model.model_validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        return list_faults(error)
    return []


def as_typed(value: Any) -> Any:
    """Convert a value to what a form or query sends: texts, and lists of texts."""
    return [as_typed(each) for each in value] if isinstance(value, list) else str(value)


MODELS = dict.fromkeys(models())
SPELT = {name for model, _ in MODELS for name in names(model) if not name.islower()}  # as JSON spells them


def check(faults: list[dict[str, str]], value: Any) -> None:
    for each in faults:
        message, field = each["message"], each["field"]
        assert not RAW.search(message), (field, value, message)
        assert not SPELT.intersection(message.split()), (field, value, message)
        assert re.match(r"[A-Z]", message), (field, value, message)
        assert not field or message == SENTENCES.get(field) or message.startswith(f"{label(field)} "), (field, message)
    fields = [each["field"] for each in faults]
    assert len(fields) == len(set(fields))


@pytest.mark.parametrize(("model", "as_text"), MODELS, ids=lambda value: getattr(value, "__name__", str(value)))
def test_every_fault_of_every_model_is_a_sentence(model: type[BaseModel], as_text: bool):
    for name in names(model):
        for value in BAD_VALUES:
            typed = as_typed(value) if as_text else value
            check(faults_of(model, {name: typed}, as_text), (name, typed))
    for body in WHOLE_BODIES if not as_text else [{}]:
        check(faults_of(model, body, as_text), body)


def test_every_field_has_a_name_for_people():
    for name in {name for model, _ in MODELS for name in names(model)}:
        assert re.fullmatch(r"[A-Z][A-Za-z-]+( [A-Za-z]+)*", label(name)), (name, label(name))
    assert set(LABELS) <= {name for model, _ in MODELS for name in names(model)}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"termsAccepted": False}, "Please accept the terms of service to continue"),
        ({"name": ""}, "Name must not be empty"),
        ({"name": None}, "Name must be text"),
        ({"name": "\u200b"}, "Name must contain a visible character"),
        ({"name": "x" * 101}, "Name must have at most 100 characters"),
        ({"email": "hanako"}, "E-mail is not a valid e-mail address, such as name@example.com"),
        ({"phoneNo": 7}, "Phone number must be text"),
        ({"password": "short"}, "Password must be 8 to 72 bytes long; a Japanese character has 3 bytes"),
        ({"password": "x" * 300}, "Password must have at most 72 characters"),
        ({"password": "あ" * 25}, "Password must be 8 to 72 bytes long; a Japanese character has 3 bytes"),
    ],
)
async def test_an_invalid_sign_up_says_what_to_change(api: Api, change: dict[str, Any], sentence: str):
    body = {"name": "Hanako", "email": "h@example.com", "password": "a long enough one", "termsAccepted": True}
    answer = await api.post("/auth/signup/salon", {**body, **change})
    assert answer.body["details"] == [{"field": next(iter(change)), "message": sentence}]
    assert (answer.body["error"], answer.body["message"]) == (sentence, sentence)


async def test_several_faults_are_several_sentences(api: Api):
    answer = await api.post("/auth/verify-otp", {"email": 7})
    assert answer.body["error"] == "E-mail must be text"
    assert answer.body["message"] == "E-mail must be text. Code is required"


async def test_files_queries_and_frames_too(api: Api, people: People):
    hanako = await people.influencer()
    picture = "/profile/upload-picture"
    assert (await send_form(api, picture, hanako)).body["error"] == "Profile picture is required"
    assert (await send_form(api, picture, hanako, ("profilePic", "x"))).body[
        "error"
    ] == "Profile picture must be a file"
    assert (await send_form(api, picture, hanako, ("file", File(b"x")))).body["error"] == "File does not take a file"
    limit = await api.get("/notifications?limit=500", hanako)
    assert limit.body["error"] == "Limit must be at most 100"
    socket = await api.socket(hanako)
    frame = await socket.ask("mark_read", {"seq": -1})
    assert [each["message"] for each in frame["data"]["details"]] == [
        "Conversation is required",
        "Seq must be at least 0",
    ]
