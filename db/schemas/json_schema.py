"""JSON schemas of models as generators of clients want them."""

from typing import Any

from pydantic.json_schema import GenerateJsonSchema

Json = dict[str, Any]


class ClientSchema(GenerateJsonSchema):
    """Without titles of fields, after which generators name types, and without `default: null`, which makes them take
    an optional field for a mandatory one."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def default_schema(self, schema: Any) -> Json:
        described = super().default_schema(schema)
        if described.get("default", ...) is None:
            del described["default"]
        return described

    def nullable_schema(self, schema: Any) -> Json:
        """What is said about the value is said about the field, not about one of its two kinds."""
        described = super().nullable_schema(schema)
        value = described.get("anyOf", [{}])[0]
        return described | {key: value.pop(key) for key in ("description", "examples") if key in value}


def without_null(schema: Json) -> Json:
    """The schema of a field that has a value wherever it stands."""
    kinds = [kind for kind in schema.get("anyOf", []) if kind != {"type": "null"}]
    if len(kinds) == len(schema.get("anyOf", [])):
        return schema
    rest = {key: value for key, value in schema.items() if key != "anyOf"}
    return {**kinds[0], **rest} if len(kinds) == 1 else {"anyOf": kinds, **rest}
