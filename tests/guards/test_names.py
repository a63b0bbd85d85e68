"""Each class name is used once in the product, so that a search for it finds one place."""

import ast
from collections import defaultdict
from pathlib import Path

from tests.guards.product import FILES, parse


def classes() -> dict[str, list[Path]]:
    found: dict[str, list[Path]] = defaultdict(list)
    for file in FILES:
        for node in ast.walk(parse(file)):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(file)
    return found


def test_no_class_name_stands_twice():
    twice = {name: [str(file) for file in files] for name, files in classes().items() if len(files) > 1}
    assert twice == {}
