"""docs/api.md names every code, word, event, command and limit that clients can meet."""

from pathlib import Path

import pytest

from db.error_codes import ERROR_CODES
from db.schemas.vocabularies import CATEGORIES, PREFECTURES
from realtime.events import EVENTS
from realtime.sockets.commands import COMMANDS
from settings import Settings

PAGE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()
LIMITS = [name.upper() for name in Settings.model_fields if name.startswith("limit_")]
CODES = [f"`{name}`" for name in (*ERROR_CODES, *EVENTS, *COMMANDS, *LIMITS)]


@pytest.mark.parametrize("word", [*CODES, *CATEGORIES, *PREFECTURES])
def test_the_page_names_it(word: str):
    assert word in PAGE
