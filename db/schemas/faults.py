"""Sentences for people about invalid fields of a request. Each begins with the name that people know the field by."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from db.schemas.fields import UUID_PATTERN

Fault = dict[str, str]  # an entry of an error's `details`: {"field": name in the JSON, "message": sentence}

# Labels of fields; the others are derived from their name (`businessName`: “Business name”).
LABELS = {
    "accountId": "Account",
    "clientMessageId": "Client message id",
    "conversationId": "Conversation",
    "email": "E-mail",
    "establishedYear": "Year of establishment",
    "facebookPage": "Facebook page",
    "fileUrl": "File address",
    "instagramHandle": "Instagram handle",
    "maxFollowers": "Maximum of followers",
    "minFollowers": "Minimum of followers",
    "otp": "Code",
    "phoneNo": "Phone number",
    "profilePic": "Profile picture",
    "receiverId": "Receiver",
    "signUpToken": "Sign-up token",
    "sortBy": "Sort key",
    "tiktokHandle": "TikTok handle",
    "url": "Web address",
    "userIds": "Users",
}

# Fields with the same sentence for each fault.
SENTENCES = dict.fromkeys(("termsAccepted", "acceptTerms"), "Please accept the terms of service to continue")


def label(field: str) -> str:
    """Return the name that people know a field by; an entry of a list has the name of the list."""
    name = field.partition(".")[0]
    return LABELS.get(name) or re.sub(r"([A-Z])", r" \1", name).lower().capitalize()


def fault(field: str, predicate: str) -> Fault:
    """Return a fault: `fault("phoneNo", "is required")` says “Phone number is required”."""
    return {"field": field, "message": SENTENCES.get(field) or f"{label(field)} {predicate}"}


def list_faults(error: ValidationError) -> list[Fault]:
    """Return one fault per invalid field, by its name in the JSON, without the value that was sent."""
    faults: dict[str, Fault] = {}
    for each in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in each["loc"])
        faults.setdefault(field, fault(field, predicate(each)) if field else whole(each))
    return list(faults.values())


def whole(error: Any) -> Fault:
    """Return the fault of a whole body: the sentence of the model's validator, or that the type is wrong."""
    is_ours = error["type"] == "value_error"
    return {"field": "", "message": str(error["ctx"]["error"]) if is_ours else "The request must be a JSON object"}


def predicate(error: Any) -> str:
    """Return the end of a sentence that begins with the field, for one of pydantic's errors."""
    describe = PREDICATES.get(error["type"])
    return describe(error.get("ctx", {})) if describe else "is not valid"


def counted(number: int, noun: str) -> str:
    plural = noun.removesuffix("y") + "ies" if noun.endswith("y") else f"{noun}s"
    return f"{number:,} {noun if number == 1 else plural}"


Describe = Callable[[dict[str, Any]], str]


def always(text: str) -> Describe:
    return lambda ctx: text


def describe_short(ctx: dict[str, Any]) -> str:
    least = ctx["min_length"]
    return "must not be empty" if least == 1 else f"must have at least {counted(least, 'character')}"


def describe_choice(ctx: dict[str, Any]) -> str:
    return f"must be {ctx['expected'].replace(chr(39), '')}" if "," in ctx["expected"] else "has no such value"


def describe_pattern(ctx: dict[str, Any]) -> str:
    return "must be a valid id" if ctx["pattern"] == UUID_PATTERN else "has the wrong format"


WHOLE_NUMBER, NUMBER = always("must be a whole number"), always("must be a number")

# By error type (https://docs.pydantic.dev/latest/errors/validation_errors/); those that our fields can raise.
PREDICATES: dict[str, Describe] = {
    "missing": always("is required"),
    "value_error": lambda ctx: str(ctx["error"]),
    "string_type": always("must be text"),
    "string_unicode": always("must be text"),
    "string_too_short": describe_short,
    "string_too_long": lambda ctx: f"must have at most {counted(ctx['max_length'], 'character')}",
    "string_pattern_mismatch": describe_pattern,
    "literal_error": describe_choice,
    "int_type": WHOLE_NUMBER,
    "int_parsing": WHOLE_NUMBER,
    "int_parsing_size": WHOLE_NUMBER,
    "int_from_float": WHOLE_NUMBER,
    "float_type": NUMBER,
    "float_parsing": NUMBER,
    "finite_number": NUMBER,
    "bool_type": always("must be true or false"),
    "bool_parsing": always("must be true or false"),
    "greater_than": lambda ctx: f"must be more than {ctx['gt']:,}",
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']:,}",
    "less_than": lambda ctx: f"must be less than {ctx['lt']:,}",
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']:,}",
    "list_type": always("must be a list"),
    "too_short": lambda ctx: f"must have at least {counted(ctx['min_length'], 'entry')}",
    "too_long": lambda ctx: f"must have at most {counted(ctx['max_length'], 'entry')}",
    "model_type": always("must be a JSON object"),
    "model_attributes_type": always("must be a JSON object"),
    "dict_type": always("must be a JSON object"),
    "none_required": always("can only be removed here"),
}
