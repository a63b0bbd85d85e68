"""JSON of clients: the bound on nesting in frames, bodies and fields of forms; an error frame has the frame's id."""

import json
from typing import Any

import pytest
import structlog

from db.queries.profiles import read_list
from db.schemas.decode import MAX_DEPTH, NotJson, TooDeep, decode_json


def nested(depth: int, inside: str = "", lists: bool = True) -> str:
    """Return JSON with `depth` nested lists or objects."""
    return "[" * depth + inside + "]" * depth if lists else '{"a":' * depth + (inside or "1") + "}" * depth


@pytest.mark.parametrize("lists", [True, False])
@pytest.mark.parametrize("inside", ["", '"]"', '"\\"[{"', '"\\\\"', "[],[],{}", "null"])
def test_the_bound_is_exact(inside: str, lists: bool):
    inside = inside if lists or "," not in inside else "[[],{}]"
    deeper = max(depth_of(json.loads(f"[{inside}]")) - 1, 0)
    fits = nested(MAX_DEPTH - deeper, inside, lists)
    assert decode_json(fits) == decode_json(fits.encode()) == json.loads(fits)
    for depth in (1, 2, 200, 300, 1_000, 1_100, 20_000):
        with pytest.raises(TooDeep) as refused:
            decode_json(
                f'{{"before": [1], "deep": {nested(MAX_DEPTH - 1 + depth, inside, lists)}, "after": {{"b": "]"}}}}'
            )
        shallow = refused.value.shallow
        assert (shallow["before"], shallow["after"]) == ([1], {"b": "]"})
        assert depth_of(shallow) <= MAX_DEPTH


def depth_of(value: Any) -> int:
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if children is None else 1 + max(map(depth_of, children), default=0)


@pytest.mark.parametrize("text", ["[" * 70, "]" * 70, nested(70) + "]", "{" * 5_000, '["' + "[" * 100, nested(70)[:-1]])
def test_invalid_json_is_not_reported_as_too_deep(text: str):
    with pytest.raises(NotJson):
        decode_json(text)


def test_wide_is_not_deep():
    wide = [[], {"a": []}] * 1_000
    assert decode_json(json.dumps(wide)) == wide


DEPTHS = [64, 65, 250, 300, 1_020, 1_030, 15_000]


@pytest.mark.parametrize("depth", DEPTHS)
@pytest.mark.parametrize("id_first", [True, False])
async def test_deep_frames_are_answered_with_their_id(api, people, depth: int, id_first: bool):
    socket = await api.socket(await people.influencer())
    for event in ("ping", "typing_start", "send_message", "nonsense"):
        parts = [f'"event": "{event}"', f'"data": {nested(depth)}']
        parts.insert(0 if id_first else 2, '"id": "asked"')
        with structlog.testing.capture_logs() as logs:
            await socket.ws.send(f"{{{', '.join(parts)}}}")
            answer = await socket.receive()
        assert (answer["event"], answer["data"]["code"], answer["id"]) == ("error", "VALIDATION_ERROR", "asked")
        assert "64 deep" in answer["data"]["message"]
        assert not [log for log in logs if log["log_level"] == "error"]
    assert (await socket.ask("ping"))["event"] == "pong"


@pytest.mark.parametrize("depth", DEPTHS)
async def test_deep_bodies_are_refused(api, people, depth: int):
    hanako, sakura = await people.influencer(), await people.salon()
    messages = f"/chat/conversations/{await people.connect(hanako, sakura)}/messages"
    for path, fields, user in (
        ("/auth/login", '"email": "a@example.com", "password": "x"', None),
        (messages, '"content": "x"', hanako),
    ):
        answer = await api.call("POST", path, raw=f'{{{fields}, "more": {nested(depth)}}}'.encode(), user=user)
        assert (answer.status, answer.code, answer.fields) == (400, "VALIDATION_ERROR", {""})
        assert "64 deep" in answer.body["message"]


async def test_unknown_fields_of_a_body_may_be_nested(api, people):
    hanako, sakura = await people.influencer(), await people.salon()
    messages = f"/chat/conversations/{await people.connect(hanako, sakura)}/messages"
    body = f'{{"content": "x", "more": {nested(MAX_DEPTH - 1)}}}'.encode()
    assert (await api.call("POST", messages, raw=body, user=hanako)).status == 201


@pytest.mark.parametrize("depth", [65, 1_100])
def test_lists_in_forms_have_the_same_bound(depth: int):
    with pytest.raises(ValueError, match="64 deep"):
        read_list(nested(depth))
