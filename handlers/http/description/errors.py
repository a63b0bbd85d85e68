"""Errors in /openapi.json: one schema for each code, and which codes an endpoint answers."""

from dataclasses import dataclass, field
from typing import Any

from db.error_codes import ErrorCode
from handlers.http.endpoint import USER, Endpoint
from handlers.http.router import PARAMETER

Json = dict[str, Any]

REQUEST_ID = "0b0f7c5e-8a51-4c55-9b0e-6c1d2a7f3e90"
DETAILS: Json = {
    "type": "array",
    "description": "Every invalid field",
    "items": {"$ref": "#/components/schemas/Fault"},
    "minItems": 1,
}
FAULT: Json = {
    "type": "object",
    "description": "What is wrong with one field",
    "required": ["field", "message"],
    "properties": {
        "field": {
            "type": "string",
            "description": "Name of the field; empty for the body as a whole",
            "examples": ["phoneNo"],
        },
        "message": {
            "type": "string",
            "description": "A sentence for people",
            "examples": ["Phone number must have at most 30 characters"],
        },
    },
}
RETRY_AFTER: Json = {"type": "integer", "description": "Seconds to wait", "minimum": 1, "examples": [42]}
ATTEMPTS_LEFT: Json = {
    "type": "integer",
    "description": "Attempts until the code is invalid; the same for e-mails without an account",
    "minimum": 0,
    "examples": [4],
}
EMAIL: Json = {
    "type": "string",
    "format": "email",
    "description": "The e-mail to verify",
    "examples": ["hanako@example.com"],
}
OWNERSHIP_CODE: Json = {
    "type": "string",
    "description": "The code that the bio must show",
    "examples": ["encer-7K2M9QXA"],
}
REASON: Json = {
    "type": "string",
    "description": "The exact failure of the vendor, for programs",
    "examples": ["UPSTREAM_UNREACHABLE"],
}


@dataclass(frozen=True)
class Meaning:
    """Of a code: its status, when it is answered, and its fields beside those of every error."""

    status: int
    when: str
    always: Json = field(default_factory=dict)
    sometimes: Json = field(default_factory=dict)


VENDOR: Json = {"reason": REASON}

MEANINGS: dict[ErrorCode, Meaning] = {
    "INVALID_JSON": Meaning(400, "The body is not valid JSON"),
    "VALIDATION_ERROR": Meaning(400, "Fields are missing or invalid", always={"details": DETAILS}),
    "BAD_REQUEST": Meaning(400, "The request is malformed or cannot be fulfilled"),
    "INVALID_OTP": Meaning(400, "The code is wrong or has expired", always={"attemptsLeft": ATTEMPTS_LEFT}),
    "INVALID_FILE": Meaning(400, "The file is damaged or empty"),
    "URL_REFUSED": Meaning(400, "The server does not fetch this address"),
    "NOT_AUTHENTICATED": Meaning(401, "The access token is missing"),
    "TOKEN_EXPIRED": Meaning(401, "The access token has expired: refresh it"),
    "INVALID_TOKEN": Meaning(401, "The token is not valid, or its session has ended: sign in again"),
    "INVALID_CREDENTIALS": Meaning(401, "The e-mail or the password is wrong"),
    "FORBIDDEN": Meaning(403, "The caller is not allowed to do this"),
    "WRONG_PASSWORD": Meaning(403, "The current password is wrong"),
    "ACCOUNT_SUSPENDED": Meaning(403, "An admin has suspended the account"),
    "EMAIL_NOT_VERIFIED": Meaning(403, "The e-mail is not verified; a code is on its way", always={"email": EMAIL}),
    "TERMS_NOT_ACCEPTED": Meaning(403, "The terms of service are not accepted"),
    "NOT_FOUND": Meaning(404, "The resource does not exist, or the caller has no access to it", sometimes=VENDOR),
    "NOT_ACCEPTABLE": Meaning(406, "The format that `Accept` asks for does not exist"),
    "CONFLICT": Meaning(409, "The current state of the resource does not allow the request"),
    "EMAIL_TAKEN": Meaning(409, "A verified account has this e-mail"),
    "HANDLE_TAKEN": Meaning(409, "Another user has proven to own the social account"),
    "CODE_NOT_FOUND": Meaning(
        409, "The bio does not show the ownership code", sometimes={"verificationCode": OWNERSHIP_CODE}
    ),
    "PROFILE_PRIVATE": Meaning(409, "The social profile is private", sometimes=VENDOR),
    "PROFILE_RESTRICTED": Meaning(409, "The social profile is hidden from some viewers", sometimes=VENDOR),
    "NEEDS_RECONNECT": Meaning(409, "The platform has ended the connection: connect again", sometimes=VENDOR),
    "BODY_TOO_LARGE": Meaning(413, "The body or a file is too large"),
    "UNSUPPORTED_MEDIA_TYPE": Meaning(415, "The body has another media type, or the file another format"),
    "UPGRADE_REQUIRED": Meaning(426, "The request is not a WebSocket handshake"),
    "RATE_LIMITED": Meaning(429, "Too many requests", always={"retryAfter": RETRY_AFTER}),
    "UPSTREAM_FAILED": Meaning(502, "A vendor failed", sometimes=VENDOR),
    "NOT_READY": Meaning(503, "The server cannot serve the request now"),
    "BUSY": Meaning(503, "Too many passwords are being checked"),
    "NOT_CONFIGURED": Meaning(503, "This server has no credentials for the vendor", sometimes=VENDOR),
    "UPSTREAM_TIMEOUT": Meaning(504, "A vendor did not answer in time", sometimes=VENDOR),
    "STORAGE_FULL": Meaning(507, "The disk for files is full"),
}

# Codes that any request can get, also those that clients of this description never send.
ANY_REQUEST: tuple[ErrorCode, ...] = (
    "BAD_REQUEST",
    "BODY_TOO_LARGE",
    "HEADERS_TOO_LARGE",
    "INTERNAL",
    "METHOD_NOT_ALLOWED",
    "NOT_IMPLEMENTED",
    "REQUEST_TIMEOUT",
    "UNSUPPORTED_MEDIA_TYPE",
    "URI_TOO_LONG",
    "VERSION_NOT_SUPPORTED",
)
RETRIED = {429, 503}  # statuses with the header Retry-After
ANY_TOKEN: tuple[ErrorCode, ...] = ("NOT_AUTHENTICATED", "TOKEN_EXPIRED", "INVALID_TOKEN")
ANY_BODY: tuple[ErrorCode, ...] = ("VALIDATION_ERROR", "BAD_REQUEST", "BODY_TOO_LARGE", "UNSUPPORTED_MEDIA_TYPE")
ANY_FILE: tuple[ErrorCode, ...] = ("INVALID_FILE", "UPSTREAM_FAILED", "NOT_READY", "UPSTREAM_TIMEOUT", "STORAGE_FULL")


def error_codes(declared: Endpoint, path: str) -> dict[int, list[ErrorCode]]:
    """Return the codes that an endpoint answers, by status: those that follow from what it declares, and its own."""
    if not declared.fails:
        return {}
    codes: set[ErrorCode] = set(declared.errors)
    if declared.access.roles is not None:
        codes |= {*ANY_TOKEN, "NOT_READY"}
        if declared.access.roles != USER.roles:
            codes.add("FORBIDDEN")
    if declared.body:
        codes |= {*ANY_BODY, "NOT_READY"}
        if declared.takes_json:
            codes.add("INVALID_JSON")
    if declared.files:
        codes.update(ANY_FILE)
    if declared.query:
        codes.add("VALIDATION_ERROR")
    if PARAMETER.search(path):
        codes.add("NOT_FOUND")
    if declared.counted:
        codes.add("RATE_LIMITED")
    by_status: dict[int, list[ErrorCode]] = {}
    for code, meaning in MEANINGS.items():
        if code in codes:
            by_status.setdefault(meaning.status, []).append(code)
    return dict(sorted(by_status.items()))


def error_name(code: str) -> str:
    return "".join(word.capitalize() for word in code.removesuffix("_ERROR").split("_")) + "Error"


def describe_error(code: str, meaning: Meaning) -> Json:
    """Return the schema of an error with this code."""
    return {
        "type": "object",
        "description": f"{meaning.when}.",
        "required": ["error", "message", "code", "requestId", *meaning.always],
        "properties": {
            "error": {"type": "string", "description": "A brief sentence for people", "examples": [meaning.when]},
            "message": {"type": "string", "description": "A longer sentence for people", "examples": [meaning.when]},
            "code": {"type": "string", "const": code, "description": "For programs", "examples": [code]},
            "requestId": {
                "type": "string",
                "description": "Also in the header X-Request-ID, and in the server's log",
                "examples": [REQUEST_ID],
            },
            **meaning.always,
            **meaning.sometimes,
        },
    }


def error_schemas() -> Json:
    """Return the schemas of all errors. No endpoint has the codes of `GeneralError` alone, so that a client that reads
    `code` knows which fields an error has. The name is not `Error`: generators name its codes after it, and `ErrorCode`
    is the type of all codes."""
    known = {error_name(code): describe_error(code, meaning) for code, meaning in MEANINGS.items()}
    generic = describe_error("INTERNAL", Meaning(500, "Something went wrong on our side"))
    generic["description"] = "An error that any request can meet."
    generic["properties"]["code"] = {
        "type": "string",
        "enum": sorted(ANY_REQUEST),
        "description": "For programs",
        "examples": ["INTERNAL"],
    }
    return {"GeneralError": generic, "Fault": FAULT, **known}


def error_responses(declared: Endpoint, path: str) -> Json:
    responses = {str(status): describe(status, codes) for status, codes in error_codes(declared, path).items()}
    other = {"description": "Any other error", "content": content({"$ref": ref("GeneralError")})}
    return {**responses, "default": other}


def describe(status: int, codes: list[ErrorCode]) -> Json:
    refs = {code: ref(error_name(code)) for code in codes}
    choice = [{"$ref": each} for each in refs.values()]
    several = {"oneOf": choice, "discriminator": {"propertyName": "code", "mapping": refs}}
    described: Json = {
        "description": "\n".join(f"- `{code}`: {MEANINGS[code].when}" for code in codes),
        "content": content(choice[0] if len(choice) == 1 else several),
    }
    if status in RETRIED:
        described["headers"] = {"Retry-After": {"$ref": "#/components/headers/RetryAfter"}}
    return described


def ref(name: str) -> str:
    return f"#/components/schemas/{name}"


def content(schema: Json) -> Json:
    return {"application/json": {"schema": schema}}
