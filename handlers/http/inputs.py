"""Bodies and queries of clients, validated by the models that an endpoint declares."""

from typing import Any
from urllib.parse import parse_qsl

from pydantic import BaseModel, ValidationError

from db.errors import Invalid
from db.schemas.faults import fault, list_faults
from db.schemas.fields import group_by_name
from handlers.http.bodies import RequestBody
from handlers.http.endpoint import Endpoint

MAX_QUERY_FIELDS = 100


def read_inputs(declared: Endpoint, body: RequestBody, query: str, production: bool) -> list[BaseModel]:
    """Return the body and the query, as far as the endpoint declares them. Raises Invalid with all faults."""
    inputs: list[BaseModel] = []
    try:
        if declared.body:
            inputs.append(body.read(declared.body, declared.files, production))
        if declared.query:
            inputs.append(declared.query.model_validate(parse_query(query)))
    except ValidationError as error:
        raise Invalid(list_faults(error)) from None
    return inputs


def parse_query(query: str) -> dict[str, Any]:
    try:
        # Tornado reads the request line as Latin-1; some clients send UTF-8 there without escaping it.
        text = query.encode("latin-1").decode()
        parameters = parse_qsl(text, keep_blank_values=False, errors="strict", max_num_fields=MAX_QUERY_FIELDS)
    except ValueError:
        raise Invalid([fault("query", "is not valid UTF-8, or has too many fields")]) from None
    return group_by_name(parameters)
