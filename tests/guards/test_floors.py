"""The floors of `make bench` are bare: the loop, the server, the drivers, and SQL constants of this repository."""

import ast
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
FLOORS = sorted((ROOT / "bench" / "floors").glob("*.py"))
BARE = {"tornado", "uvloop", "asyncpg", "orjson", "hiredis"}
COMPOSES_SQL = ("handlers.http.paging", ["with_total"])  # a constant of two constants


def imports_of(tree: ast.AST) -> list[tuple[str, list[str]]]:
    """Return the imported modules, each with the names that are imported from it."""
    found: list[tuple[str, list[str]]] = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, []) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module or "", [alias.name for alias in node.names]))
    return found


def is_bare(module: str, names: list[str]) -> bool:
    top = module.partition(".")[0]
    if top in BARE or top in sys.stdlib_module_names:
        return True
    if module.startswith("bench.floors."):
        return True  # it is checked too
    if (module, names) == COMPOSES_SQL:
        return True
    return top in {"db", "handlers"} and bool(names) and all(name.isupper() for name in names)


def test_floors_import_nothing_but_drivers_and_sql_constants():
    assert len(FLOORS) > 1
    for floor in FLOORS:
        for module, names in imports_of(ast.parse(floor.read_text())):
            assert is_bare(module, names), f"{floor.name} imports {names or 'all'} from {module}"


def test_a_floor_that_takes_more_is_noticed():
    assert not is_bare("services.security.rate_limit", ["RateLimits"])
    assert not is_bare("db.pool", ["Database"])
    assert not is_bare("handlers.http.base", [])
