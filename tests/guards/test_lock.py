"""The lock files hold every listed package in the listed version, with hashes, and name no registry."""

import re
from pathlib import Path

import pytest

from tests.helpers.processes import ROOT

LISTED = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;]+)", re.MULTILINE)
LOCKED = re.compile(r"^([a-z0-9-]+)==(\S+)[^\\\n]*((?: \\\n +--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def listed(file: Path) -> dict[str, str]:
    lines = [line for line in file.read_text().splitlines() if line and not line.startswith(("#", "-r "))]
    found = {normal(name): version for name, version in LISTED.findall("\n".join(lines))}
    assert len(found) == len(lines), f"{file.name}: every line pins one package with =="
    return found


def locked(file: Path) -> dict[str, str]:
    text = file.read_text()
    found = {name: version for name, version, _ in LOCKED.findall(text)}
    assert len(found) == len(re.findall(r"^\S", text, re.MULTILINE)), f"{file.name}: a line has no version or no hash"
    return found


@pytest.mark.parametrize("name", ["requirements", "requirements-dev"])
def test_the_lock_holds_what_is_listed(name):
    wanted = listed(ROOT / "requirements.txt")
    if name == "requirements-dev":
        wanted |= listed(ROOT / "requirements-dev.txt")
    in_lock = locked(ROOT / f"{name}.lock")
    other = {package: version for package, version in wanted.items() if in_lock.get(package) != version}
    assert not other, f"{name}.lock differs; run `make lock`"
    assert "://" not in (ROOT / f"{name}.lock").read_text()


def test_both_locks_agree():
    runtime = locked(ROOT / "requirements.lock")
    development = locked(ROOT / "requirements-dev.lock")
    assert runtime.items() <= development.items()
