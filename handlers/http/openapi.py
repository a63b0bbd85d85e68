"""OpenAPI 3.1 of what the table of routes declares."""

import inspect
from typing import Any

from pydantic import TypeAdapter

from db.schemas.fields import Body
from handlers.http.endpoint import Endpoint, NumberedPaging, Query
from handlers.http.router import PARAMETER, Route, Table
from settings import VERSION

Json = dict[str, Any]
REF = "#/components/schemas/{model}"

ABOUT = """
Errors are JSON for every status: `{error, message, code, requestId, details?}`; `error` and `message` each help a
person by themselves, `code` is for programs. A list takes `limit` and `cursor` and answers `pageInfo`; those with
`page` also answer `pagination`. Times are UTC with milliseconds; ids are UUIDs; unknown fields of a body are ignored;
in PATCH and PUT an absent field is unchanged and `null` clears. A list in a query is written as `name=a,b`, as a
repeated `name` or as a repeated `name[]`. HEAD is answered like GET without a body; where GET changes something, HEAD
checks sign-in, role and input alone, and answers 200.
"""

ERROR: Json = {
    "type": "object",
    "required": ["error", "message", "code", "requestId"],
    "properties": {
        "error": {"type": "string", "description": "A brief name, helpful by itself"},
        "message": {"type": "string", "description": "A sentence for a person"},
        "code": {"type": "string", "description": "For programs; GET /api/v1/discovery/vocabularies lists all codes"},
        "requestId": {"type": "string"},
        "details": {
            "type": "array",
            "items": {"type": "object", "properties": {"field": {"type": "string"}, "message": {"type": "string"}}},
        },
        "retryAfter": {"type": "integer", "description": "Seconds, with 429"},
        "attemptsLeft": {
            "type": "integer",
            "description": "Of a one-time code, with INVALID_OTP; the same for addresses without an account",
        },
        "email": {"type": "string", "description": "Which address awaits its code, with EMAIL_NOT_VERIFIED"},
        "verificationCode": {"type": "string", "description": "What the bio has to show, with CODE_NOT_FOUND"},
        "reason": {"type": "string", "description": "For programs: what exactly a vendor failed at"},
    },
}


class Schemas:
    """Schemas by reference: each model is described once, under `components`."""

    def __init__(self) -> None:
        self.defs: Json = {"Error": ERROR}

    def of(self, type: Any) -> Json:
        schema = TypeAdapter(type).json_schema(ref_template=REF)
        self.defs.update(schema.pop("$defs", {}))
        if "title" in schema and "properties" in schema:
            self.defs[schema["title"]] = schema
            return {"$ref": REF.format(model=schema["title"])}
        return schema


def openapi(table: Table, public_url: str) -> Json:
    schemas = Schemas()
    paths: Json = {}
    for route in sorted(table.routes, key=lambda route: route.path):
        if route.alias_of is None:
            path = PARAMETER.sub(r"{\1}", route.path)
            paths.setdefault(path, {})[route.method.lower()] = operation(route, schemas, spellings(table, route))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Beautiful Encer", "version": VERSION, "description": ABOUT},
        "servers": [{"url": public_url}],
        "paths": paths,
        "components": {
            "schemas": schemas.defs,
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def spellings(table: Table, route: Route) -> list[str]:
    return [f"{other.method} {other.path}" for other in table.routes if other.alias_of is route]


def operation(route: Route, schemas: Schemas, aliases: list[str]) -> Json:
    declared = route.endpoint
    doc = inspect.getdoc(getattr(route.handler, route.method.lower())) or ""
    notes = [doc, f"Access: {declared.access.name}."]
    if aliases:
        notes.append(f"The web client's spelling: {', '.join(f'`{alias}`' for alias in aliases)}.")
    success = {"description": "Success", **answer(declared, schemas)}
    described: Json = {
        "tags": [route.path.split("/")[3] if route.path.startswith("/api/v1/") else "server"],
        "summary": declared.summary,
        "description": "\n\n".join(note for note in notes if note),
        "parameters": [*path_parameters(route.path), *query_parameters(declared.query, schemas)],
        "responses": {str(status): success for status in declared.statuses},
    }
    described["responses"]["default"] = {
        "description": "An error",
        "content": {"application/json": {"schema": {"$ref": REF.format(model="Error")}}},
    }
    if declared.access.roles is not None:
        described["security"] = [{"bearer": []}]
    if declared.body or declared.files:
        described["requestBody"] = {"content": request_content(declared, schemas)}
    return described


def path_parameters(path: str) -> list[Json]:
    return [
        {"name": name, "in": "path", "required": True,
         "schema": {"type": "string"} if kind == "str" else {"type": "string", "format": "uuid"}}
        for name, kind in PARAMETER.findall(path)
    ]  # fmt: skip


def query_parameters(query: type[Query] | None, schemas: Schemas) -> list[Json]:
    if query is None:
        return []
    schema = query.model_json_schema(ref_template=REF)
    schemas.defs.update(schema.pop("$defs", {}))
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": about}
        for name, about in schema.get("properties", {}).items()
    ]


def request_content(declared: Endpoint, schemas: Schemas) -> Json:
    fields = schemas.of(declared.body or Body)
    if not declared.files:
        return {"application/json": {"schema": fields}}
    files = {name: {"type": "string", "format": "binary"} for name in declared.files}
    with_files = {"allOf": [fields, {"type": "object", "properties": files}]}
    content: Json = {"multipart/form-data": {"schema": with_files}}
    return {**content, "application/json": {"schema": fields}} if declared.body else content


def answer(declared: Endpoint, schemas: Schemas) -> Json:
    if declared.produces != Endpoint.produces:
        return {"content": {declared.produces: {"schema": {"type": "string", "format": "binary"}}}}
    if declared.bare:
        return {"content": {declared.produces: {"schema": schemas.of(declared.returns)}}}
    data = {"type": "null"} if declared.returns is None else schemas.of(declared.returns)
    properties: Json = {"success": {"const": True}, "data": data, "message": {"type": "string"}}
    for name in declared.top:
        properties[name] = {"description": "As in `data`"}
    if declared.data_as:
        properties[declared.data_as] = {"description": "The same as `data`"}
    for name, type in declared.beside.items():
        properties[name] = schemas.of(type)
    if declared.query and "cursor" in declared.query.model_fields:
        properties["pageInfo"] = {
            "type": "object",
            "properties": {"nextCursor": {"type": ["string", "null"]}, "hasMore": {"type": "boolean"}},
        }
    if declared.query and issubclass(declared.query, NumberedPaging):
        counts = {name: {"type": "integer"} for name in ("page", "limit", "total", "totalPages")}
        properties["pagination"] = {
            "type": "object",
            "description": "If `page` was asked for",
            "properties": {**counts, "hasMore": {"type": "boolean"}},
        }
    schema = {"type": "object", "required": ["success", "data"], "properties": properties}
    return {"content": {"application/json": {"schema": schema}}}
