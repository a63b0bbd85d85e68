"""JSON schemas of models, adapted to generators of clients."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema

from db.schemas.fields import Body

Json = dict[str, Any]


class ClientSchema(GenerateJsonSchema):
    """A schema without titles of fields, because generators name types after them, and without defaults in
    bodies, because generators treat a field with a default as a mandatory one."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Json:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def nullable_schema(self, schema: Any) -> Json:
        """Return the schema with description and examples on the field, not on one of its two types."""
        described = super().nullable_schema(schema)
        value = described.get("anyOf", [{}])[0]
        return described | {key: value.pop(key) for key in ("description", "examples") if key in value}

    def model_schema(self, schema: Any) -> Json:
        described = super().model_schema(schema)
        if issubclass(schema["cls"], Body):
            for each in described.get("properties", {}).values():
                describe_default(each)
        return described


def describe_default(schema: Json) -> None:
    """Replace `default` by a part of the description."""
    if "default" in schema:
        value = json.dumps(schema.pop("default"), ensure_ascii=False)
        schema["description"] = f"{schema['description']}; by default `{value}`"


def without_null(schema: Json) -> Json:
    """Return the schema of a field without null."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == len(schema.get("anyOf", [])):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}
