"""Swagger UI's files from its package, so that the page at /docs loads nothing from other hosts."""

from importlib.util import find_spec
from pathlib import Path

FILES = ("swagger-ui.css", "swagger-ui-bundle.js")


def read_assets() -> dict[str, bytes]:
    spec = find_spec("swagger_ui")
    assert spec and spec.submodule_search_locations
    folder = Path(spec.submodule_search_locations[0]) / "static"
    return {name: (folder / name).read_bytes() for name in FILES}
