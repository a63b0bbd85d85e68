"""README.md and .env.example agree with settings.py."""

import re
from datetime import timedelta

import pytest

from settings import Limit, Settings
from tests.helpers.processes import ROOT
from tools.settings_table import README, with_table, write_value

EXAMPLES = {"PUBLIC_URL", "DATABASE_URL", "REDIS_URL", "IMAGE_PROXY_HOSTS"}  # .env.example shows no default of these


def test_readme_has_the_current_table_of_settings():
    readme = README.read_text()
    assert with_table(readme) == readme, "run: make settings"
    assert "| `PORT` | `3000` | " in readme
    assert "| `DATABASE_URL` | **required in production** | " in readme
    assert "`None`" not in readme


def test_every_setting_has_a_meaning_that_is_a_sentence():
    meanings = {name: field.description or "" for name, field in Settings.model_fields.items()}
    assert {name for name, meaning in meanings.items() if not re.fullmatch(r"[A-Z`0-9].*\.", meaning)} == set()


def test_the_example_has_the_defaults():
    example = (ROOT / ".env.example").read_text()
    shown = dict(re.findall(r"^# ([A-Z_]+)=(.*?)(?: +#.*)?$", example, re.MULTILINE))
    defaults = {
        name.upper(): "" if field.is_required() else write_value(field.default)
        for name, field in Settings.model_fields.items()
    }
    assert {name: shown[name] for name in shown if name not in EXAMPLES} == {
        name: defaults[name] for name in shown if name not in EXAMPLES
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(milliseconds=250), "250ms"),
        (timedelta(days=7), "7d"),
        (timedelta(minutes=90), "90m"),
        (Limit(60, 60, 30), "60/1m+30"),
        (True, "true"),
        (None, ""),
        (["a", "b"], "a,b"),
    ],
)
def test_values_are_written_as_an_env_file_has_them(value, text):
    assert write_value(value) == text
