"""The product's files, found recursively, so that a guard covers a file wherever it is."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("db", "services", "realtime", "handlers", "jobs")


def files_of(package: str) -> list[Path]:
    """Return the package's Python files, relative to the repository."""
    return sorted(path.relative_to(ROOT) for path in (ROOT / package).rglob("*.py"))


FILES = [Path("settings.py"), *(file for package in PACKAGES for file in files_of(package))]


def read(file: Path) -> str:
    return (ROOT / file).read_text()


def parse(file: Path) -> ast.Module:
    return ast.parse(read(file))


def module_name(file: Path) -> str:
    return ".".join(file.with_suffix("").parts).removesuffix(".__init__")


def imports(file: Path) -> set[str]:
    """Return the dotted names that a file imports; `from a import b` gives both `a` and `a.b`."""
    found: set[str] = set()
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found
