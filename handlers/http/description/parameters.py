"""Parameters in /openapi.json: those of paths, described here, and those of queries, from their models."""

from itertools import pairwise
from typing import Any

from pydantic.alias_generators import to_camel

from db.schemas.json_schema import without_null
from handlers.http.router import PARAMETER

Json = dict[str, Any]

# Description and example of each path parameter, by the segment before it and its name.
EXAMPLE_ID = "7d2c1f64-9a0b-4e3f-8c55-1b6a0d9e4f21"
PATH_PARAMETERS: dict[str, tuple[str, str]] = {
    "profile/user_id": ("Id of the user", EXAMPLE_ID),
    "status/user_id": ("Id of the other user", EXAMPLE_ID),
    "conversations/other_user_id": ("Id of the user to talk with, not of a conversation", EXAMPLE_ID),
    "conversations/conversation_id": ("Id of the conversation", EXAMPLE_ID),
    "messages/id": ("Id of the message", EXAMPLE_ID),
    "notifications/id": ("Id of the notification", EXAMPLE_ID),
    "requests/id": ("Id of the connection request", EXAMPLE_ID),
    "connections/id": ("Id of the connection, which is that of its request", EXAMPLE_ID),
    "users/id": ("Id of the user", EXAMPLE_ID),
    "instagram/id": ("Id of the connected Instagram account", EXAMPLE_ID),
    "public/id": ("Id of the connected TikTok account", EXAMPLE_ID),
    "social-media/id": ("Id of the connected account", EXAMPLE_ID),
    "social-media/platform": ("`instagram` or `tiktok`, in upper or lower case", "instagram"),
    "profile/username": ("Username on the platform; a leading `@` is ignored", "hanako.beauty"),
    "videos/username": ("Username on TikTok; a leading `@` is ignored", "hanako.beauty"),
    "jobs/name": ("Name of the job", "data_sync"),
    "media/folder": ("Folder of the file, as in its address", "influencer-profiles"),
    "{folder:str}/name": ("Name of the file, as in its address", "0b9f4c612d3e4a5b8c7d9e0f1a2b3c4d.webp"),
    "assets/name": ("Name of the file", "swagger-ui.css"),
}


def describe_path(path: str) -> str:
    """Return the path as OpenAPI writes it; parameters are in camelCase, like all names in the API."""
    return PARAMETER.sub(lambda match: f"{{{to_camel(match[1])}}}", path)


def path_parameters(path: str) -> list[Json]:
    segments = path.split("/")
    parameters = []
    for before, segment in pairwise(segments):
        if match := PARAMETER.fullmatch(segment):
            about, example = PATH_PARAMETERS[f"{before}/{match[1]}"]
            schema: Json = {"type": "string"} if match[2] else {"type": "string", "format": "uuid"}
            parameters.append(
                {
                    "name": to_camel(match[1]),
                    "in": "path",
                    "required": True,
                    "description": about,
                    "schema": schema,
                    "example": example,
                }
            )
    return parameters


def query_parameters(schema: Json) -> list[Json]:
    """Return the parameters of a query from its model's schema. A list is `name=a&name=b`, or has commas."""
    required = schema.get("required", [])
    parameters = []
    for name, each in schema.get("properties", {}).items():
        about = dict(without_null(each))
        described: Json = {"name": name, "in": "query", "required": name in required}
        if "description" in about:
            described["description"] = about.pop("description")
        parameters.append({**described, "schema": about})
    return parameters
