"""Access tokens are verified once and cached; a cached token still expires."""

import time
from types import SimpleNamespace
from uuid import uuid4

import jwt
import pytest

from services.security.tokens import TokenError, TokenExpired, Tokens


def test_a_remembered_token_expires_all_the_same(settings, monkeypatch):
    tokens = Tokens(settings)
    user_id, session_id = str(uuid4()), str(uuid4())
    token = tokens.access(user_id, "SALON", session_id)
    assert tokens.read_access(token) == tokens.read_access(token)
    assert tokens.read_access(token)[:2] == (user_id, session_id)
    at_its_end = time.time() + tokens.access_seconds + 1
    monkeypatch.setattr("services.security.tokens.time", SimpleNamespace(time=lambda: at_its_end))
    with pytest.raises(TokenExpired):
        tokens.read_access(token)


def test_what_is_refused_is_not_remembered(settings):
    tokens = Tokens(settings)
    for number in range(3):
        with pytest.raises(TokenError):
            tokens.read_access(f"forged.{number}")
    assert tokens._access_claims.cache_info().currsize == 0


def sign(tokens: Tokens, kind: str, **changes: float) -> str:
    """Return a token of ours with these times, in seconds from now."""
    now = time.time()
    times = {"iat": 0, "exp": 60, **changes}
    claims = {"typ": kind, "userId": str(uuid4()), "sid": str(uuid4()), "generation": 1}
    secret = tokens.access_secret if kind == "access" else tokens.refresh_secret
    return jwt.encode({**claims, **{name: now + seconds for name, seconds in times.items()}}, secret, "HS256")


KINDS = [("access", Tokens.read_access), ("refresh", Tokens.read_refresh)]


@pytest.mark.parametrize(("kind", "read"), KINDS)
@pytest.mark.parametrize("claim", ["iat", "nbf"])
def test_clocks_may_differ_by_ten_seconds(settings, monkeypatch, kind, read, claim):
    tokens = Tokens(settings)
    for ahead in (0.05, 1, 9):
        read(tokens, sign(tokens, kind, **{claim: ahead}))
    for ahead in (30, 3600):
        with pytest.raises(TokenError):
            read(tokens, sign(tokens, kind, **{claim: ahead}))


@pytest.mark.parametrize(("kind", "read"), KINDS)
@pytest.mark.parametrize("ago", [0, 1, 5, 9, 11, 3600])
def test_the_end_of_a_token_is_exact(settings, kind, read, ago):
    tokens = Tokens(settings)
    with pytest.raises(TokenExpired):
        read(tokens, sign(tokens, kind, iat=-7200, exp=-ago))


@pytest.mark.parametrize(("kind", "read"), KINDS)
@pytest.mark.parametrize("end", ["soon", None, [1], 1e400])
def test_an_end_that_is_no_time_is_refused(settings, kind, read, end):
    tokens = Tokens(settings)
    token = jwt.encode(
        {"typ": kind, "sid": str(uuid4()), "userId": str(uuid4()), "generation": 1, "iat": 1, "exp": end},
        tokens.access_secret if kind == "access" else tokens.refresh_secret,
        "HS256",
    )
    with pytest.raises(TokenError):
        read(tokens, token)
