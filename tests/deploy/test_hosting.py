"""docs/hosting.md: the server starts with the settings of the page, except for its database and Redis."""

import re
import urllib.request
from pathlib import Path

from dotenv import dotenv_values

from settings import Settings, load_settings
from tests.helpers.processes import ROOT, server_process

PAGE = (ROOT / "docs" / "hosting.md").read_text()


def read_page(tmp_path: Path) -> dict[str, str]:
    [block] = re.findall(r"```ini\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "page.env").write_text(block)
    return {name: value or "" for name, value in dotenv_values(tmp_path / "page.env").items()}


def test_the_page_names_settings_that_production_accepts(tmp_path, monkeypatch):
    found = read_page(tmp_path)
    assert {name.lower() for name in found} <= set(Settings.model_fields)
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PORT", "10000")  # as the host does
    assert load_settings(_env_file=None).port == 10000


def test_the_server_starts_with_the_settings_of_the_page(servers, tmp_path):
    found = read_page(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL"):  # those of this test
        del found[name]
    with server_process(servers, tmp_path, LIMIT_GENERAL="1000/15m", **found) as server:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health/ready", timeout=30) as answer:
            assert answer.status == 200
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=30) as answer:
            assert answer.status == 200
