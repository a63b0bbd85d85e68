"""Make an example of a JSON schema from the examples of its fields."""

from typing import Any

Json = dict[str, Any]

# For fields without an example.
BY_FORMAT = {
    "uuid": "0b9f4c61-2d3e-4a5b-8c7d-9e0f1a2b3c4d",
    "date-time": "2026-01-31T09:30:00.000Z",
    "uri": "https://example.com",
    "email": "hanako@example.com",
}
BY_TYPE = {"string": "text", "integer": 1, "number": 1.5, "boolean": False, "null": None, "array": []}


def example_of(schema: Json, defs: Json) -> Any:
    """Return a value that the schema accepts; it leaves out optional fields without an example.

    Raises KeyError for a reference to a missing schema.
    """
    if schema.get("examples"):
        return schema["examples"][0]
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    if "$ref" in schema:
        return example_of(defs[schema["$ref"].rpartition("/")[2]], defs)
    for variants in (schema.get("anyOf"), schema.get("oneOf"), schema.get("allOf")):
        if variants:
            return example_of(variants[0], defs)
    if schema.get("type") == "object" or "properties" in schema:
        required = schema.get("required", [])
        shown = schema.get("properties", {}).items()
        return {name: example_of(each, defs) for name, each in shown if name in required or each.get("examples")}
    if schema.get("type") == "array" and "items" in schema:
        return [example_of(schema["items"], defs)]
    return BY_FORMAT.get(schema.get("format", ""), BY_TYPE.get(str(schema.get("type"))))
