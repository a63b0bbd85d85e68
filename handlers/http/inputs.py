"""Bodies and queries of clients, validated by the models that an endpoint declares."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from db.errors import Invalid
from db.schemas.faults import fault, list_faults
from db.schemas.fields import group_by_name
from handlers.http.bodies import RequestBody
from handlers.http.endpoint import Endpoint

MAX_QUERY_FIELDS = 100


# Names and values of a query as Tornado parses it: names in Latin-1, values in bytes, blank ones included.
Arguments = Mapping[str, Sequence[bytes]]


def read_inputs(declared: Endpoint, body: RequestBody, query: Arguments, production: bool) -> list[BaseModel]:
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


def parse_query(query: Arguments) -> dict[str, Any]:
    fields = [(name, value) for name, values in query.items() for value in values if value]
    try:
        decoded = [(name.encode("latin-1").decode(), value.decode()) for name, value in fields]
    except ValueError:
        raise Invalid([fault("query", "is not valid UTF-8")]) from None
    if len(fields) > MAX_QUERY_FIELDS:
        raise Invalid([fault("query", f"must not have more than {MAX_QUERY_FIELDS} fields")])
    return group_by_name(decoded)
