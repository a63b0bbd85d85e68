"""Swagger UI's files from its package, so that the page at /docs loads nothing from other hosts."""

from importlib.metadata import distribution
from pathlib import Path

FILES = ("swagger-ui.css", "swagger-ui-bundle.js")


def read_assets() -> dict[str, bytes]:
    folder = Path(str(distribution("swagger-ui-py").locate_file("swagger_ui/static")))
    return {name: (folder / name).read_bytes() for name in FILES}
