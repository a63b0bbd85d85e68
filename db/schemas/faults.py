"""What is wrong with what a client sent, as sentences for people: each begins with the field as people know it."""

import re
from collections.abc import Callable
from typing import Any

from pydantic import ValidationError

from db.schemas.fields import UUID_PATTERN

Fault = dict[str, str]  # of `details` in an error: {"field": its name on the wire, "message": a sentence}

# Names of fields that do not read well as they are spelt; others become words (`businessName`: “Business name”).
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

# Fields that can be wrong in one way only.
SENTENCES = dict.fromkeys(("termsAccepted", "acceptTerms"), "Please accept the terms of service to continue")


def label(field: str) -> str:
    """Return the name by which people know a field; of an entry of a list, that of the list."""
    name = field.partition(".")[0]
    return LABELS.get(name) or re.sub(r"([A-Z])", r" \1", name).lower().capitalize()


def fault(field: str, predicate: str) -> Fault:
    """`fault("phoneNo", "is required")`: “Phone number is required”."""
    return {"field": field, "message": SENTENCES.get(field) or f"{label(field)} {predicate}"}


def list_faults(error: ValidationError) -> list[Fault]:
    """Every bad field once, by its name on the wire, and without what was sent."""
    faults: dict[str, Fault] = {}
    for each in error.errors(include_url=False, include_input=False):
        field = ".".join(str(part) for part in each["loc"])
        faults.setdefault(field, fault(field, predicate(each)) if field else whole(each))
    return list(faults.values())


def whole(error: Any) -> Fault:
    """A fault of a body as a whole: a model's own sentence, or the wrong type."""
    is_ours = error["type"] == "value_error"
    return {"field": "", "message": str(error["ctx"]["error"]) if is_ours else "The request must be a JSON object"}


def predicate(error: Any) -> str:
    """The end of a sentence that begins with a field, for one of pydantic's errors."""
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

# By the types of https://docs.pydantic.dev/latest/errors/validation_errors/ that our fields can raise.
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
