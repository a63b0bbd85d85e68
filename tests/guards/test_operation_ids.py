"""Names of operations do not change, because generated clients name their functions after them."""

import re
from pathlib import Path

from handlers.http.description.operation_ids import OPERATION_IDS
from handlers.routes import make_table

LIST = Path(__file__).with_name("operation_ids.txt")
NAME = re.compile(r"[a-z]+(?:[A-Z][a-z]*)*")


def test_every_route_has_a_name_and_every_name_a_route():
    routes = {(route.path, route.method) for route in make_table().routes if route.alias_of is None}
    named = {(path, method) for path, methods in OPERATION_IDS.items() for method in methods}
    assert named == {(path.removeprefix("/api/v1"), method) for path, method in routes}


def test_names_are_short_and_unlike():
    names = [name for methods in OPERATION_IDS.values() for name in methods.values()]
    assert len({name.lower() for name in names}) == len(names)
    assert [name for name in names if not NAME.fullmatch(name) or len(name) > 26] == []


def test_no_name_changes():
    """A new route adds its line to the list. A changed or missing line breaks generated clients."""
    table = sorted(
        f"{name} {method} {path}" for path, methods in OPERATION_IDS.items() for method, name in methods.items()
    )
    assert LIST.read_text().splitlines() == table
