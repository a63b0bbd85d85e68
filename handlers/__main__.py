"""`.venv/bin/python -m handlers` prints the table of routes: method, path, access, handler, file and line."""

import inspect
from collections.abc import Iterator
from pathlib import Path

from handlers.http.router import Route
from handlers.routes import make_table
from services.logs import write_out

ROOT = Path(__file__).parents[1]


def lines(routes: list[Route]) -> Iterator[str]:
    """Return a line per route, sorted by path. The line of an alias ends with its canonical route."""
    for route in sorted(routes, key=lambda route: route.path):
        function, file, line = find_source(route)
        alias = f"  = {route.alias_of.method} {route.alias_of.path}" if route.alias_of else ""
        access = route.endpoint.access.name
        yield f"{route.method:7}{route.path:58}{access:22}{function:34}{file}:{line}{alias}"


def find_source(route: Route) -> tuple[str, str, int]:
    """Return the handler's method as `Class.method`, its file relative to the repository, and its line."""
    code = inspect.unwrap(getattr(route.handler, route.method.lower()))
    file = Path(inspect.getfile(code)).relative_to(ROOT)
    return code.__qualname__, str(file), code.__code__.co_firstlineno


if __name__ == "__main__":
    for line in lines(make_table().routes):
        write_out(line)
