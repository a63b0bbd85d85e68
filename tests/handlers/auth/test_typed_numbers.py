"""Numbers in forms and queries: full-width digits count as digits."""

from collections.abc import Iterator
from typing import Any, get_args

import pytest
from pydantic import BaseModel, ValidationError

from handlers.routes import make_table
from tests.helpers.clients import Api
from tests.helpers.factories import People
from tests.helpers.files.forms import send_form

WIDE = str.maketrans("0123456789", "０１２３４５６７８９")


def is_number(annotation: Any) -> bool:
    return annotation in (int, float) or any(is_number(part) for part in get_args(annotation))


def number_fields() -> Iterator[tuple[type[BaseModel], str]]:
    """Return every number of every query, and of every body that may be sent as a form."""
    for route in make_table().routes:
        declared = route.endpoint
        for model in (declared.query, declared.body if declared.files else None):
            if model is None:
                continue
            for name, field in model.model_fields.items():
                if is_number(field.annotation):
                    yield model, str(field.validation_alias or field.alias or name)


NUMBERS = dict.fromkeys(number_fields())


def fault(model: type[BaseModel], name: str, text: str) -> str | None:
    """Return the type of the validation error of this text in this field."""
    try:
        model.model_validate({name: text})
    except ValidationError as error:
        return next((each["type"] for each in error.errors() if each["loc"] == (name,)), None)
    return None


def test_there_are_numbers():
    assert {name for _, name in NUMBERS} >= {"age", "teamSize", "establishedYear", "limit", "page", "minFollowers"}


@pytest.mark.parametrize(("model", "name"), NUMBERS, ids=lambda value: getattr(value, "__name__", value))
@pytest.mark.parametrize("number", ["7", "20", "1999", "-1"])
def test_full_width_digits_are_those_of_the_keyboard(model: type[BaseModel], name: str, number: str):
    assert fault(model, name, number.translate(WIDE)) == fault(model, name, number) != "int_parsing"


async def test_a_form_and_a_query(api: Api, people: People):
    hanako, salon = await people.influencer(), await people.salon()
    form = [("age", "２７"), ("phoneNo", "０９０-１２３４-５６７８")]
    updated = (await send_form(api, "/profile/update", hanako, *form, method="PUT")).data["influencer"]
    assert (updated["age"], updated["phoneNo"]) == (27, "090-1234-5678")
    assert len((await api.get("/discovery/influencers?limit=１&page=１", salon)).data) == 1
    assert (await api.get("/discovery/influencers?minFollowers=１", salon)).data == []


async def test_json_texts_are_not_converted_to_numbers(api: Api, people: People):
    answer = await api.put("/profile/update", {"age": "２７"}, await people.influencer())
    assert (answer.status, answer.fields) == (400, {"age"})
