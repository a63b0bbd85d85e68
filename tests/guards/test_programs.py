"""The product runs programs by `run_program`, whose errors contain the program's own error text."""

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]
PRODUCT = ("db", "services", "realtime", "handlers", "jobs", "deploy", "examples")


def hides_errors(call: ast.Call) -> bool:
    """Return whether this call of `subprocess` raises an error without the program's text."""
    arguments = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    name = ast.unparse(call.func)
    return name.startswith("subprocess.check_") or (name == "subprocess.run" and arguments.get("check") == "True")


def test_no_error_of_a_program_is_hidden():
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for folder in PRODUCT
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and hides_errors(node)
    ]
    assert found == []


def test_packaged_servers_run_in_folders_that_their_system_user_may_enter():
    """In other folders root's data is stored under /var/lib, where tests do not remove it."""
    files = [
        ROOT / "tests" / "conftest.py",
        *(file for folder in ("bench", "examples", "tests/drills") for file in (ROOT / folder).rglob("*.py")),
    ]
    assert [file.name for file in files if "import tempfile" in file.read_text()] == []
