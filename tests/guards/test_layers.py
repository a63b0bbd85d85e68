"""Imports go one way (docs/architecture.md)."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = ("settings", "services", "db", "realtime", "handlers", "jobs", "server")

MAY_IMPORT = {
    "settings": {"db.address"},  # a leaf: see below
    "services": {"services", "settings", "db.error_codes", "db.outage"},
    "db": {"db", "settings"},
    "realtime": {
        "realtime",
        "db",
        "settings",
        "services.security.tokens",
        "services.security.rate_limit",
        "services.metrics",
        "services.redis_client",
    },
    "handlers": {"handlers", "db", "services", "settings", "realtime.events", "realtime.publisher"},
    "jobs": {"jobs", "db", "services", "settings", "realtime.events", "realtime.publisher"},
}
# Composition roots: programs of their own, and where the parts are put together.
COMPOSITION = {
    "handlers/__init__.py": {"realtime.sockets.socket"},
    "services/commands.py": {"db.connect", "db.pool", "db.packaged.programs"},
    "handlers/http/application.py": {"realtime"},
    "handlers/http/openapi.py": {"realtime.sockets.commands", "realtime.event_shapes", "realtime.sockets.frames"},
}
SHARED_HANDLERS = {
    "aliases", "api_description", "application", "attempts", "base", "bodies", "codes", "endpoint", "errors", "files",
    "paging", "passwords", "router",
}  # fmt: skip


def imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.split(".")[0] in ROOMS}


def allowed(name: str, may: set[str]) -> bool:
    return any(name == room or name.startswith(room + ".") or room.startswith(name + ".") for room in may)


def files_of(room: str) -> list[Path]:
    return [path.relative_to(ROOT) for path in [ROOT / f"{room}.py", *(ROOT / room).rglob("*.py")] if path.exists()]


FILES = [file for room in MAY_IMPORT for file in files_of(room)]
HANDLERS = [file for file in files_of("handlers") if file.name not in ("__init__.py", "__main__.py")]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_imports_keep_their_direction(file: Path):
    room = file.parts[0].removesuffix(".py")
    may = MAY_IMPORT[room] | COMPOSITION.get(str(file), set())
    if is_program(ROOT / file):
        return
    assert {name for name in imports(ROOT / file) if not allowed(name, may)} == set()


def test_what_settings_import_imports_nothing_of_the_project():
    assert imports(ROOT / "db" / "address.py") == set()


def is_program(path: Path) -> bool:
    """`.venv/bin/python -m db.migrate` and its like put parts together themselves."""
    return path.name == "__main__.py" or 'if __name__ == "__main__"' in path.read_text()


@pytest.mark.parametrize("file", HANDLERS, ids=str)
def test_handlers_do_not_import_one_another(file: Path):
    others = {name.split(".")[1] for name in imports(ROOT / file) if name.startswith("handlers.")}
    assert others <= SHARED_HANDLERS


def test_nothing_imports_the_server():
    assert [file for file in FILES if any(name.split(".")[0] == "server" for name in imports(ROOT / file))] == []
