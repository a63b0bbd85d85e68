"""/openapi.json is valid, lists every route, and describes what the server does."""

import json
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from pydantic import TypeAdapter, ValidationError

from db.schemas.json_schema import ClientSchema
from handlers.discovery import InfluencerSearch
from handlers.http.description.errors import MEANINGS
from handlers.http.description.parameters import describe_path
from handlers.http.endpoint import PUBLIC
from handlers.http.openapi import TAGS, openapi
from handlers.http.router import Route
from handlers.routes import make_table
from services.security.passwords import weakness
from tests.helpers.programs import long_test

Json = dict[str, Any]
TABLE = make_table()
DESCRIBED = openapi(TABLE, "https://api.example.com")
SCHEMAS: Json = DESCRIBED["components"]["schemas"]
FILE_FORMS = ("uploadPicture", "uploadAttachment")


def operation_of(route: Route) -> Json:
    return DESCRIBED["paths"][describe_path(route.path)][route.method.lower()]


def find(name: str) -> Json:
    return next(each for path in DESCRIBED["paths"].values() for each in path.values() if each["operationId"] == name)


def follow(schema: Json) -> Json:
    return SCHEMAS[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema


def answer_of(name: str, status: int = 200) -> Json:
    [content] = find(name)["responses"][str(status)]["content"].values()
    return follow(content["schema"])


def follow_body(name: str) -> Json:
    return follow(find(name)["requestBody"]["content"]["application/json"]["schema"])


def codes_of(response: Json) -> set[str]:
    schema = response["content"]["application/json"]["schema"]
    return {follow(each)["properties"]["code"]["const"] for each in schema.get("oneOf", [schema])}


@long_test()
def test_it_is_valid():
    validate(DESCRIBED)


async def test_it_is_served(api):
    described = (await api.get("/openapi.json")).body
    assert described["paths"] == DESCRIBED["paths"]
    assert described["servers"] == [{"url": "http://media.example.com", "description": "This server"}]


@pytest.mark.parametrize("route", TABLE.routes, ids=lambda route: f"{route.method} {route.path}")
def test_every_route_is_listed(route: Route):
    operation = operation_of(route)
    assert operation["summary"]
    assert operation["tags"][0] in TAGS
    assert operation.get("deprecated", False) == bool(route.alias_of or route.endpoint.deprecated)
    optional = {"/ws": "bearer", "/api/v1/auth/refresh": "refreshCookie"}.get(route.path)
    by_access: list[Json] = [{"bearer": []}] if route.endpoint.access is not PUBLIC else []
    assert operation["security"] == ([{optional: []}, {}] if optional else by_access)
    for parameter in operation["parameters"]:
        assert "anyOf" not in parameter["schema"], parameter  # a query cannot express null
        assert parameter["schema"].get("default", "") is not None, parameter


def test_tags_begin_with_what_a_client_calls_first():
    assert [tag["name"] for tag in DESCRIBED["tags"]] == list(TAGS)
    assert list(TAGS)[:3] == ["auth", "onboarding", "profile"]
    first = [next(iter(path.values()))["tags"][0] for path in DESCRIBED["paths"].values()]
    assert first == sorted(first, key=list(TAGS).index)


def test_names_are_made_for_people():
    assert [name for name in SCHEMAS if "_" in name] == []  # pydantic names two models of the same name like this
    used = {name for name in SCHEMAS if not name.endswith(("Error", "Response", "Form"))}
    assert {"Message", "NewMessage", "Role", "PageInfo", "NotificationType", "ErrorCode"} <= used


def test_no_schema_has_the_name_of_one_of_its_fields():
    """The Python generator names a variable after the schema, which the field would hide."""
    clashes = {
        name
        for name, schema in SCHEMAS.items()
        for field in schema.get("properties", {})
        if name.lower() == field.lower()
    }
    assert clashes == set()


def nulls(schema: Any) -> list[Json]:
    if isinstance(schema, list):
        return [found for each in schema for found in nulls(each)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if "default" in schema and schema["default"] is None else []
    return own + [found for each in schema.values() for found in nulls(each)]


def test_nothing_has_null_as_default():
    assert nulls(DESCRIBED) == []


def references(part: Any) -> set[str]:
    """Return the names of the schemas that a part refers to, directly or not."""
    if isinstance(part, list):
        return set().union(*map(references, part))
    if not isinstance(part, dict):
        return set()
    own = {part["$ref"].rpartition("/")[2]} if isinstance(part.get("$ref"), str) else set()
    return own.union(*map(references, part.values()), *(references(SCHEMAS[name]) for name in own))


def test_no_field_of_a_body_has_a_default():
    """openapi-typescript makes a field with a default mandatory. The description names the default instead."""
    sent = {name for operation in OPERATIONS for name in references(operation.get("requestBody", {}))}
    assert len(sent) > 25
    for name in sent:
        for field, schema in SCHEMAS[name].get("properties", {}).items():
            assert "default" not in schema, f"{name}.{field}"
    assert SCHEMAS["NewMessage"]["properties"]["messageType"]["description"].endswith('by default `"TEXT"`')


def test_bodies_are_required_unless_all_fields_may_be_omitted():
    needed = {
        operation["operationId"]: operation["requestBody"]["required"]
        for path in DESCRIBED["paths"].values()
        for operation in path.values()
        if "requestBody" in operation
    }
    assert len(needed) > 25
    assert {name for name, required in needed.items() if not required} == {
        "refreshTokens",
        "updateProfile",
        "updateProfileAlias",
        "updateUser",
        "suspendUser",
        "updateAdminProfile",
    }


def test_null_is_offered_where_it_clears_a_field():
    changes = follow_body("updateProfile")
    assert {"type": "null"} in changes["properties"]["bio"]["anyOf"]
    form = follow(find("updateProfile")["requestBody"]["content"]["multipart/form-data"]["schema"])
    assert form["properties"]["bio"]["type"] == "string"
    assert form["properties"]["profilePic"]["format"] == "binary"
    sign_up = follow_body("signUpSalon")
    assert sign_up["properties"]["phoneNo"]["type"] == "string"
    assert "phoneNo" not in sign_up["required"]


def nullable_fields() -> dict[str, list[str]]:
    """Return the fields of JSON bodies that may be null, by operation."""
    found = {}
    for route in TABLE.routes:
        content = operation_of(route).get("requestBody", {}).get("content", {})
        fields = follow(content.get("application/json", {}).get("schema", {})).get("properties", {})
        names = [name for name, each in fields.items() if {"type": "null"} in [each, *each.get("anyOf", [])]]
        if names:
            found[operation_of(route)["operationId"]] = names
    return found


async def test_every_field_that_may_be_null_accepts_null(api, people):
    influencer, salon, admin = await people.influencer(), await people.salon(), await people.admin()
    calls = {
        "updateProfile": [("PUT", "/profile/update", person) for person in (influencer, salon)],
        "updateProfileAlias": [("PATCH", "/profile/update", person) for person in (influencer, salon)],
        "updateUser": [("PUT", f"/admin/users/{person.id}", admin) for person in (influencer, salon)],
        "suspendUser": [("PATCH", f"/admin/users/{salon.id}/suspend", admin)],
    }
    nullable = nullable_fields()
    assert nullable.keys() == calls.keys()
    assert len(nullable["updateProfile"]) == 16
    for operation, requests in calls.items():  # the suspension is the last
        for method, path, caller in requests:
            answer = await api.call(method, path, dict.fromkeys(nullable[operation]), caller)
            assert answer.status == 200, (operation, answer)
    assert "null" not in json.dumps(follow_body("updateProfile")["properties"]["name"])


@pytest.mark.parametrize("name", FILE_FORMS)
def test_uploads_offer_forms_alone(name: str):
    content = find(name)["requestBody"]["content"]
    assert content.keys() == {"multipart/form-data"}
    form = follow(content["multipart/form-data"]["schema"])
    assert form["required"] == list(form["properties"])


async def test_an_upload_refuses_json(api, people):
    one = await people.influencer()
    assert (await api.post("/profile/upload-picture", {"profilePic": "…"}, one)).status == 415


def test_the_socket_and_redirects_are_not_json():
    assert "content" not in find("openSocket")["responses"]["101"]
    assert "426" in find("openSocket")["responses"]
    callback = find("finishTikTokSignIn")
    redirect = callback["responses"]["302"]
    assert (redirect["headers"].keys(), redirect.get("content")) == ({"Location"}, None)
    assert [each["name"] for each in callback["parameters"]] == ["state", "code", "error"]
    assert {"200", "304"} <= find("getDocsAsset")["responses"].keys()


def test_fields_at_the_top_have_the_type_that_they_have_in_data():
    login = answer_of("login")
    signed_in = follow(login["properties"]["data"])
    assert login["properties"]["user"] == signed_in["properties"]["user"]
    assert {"accessToken", "refreshToken", "expiresIn", "user"} <= set(login["required"])
    accounts = answer_of("listSocialAccounts")["properties"]
    assert accounts["accounts"]["items"] == accounts["data"]["items"]


def test_answers_are_described_as_they_are():
    """The test checks the parts of the description that tests/helpers/clients.py does not check in every answer."""
    salons = answer_of("listSalons")
    assert salons["required"] == ["success", "data", "pageInfo"]
    assert salons["properties"].keys() >= {"pageInfo", "pagination", "data"}
    assert answer_of("syncInstagram")["properties"]["cacheAge"]["type"] == "integer"
    assert answer_of("deleteNotification")["properties"]["data"]["type"] == "null"
    assert set(answer_of("getHealth")["required"]) == {"status", "message", "version", "timestamp", "uptime"}


def test_errors_are_listed_by_status_and_code():
    """tests/helpers/clients.py checks every error of the other tests against this list."""
    login = find("login")["responses"]
    assert codes_of(login["401"]) == {"INVALID_CREDENTIALS"}
    assert codes_of(login["403"]) == {"ACCOUNT_SUSPENDED", "EMAIL_NOT_VERIFIED", "TERMS_NOT_ACCEPTED"}
    assert codes_of(login["503"]) == {"NOT_READY", "BUSY"}
    assert codes_of(find("refreshTokens")["responses"]["401"]) == {"INVALID_TOKEN"}
    assert "Retry-After" in login["429"]["headers"]
    sent = find("sendMessage")["responses"]
    assert codes_of(sent["401"]) == {"NOT_AUTHENTICATED", "TOKEN_EXPIRED", "INVALID_TOKEN"}
    assert {"400", "401", "403", "404", "413", "415", "429", "503", "default"} <= sent.keys()
    assert "email" in SCHEMAS["EmailNotVerifiedError"]["required"]
    answered = {
        code
        for path in DESCRIBED["paths"].values()
        for operation in path.values()
        for status, response in operation["responses"].items()
        if status[0] in "45" and operation["operationId"] != "getReadiness"
        for code in codes_of(response)
    }
    assert answered == set(MEANINGS)


def fields_of() -> dict[str, Json]:
    """Return every parameter and every field of every schema, each with its place."""
    fields = {
        f"{name}.{field}": each
        for name, schema in SCHEMAS.items()
        for field, each in schema.get("properties", {}).items()
    }
    for operation in OPERATIONS:
        for parameter in operation["parameters"]:
            about = {"description": parameter.get("description"), **parameter["schema"]}
            if "example" in parameter:
                about["examples"] = [parameter["example"]]
            fields[f"{operation['operationId']}({parameter['name']})"] = about
    return fields


OPERATIONS: list[Json] = [operation for path in DESCRIBED["paths"].values() for operation in path.values()]
FIELDS = fields_of()


def parts_with_texts() -> dict[str, Json]:
    """Return everything beside fields and parameters that has a description, with its place."""
    parts = dict(SCHEMAS)
    for operation in OPERATIONS:
        name = operation["operationId"]
        parts[name] = operation
        if "requestBody" in operation:
            parts[f"body of {name}"] = operation["requestBody"]
        for status, response in operation["responses"].items():
            parts[f"{status} of {name}"] = response
            parts |= {f"{header} of {status} of {name}": each for header, each in response.get("headers", {}).items()}
    return {name: part for name, part in parts.items() if "$ref" not in part}


def test_every_part_and_every_field_has_a_description():
    """A description of a type does not count for a field: it says what the type is, not what the field is for."""
    parts = parts_with_texts()
    assert len(parts) > 1100 and len(FIELDS) > 1100
    assert [name for name, part in {**parts, **FIELDS}.items() if not part.get("description")] == []


def has_example(schema: Json) -> bool:
    """Return whether a field has an example, or consists of objects whose fields have one. A file has none."""
    schema = {**follow(schema), **schema}
    if schema.get("examples") or schema.get("format") == "binary" or "properties" in schema:
        return True
    kinds = [schema.get("items"), schema.get("additionalProperties"), *schema.get("anyOf", [])]
    kinds = [kind for kind in kinds if isinstance(kind, dict) and kind != {"type": "null"}]
    return bool(kinds) and all(map(has_example, kinds))


def test_every_field_has_an_example():
    assert [field for field, schema in FIELDS.items() if not has_example(schema)] == []


def test_every_example_fits_its_field():
    components = {"components": DESCRIBED["components"]}
    for field, schema in FIELDS.items():
        validator = Draft202012Validator({**schema, **components}, format_checker=Draft202012Validator.FORMAT_CHECKER)
        for example in schema.get("examples", ()):
            assert [error.message for error in validator.iter_errors(example)] == [], field


def test_examples_are_accepted_by_the_models():
    """The server accepts a body that is made of examples."""
    for route in TABLE.routes:
        if route.endpoint.body and route.endpoint.takes_json:
            schema = TypeAdapter(route.endpoint.body).json_schema(schema_generator=ClientSchema)
            fields = schema.get("properties", {})
            body = {name: each["examples"][0] for name, each in fields.items() if "examples" in each}
            assert set(schema.get("required", [])) <= body.keys(), route
            for each in (body, *schema.get("examples", [])):
                route.endpoint.body.model_validate_json(json.dumps(each), strict=True)
            assert None not in schema.get("examples", [body])[0].values(), route  # “Try it out” would clear the field


# Values of fields: some that the server accepts, and some that it refuses.
BOUNDS: dict[str, tuple[list[Any], list[Any]]] = {
    "connectInstagram.username": (["a", "@hanako.beauty", "a" * 30], ["", "@", "a" * 31, "two words", "花子"]),
    "connectTikTok.username": (["@ab", "a" * 24], ["a", "a" * 25, "a-b"]),
    "onboardSalon.establishedYear": ([1900, 2015], [1899, "long ago"]),
    "onboardSalon.website": (["https://x.jp", "HTTP://サロン.jp/"], ["ftp://x.jp", "http:x.jp", "x.jp"]),
    "updateUser.bio": (["", "Hello", None], ["a" * 2001]),
    "updateUser.region": (["", "tokyo", None], [7]),
    "updateUser.phoneNumber": (["", "090", None], ["0" * 31]),
    "createUser.businessName": (["", "Sakura"], ["a" * 121]),
    "suspendUser.reason": (["", "Spam"], ["a" * 1001]),
    "listSalons.page": ([1, 10_000], [0, 10_001]),
    "listSalons.limit": ([1, 100], [0, 101]),
}


@pytest.mark.parametrize("field", BOUNDS)
def test_schemas_have_the_bounds_of_the_server(field: str):
    operation, name = field.split(".")
    route = next(each for each in TABLE.routes if operation_of(each)["operationId"] == operation)
    model = route.endpoint.body or route.endpoint.query
    assert model is not None
    parameters = {each["name"]: each["schema"] for each in find(operation)["parameters"]}
    schema = parameters.get(name) or follow_body(operation)["properties"][name]
    validator = Draft202012Validator({**schema, "components": DESCRIBED["components"]})

    def is_accepted(value: Any) -> bool:
        try:
            model.model_validate({name: value})
        except ValidationError as error:
            return all(each["loc"][0] != name for each in error.errors())
        return True

    accepted, refused = BOUNDS[field]
    for value in [*accepted, *refused]:
        assert is_accepted(value) == validator.is_valid(value) == (value in accepted), value


def test_the_length_of_a_new_password_is_described_in_characters():
    """The server counts bytes, so the schema accepts every password that is long enough, and some others."""
    password = follow_body("signUpSalon")["properties"]["password"]
    validator = Draft202012Validator(password)
    for text in ("a", "é", "1" * 73):
        assert weakness(text, "") and not validator.is_valid(text)
    assert weakness("𠮷𠮷", "") is None and validator.is_valid("𠮷𠮷")
    assert "8 to 72 bytes" in password["description"]


async def test_the_default_of_limit_in_discovery_depends_on_page(api, people):
    limit = next(each for each in find("listSalons")["parameters"] if each["name"] == "limit")
    assert "default" not in limit["schema"]
    assert limit["description"] == "Entries on a page; by default 20, and 12 for a request with `page`"
    one = await people.influencer()
    assert (await api.get("/discovery/salons?page=1", one)).body["pagination"]["limit"] == 12
    assert InfluencerSearch().limit == 20


def test_the_metadata_of_a_notification_is_described_by_type():
    text, null = SCHEMAS["Notification"]["properties"]["metadata"]["anyOf"]
    named = [choice["$ref"].rpartition("/")[2] for choice in text["contentSchema"]["anyOf"]]
    fields = [set(SCHEMAS[name]["properties"]) for name in named]
    assert fields == [{"senderId", "senderName", "count"}, {"accountId", "platform", "reason"}, {"viewerId"}]
    assert (text["type"], text["contentMediaType"], null) == ("string", "application/json", {"type": "null"})
