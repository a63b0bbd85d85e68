"""The examples of the API descriptions are what the server can send: their fields do not contradict each other."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from handlers.http.openapi import openapi
from handlers.routes import make_table
from realtime.asyncapi import asyncapi
from realtime.schema_examples import example_of

Json = dict[str, Any]


def objects(value: Any) -> Iterator[Json]:
    """Return all objects inside a value, itself included."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from objects(part)


def file_fits_type(one: Json) -> bool:
    present = [one[name] is not None for name in ("fileUrl", "fileName", "fileSize")]
    return present == [one["messageType"] != "TEXT"] * 3


def has_the_profile_of_its_role(one: Json) -> bool:
    return {name for name in ("influencer", "salon") if one[name] is not None} == {one["role"].lower()}


def is_about_its_type(one: Json) -> bool:
    assert one["type"] == "NEW_MESSAGE"
    about = json.loads(one["metadata"])
    return (
        one["connectionRequestId"] is None
        and None not in (one["messageId"], one["conversationId"])
        and about["senderId"] != one["userId"]
        and one["title"] == f"New message from {about['senderName']}"
    )


def is_between_two_users(one: Json) -> bool:
    (first, second), other = one["participants"], one["otherUser"]
    return first["userId"] != second["userId"] and other in (first["user"], second["user"])


def rev_counts_changes(one: Json) -> bool:
    return (one["rev"] > one["seq"]) == (one["isEdited"] or one["isDeleted"])


# What an object with all of these fields obeys.
RULES: list[tuple[set[str], Callable[[Json], bool]]] = [
    ({"isDeleted", "deletedAt"}, lambda one: one["isDeleted"] == (one["deletedAt"] is not None)),
    ({"messageType", "fileUrl", "fileName", "fileSize"}, file_fits_type),
    ({"seq", "rev", "isEdited"}, rev_counts_changes),
    ({"influencer", "salon"}, lambda one: None in (one["influencer"], one["salon"])),
    ({"role", "influencer", "salon"}, has_the_profile_of_its_role),
    ({"sender", "senderId"}, lambda one: one["sender"]["id"] == one["senderId"]),
    ({"receiver", "receiverId"}, lambda one: one["receiver"]["id"] == one["receiverId"]),
    ({"sender", "receiver"}, lambda one: {one["sender"]["role"], one["receiver"]["role"]} == {"INFLUENCER", "SALON"}),
    ({"user", "userId"}, lambda one: one["user"]["id"] == one["userId"]),
    ({"businessName", "user"}, lambda one: one["user"]["role"] == "SALON"),
    ({"socialMediaAccounts", "user"}, lambda one: one["user"]["role"] == "INFLUENCER"),
    ({"participants", "otherUser"}, is_between_two_users),
    ({"type", "connectionRequestId", "metadata"}, is_about_its_type),
    ({"requestId", "status"}, lambda one: (one["status"] == "none") == (one["requestId"] is None)),
    ({"status", "error", "finishedAt"}, lambda one: (one["status"] == "FAILED") == (one["error"] is not None)),
    ({"nextCursor", "hasMore"}, lambda one: one["hasMore"] == (one["nextCursor"] is not None)),
    ({"totalPages", "page"}, lambda one: one["totalPages"] == -(-one["total"] // one["limit"])),
    ({"createdAt", "updatedAt"}, lambda one: one["createdAt"] <= one["updatedAt"]),
]


def contradictions(example: Any) -> list[Json]:
    return [one for one in objects(example) for fields, rule in RULES if fields <= one.keys() and not rule(one)]


def test_examples_of_requests_and_answers_do_not_contradict_themselves():
    schemas = openapi(make_table(), "https://api.example.com")["components"]["schemas"]
    examples = {name: example_of(schema, schemas) for name, schema in schemas.items()}
    assert {name: found for name, each in examples.items() if (found := contradictions(each))} == {}
    seen = [one.keys() for each in examples.values() for one in objects(each)]
    assert [fields for fields, _ in RULES if not any(fields <= keys for keys in seen)] == []  # each rule was tried


def test_examples_of_frames_do_not_contradict_themselves(settings):
    messages = asyncapi(settings)["channels"]["socket"]["messages"]
    frames = {name: message["examples"][0]["payload"] for name, message in messages.items()}
    assert {name: found for name, each in frames.items() if (found := contradictions(each))} == {}
    assert [frames[name]["data"]["isEdited"] for name in ("message_sent", "message_edited")] == [False, True]
    resync = frames["resync"]["data"]
    assert ("conversationId" in resync) == (resync["reason"] == "behind")  # the only reason with a conversation


@pytest.mark.parametrize(
    "example",
    [
        {"isDeleted": False, "deletedAt": "2026-02-01T18:05:12.480Z"},
        {"role": "SALON", "influencer": {}, "salon": None},
        {"messageType": "TEXT", "fileUrl": "https://example.com", "fileName": "a.png", "fileSize": 1},
    ],
)
def test_a_contradiction_is_found(example: Json):
    assert contradictions([example]) == [example]
