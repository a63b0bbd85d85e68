"""A shape: the fields of a JSON object, its schema, and the SQL that builds it (shapes.py declares the public ones).

`Message.sql("m")` is an SQL expression that builds the shape's JSON from the row `m`; PostgreSQL's text goes to the
client undecoded. A field reads the column with its own name unless `Sql` gives another expression. In it `{t}` is the
row, `{viewer}` the id of the reader, and any other name in braces an alias inside the expression: it becomes `m__name`,
so that it never hides an alias of the caller.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel


@dataclass(frozen=True)
class Sql:
    """The SQL expression of a field that is not the column of its name; of several, the outermost one applies."""

    expression: str


Time = Annotated[
    str,
    Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$"),
    WithJsonSchema({"type": "string", "format": "date-time"}),
    Sql("iso({t}.{column})"),
]


class Shape(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", serialize_by_alias=True, defer_build=True
    )

    @classmethod
    def sql(cls, t: str, viewer: str = "null::uuid", **given: str) -> str:
        """Return SQL that builds this shape's JSON from row `t`; `given` replaces the expressions of fields."""
        pairs = []
        for name, field in cls.model_fields.items():
            expression = given.pop(name, None) or fill(field_sql(field), t=t, viewer=viewer, column=name)
            pairs.append(f"'{field.alias}', {expression}")
        if given:
            raise TypeError(f"{cls.__name__} has no field {', '.join(given)}")
        return f"json_build_object({', '.join(pairs)})"

    @classmethod
    def row(cls, source: str, **given: str) -> str:
        """Return a scalar subquery with the shape of the row that `source` (`users {u} where …`) returns, or null."""
        return f"(select {cls.sql(source.split()[1], **given)} from {source})"


def fill(expression: str, **values: str) -> str:
    """Replace the names in braces by their values; a name without one is an inner alias, prefixed with `t`."""
    return re.sub(r"\{(\w+)\}", lambda name: values.get(name[1], f"{values['t']}__{name[1]}"), expression)


def field_sql(field: Any) -> str:
    found = [mark for mark in field.metadata if isinstance(mark, Sql)] or find_marks(field.annotation)
    return found[-1].expression if found else "{t}.{column}"


def find_marks(annotation: Any) -> list[Sql]:
    return [
        mark
        for argument in get_args(annotation)
        for mark in ([argument] if isinstance(argument, Sql) else find_marks(argument))
    ]
