"""An endpoint as an operation of /openapi.json: parameters, body, successful answers, errors."""

import inspect
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from db.schemas.json_schema import ClientSchema, without_null
from handlers.http.description.errors import error_responses
from handlers.http.description.operation_ids import operation_id
from handlers.http.description.parameters import path_parameters, query_parameters
from handlers.http.endpoint import Endpoint, NumberedPaging
from handlers.http.paging import PageInfo, Pagination
from handlers.http.router import Route

Json = dict[str, Any]
REF = "#/components/schemas/{model}"
BINARY: Json = {"type": "string", "format": "binary"}
OTHER_TAGS = {"ws": "realtime", "media": "files", "proxy": "files", "docs": "server"}
# Any request may have it. It is listed where a required body has two kinds: openapi-python-client 0.29 writes a module
# that lacks an import there unless the operation has an optional parameter.
REQUEST_ID_HEADER: Json = {
    "name": "X-Request-ID",
    "in": "header",
    "required": False,
    "description": "Chosen by the client; the answer and the server's log repeat it",
    "schema": {"type": "string", "minLength": 8, "maxLength": 128},
    "example": "0b0f7c5e-8a51-4c55-9b0e-6c1d2a7f3e90",
}
CLEARING = ("PUT", "PATCH")  # null in an optional field clears it; with other methods null means absent


def tag_of(path: str) -> str:
    first, *_ = path.removeprefix("/api/v1").strip("/").split("/")
    is_api = path.startswith("/api/v1")
    return OTHER_TAGS.get(first, first if is_api else "server")


def named(identifier: str, suffix: str = "") -> str:
    """Return the name of a type that belongs to an operation: `sendMessage` has `SendMessageResponse`."""
    return identifier[0].upper() + identifier[1:] + suffix


class Schemas:
    """The schemas of all models, created together, so that each has its own name under `components`."""

    def __init__(self, routes: list[Route]) -> None:
        adapters = {id(type): TypeAdapter(type) for route in routes for type in types_of(route.endpoint)}
        inputs: Any = [(key, "validation", adapter) for key, adapter in adapters.items()]
        self.by_type, made = TypeAdapter.json_schemas(inputs, ref_template=REF, schema_generator=ClientSchema)
        self.defs: Json = made.get("$defs", {})

    def of(self, type: Any) -> Json:
        return self.by_type[id(type), "validation"]

    def resolve(self, schema: Json) -> Json:
        return self.defs[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema

    def define(self, name: str, schema: Json) -> Json:
        """Put a schema under `components` and return a reference to it."""
        if self.defs.setdefault(name, schema) != schema:
            raise ValueError(f"{name} is the name of two schemas")
        return {"$ref": REF.format(model=name)}


PAGES = (PageInfo, Pagination)


def types_of(declared: Endpoint) -> Iterator[Any]:
    """Return all types with schemas that an endpoint declares."""
    yield from PAGES
    yield from declared.beside.values()
    for type in (declared.body, declared.query, declared.returns):
        if type is not None:
            yield type


def describe_operation(route: Route, schemas: Schemas, aliases: list[Route]) -> Json:
    declared = route.endpoint
    canonical = route.alias_of or route
    identifier = operation_id(canonical.method, canonical.path)
    doc = inspect.getdoc(getattr(canonical.handler, canonical.method.lower())) or ""
    notes = [doc, f"Access: {declared.access.name}."]
    if route.alias_of:
        notes = [f"Another spelling of `{canonical.method} {canonical.path.replace(':str', '')}`, for the web client."]
    notes += [f"The web client's spelling: `{alias.method} {alias.path}`." for alias in aliases]
    described: Json = {
        "operationId": identifier + ("Alias" if route.alias_of else ""),
        "tags": [tag_of(route.path)],
        "summary": declared.summary.removesuffix(".").replace("`", ""),  # plain text, unlike a description
        "description": "\n\n".join(note for note in notes if note),
        "parameters": [
            *path_parameters(route.path),
            *(query_parameters(schemas.resolve(schemas.of(declared.query))) if declared.query else []),
        ],
        "responses": {
            **{str(status): success(declared, status, schemas, identifier) for status in declared.statuses},
            **error_responses(declared, route.path),
        },
        "security": security(declared),
    }
    if route.alias_of or declared.deprecated:
        described["deprecated"] = True
    if declared.body:
        described["requestBody"] = request_body(canonical.method, declared, schemas, identifier)
        if declared.files and declared.takes_json:
            described["parameters"].append(REQUEST_ID_HEADER)
    return described


def security(declared: Endpoint) -> list[Json]:
    """Return the ways to sign in, of which one is enough; an empty one means that none is needed."""
    if declared.access.roles is not None:
        return [{"bearer": []}]
    if declared.reads_token:
        return [{"bearer": []}, {}]
    return [{"refreshCookie": []}, {}] if declared.reads_cookie else []


# -- what is sent ----------------------------------------------------------------------------------------------------


def request_body(method: str, declared: Endpoint, schemas: Schemas, identifier: str) -> Json:
    fields = schemas.of(declared.body)
    model = schemas.resolve(fields)
    if method not in CLEARING:
        model["properties"] = {name: optional(each) for name, each in model.get("properties", {}).items()}
    content: Json = {}
    if declared.takes_json:
        content["application/json"] = {"schema": fields}
    if declared.files:
        form = schemas.define(named(identifier, "Form"), form_of(model, declared))
        content["multipart/form-data"] = {"schema": form}
    needs_body = not accepts_nothing(declared.body) or not declared.takes_json
    return {"description": describe(fields, schemas), "required": needs_body, "content": content}


def accepts_nothing(body: type[BaseModel] | None) -> bool:
    """Return whether a request may omit all fields; a rule of the whole model may forbid that, as of NewMessage."""
    if body is None:
        return True
    try:
        body.model_validate({})
    except ValidationError:
        return False
    return True


FILES = {
    "profilePic": "A JPEG, PNG, WebP or GIF of at most 5 MiB",
    "file": "A JPEG, PNG, WebP, GIF or PDF of at most 10 MB",
}


def optional(schema: Json) -> Json:
    return without_null(schema) if schema.get("anyOf") else schema


def form_of(model: Json, declared: Endpoint) -> Json:
    """Return the form with the fields of a model and the files; a form has no null."""
    files = {name: {**BINARY, "description": about} for name, about in FILES.items() if name in declared.files}
    fields = {name: optional(each) for name, each in model.get("properties", {}).items() if each != {"type": "null"}}
    fields = {name: each for name, each in fields.items() if name not in files}
    needed = [*model.get("required", []), *([] if declared.takes_json else files)]
    about = {"type": "object", "description": model.get("description", "A form with a file")}
    return {**about, **({"required": needed} if needed else {}), "properties": {**fields, **files}}


# -- what is answered ------------------------------------------------------------------------------------------------


def success(declared: Endpoint, status: int, schemas: Schemas, identifier: str) -> Json:
    if status in NO_CONTENT:
        return NO_CONTENT[status]
    described = {"description": DESCRIPTIONS.get(status, "Success")}
    if declared.produces != Endpoint.produces:
        schema: Json = {"type": "string"} if declared.produces.startswith("text/") else BINARY
        return {**described, "content": {declared.produces: {"schema": schema}}}
    schema = schemas.of(declared.returns) if declared.bare else envelope(declared, schemas, identifier)
    return {**described, "content": {declared.produces: {"schema": schema}}}


DESCRIPTIONS = {200: "Success", 201: "Created", 202: "Started", 503: "Not ready"}
LOCATION: Json = {"description": "The address of the redirect", "schema": {"type": "string", "format": "uri"}}
NO_CONTENT: dict[int, Json] = {
    101: {"description": "The connection becomes a WebSocket"},
    302: {"description": "A redirect", "headers": {"Location": LOCATION}},
    304: {"description": "The client has this version already"},
}
MESSAGE: Json = {"type": "string", "description": "A sentence for people", "examples": ["Done"]}
SUCCESS: Json = {"type": "boolean", "const": True, "description": "Always true", "examples": [True]}


def envelope(declared: Endpoint, schemas: Schemas, identifier: str) -> Json:
    """Return `data` and the fields beside it as one schema for each operation."""
    if declared.returns is None:
        data: Json = {"type": "null", "description": "Nothing", "examples": [None]}
        confirmation = {"success": SUCCESS, "data": data, "message": MESSAGE}
        return schemas.define("Confirmation", wrap(confirmation, "The answer has no data.", []))
    data = schemas.of(declared.returns)
    data = {**data, "description": describe(data, schemas)}
    fields = schemas.resolve(data).get("properties", {})
    properties: Json = {"success": SUCCESS, "data": data, "message": MESSAGE}
    repeated = {name: fields[name] for name in declared.top}
    if declared.data_as:
        repeated[declared.data_as] = {**data, "description": "The same as `data`"}
    properties |= repeated | {name: schemas.of(type) for name, type in declared.beside.items()}
    required = list(repeated)
    if declared.query and "cursor" in declared.query.model_fields:
        properties["pageInfo"] = {**schemas.of(PageInfo), "description": "Where this page ends"}
        required.append("pageInfo")
    if declared.query and issubclass(declared.query, NumberedPaging):
        properties["pagination"] = {**schemas.of(Pagination), "description": "Present if the request has `page`"}
    about = f"The answer of `{identifier}`."
    return schemas.define(named(identifier, "Response"), wrap(properties, about, required))


def describe(schema: Json, schemas: Schemas) -> str:
    """Return a description of a value, from that of its type."""
    if "items" in schema:
        entry = describe(schema["items"], schemas)
        return f"A list; each entry is {entry[0].lower()}{entry[1:]}"
    if "additionalProperties" in schema:
        return f"By id: {describe(schema['additionalProperties'], schemas)}"
    about: str = schemas.resolve(schema)["description"]
    return about.split("\n\n")[0].replace("\n", " ").removesuffix(".")


def wrap(properties: Json, about: str, more: list[str]) -> Json:
    required = ["success", "data", *(name for name in more if name not in ("success", "data"))]
    return {"type": "object", "description": about, "required": required, "properties": properties}
