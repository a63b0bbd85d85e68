"""Programs that some tests need: tests are skipped where one is missing, and fail where CI has installed them."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from tools.browser import find_browser
from tools.node.packages import install_packages

REQUIRED = "REQUIRE_REAL_PARTS"  # set by .ci/run, which installs the programs: then a missing one is an error


WHOLE = "WHOLE_SUITE"  # set by `make check`; `make test` leaves out the longest tests, and uses smaller data


def whole_suite() -> bool:
    return bool(os.environ.get(WHOLE))


def long_test() -> pytest.MarkDecorator:
    """Mark tests, or one of several params, that take seconds and whose rule a quicker test checks too: `make check`
    runs them, `make test` does not."""
    return pytest.mark.skipif(not whole_suite(), reason=f"`make check` runs this long test, as does {WHOLE}=1")


def skip_unless(allowed: bool, reason: str) -> pytest.MarkDecorator:
    """Skip where this machine lacks what tests need; where CI requires all of them, its absence is an error."""
    if not allowed and os.environ.get(REQUIRED):
        raise RuntimeError(f"{reason}, or unset {REQUIRED} to skip the tests that need it")
    return pytest.mark.skipif(not allowed, reason=reason)


def find_program(name: str) -> str | None:
    """Return the path of a program, also where the PATH of an ordinary user leaves out the folders of servers."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


def needs_program(name: str, package: str) -> pytest.MarkDecorator:
    """Mark tests that run a real program: `@needs_program("nginx", package="nginx")`, or `pytestmark = …`."""
    return skip_unless(find_program(name) is not None, f"{name} is missing: install the package {package}")


def needs_npm() -> pytest.MarkDecorator:
    """Mark tests that run npm packages; the first one installs them (tools/node)."""
    try:
        install_packages()
    except RuntimeError as error:
        if os.environ.get(REQUIRED):
            raise
        return pytest.mark.skipif(True, reason=str(error).splitlines()[0])
    return pytest.mark.skipif(False, reason="")


def needs_browser() -> pytest.MarkDecorator:
    """Mark tests that open pages; without a browser on this machine, the first one downloads it (tools/browser.py)."""
    try:
        find_browser()
    except RuntimeError as error:
        if os.environ.get(REQUIRED):
            raise
        return pytest.mark.skipif(True, reason=str(error))
    return pytest.mark.skipif(False, reason="")


def needs_root() -> pytest.MarkDecorator:
    return pytest.mark.skipif(os.geteuid() != 0, reason="only root has a system user for PostgreSQL")


def needs_namespace() -> pytest.MarkDecorator:
    """Mark tests that mount another /etc; containers often refuse that."""
    mount = ["unshare", "-m", "mount", "--bind", "/etc", "/etc"]
    allowed = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    return skip_unless(allowed, "root and a mount namespace are needed: unshare -m is refused")


def needs_small_disk() -> pytest.MarkDecorator:
    """Mark tests that fill a disk, which root mounts for them; containers often refuse that as well."""
    mount = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=1m", "none", "/mnt"]
    allowed = os.geteuid() == 0 and subprocess.run(mount, capture_output=True).returncode == 0
    return skip_unless(allowed, "root is needed that may mount a small disk")


# What tests/deploy/boot does first.
TRY_TO_BOOT = """
    mount -t tmpfs none /mnt; mkdir /mnt/upper /mnt/work /mnt/root
    mount -t overlay -o lowerdir=/,upperdir=/mnt/upper,workdir=/mnt/work none /mnt/root
"""


def can_boot() -> bool:
    """Return whether this machine allows the namespaces, mounts and control groups of tests/helpers/machine.py."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    groups = [Path(mount[1]) for mount in mounts if mount[2] == "cgroup2"]
    try:
        probe = groups[0] / f"encer-probe-{os.getpid()}"
        probe.mkdir()
        probe.rmdir()
    except (IndexError, OSError):
        return False
    namespaces = ["unshare", "-m", "-p", "-f", "-n", "-u", "-i", "-C"]
    return subprocess.run([*namespaces, "sh", "-euc", TRY_TO_BOOT], capture_output=True).returncode == 0


def needs_machine(*packages: str) -> pytest.MarkDecorator:
    """Mark tests that start a Debian machine in namespaces, with the packages of this one.

    Only .ci/run runs them, because they take minutes."""
    if not os.environ.get(REQUIRED):
        return pytest.mark.skipif(True, reason=f"takes minutes: {REQUIRED}=1 runs it, as .ci/run does")
    if os.geteuid() != 0 or not can_boot():
        return skip_unless(False, "root, namespaces, overlays and a control group for the test are needed")
    missing = [name for name in packages if subprocess.run(["dpkg", "-s", name], capture_output=True).returncode != 0]
    return skip_unless(not missing, f"install the packages {' '.join(missing)}")
