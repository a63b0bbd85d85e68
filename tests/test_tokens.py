"""Access tokens are verified once and remembered; that they expire is not forgotten."""

import time
from types import SimpleNamespace
from uuid import uuid4

import pytest

from services.tokens import TokenError, TokenExpired, Tokens


def test_a_remembered_token_expires_all_the_same(settings, monkeypatch):
    tokens = Tokens(settings)
    user_id, session_id = str(uuid4()), str(uuid4())
    token = tokens.access(user_id, "SALON", session_id)
    assert tokens.read_access(token) == tokens.read_access(token)
    assert tokens.read_access(token)[:2] == (user_id, session_id)
    at_its_end = time.time() + tokens.access_seconds + 1
    monkeypatch.setattr("services.tokens.time", SimpleNamespace(time=lambda: at_its_end))
    with pytest.raises(TokenExpired):
        tokens.read_access(token)


def test_what_is_refused_is_not_remembered(settings):
    tokens = Tokens(settings)
    for number in range(3):
        with pytest.raises(TokenError):
            tokens.read_access(f"forged.{number}")
    assert tokens._access_claims.cache_info().currsize == 0
