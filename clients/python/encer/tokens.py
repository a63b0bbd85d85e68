"""Access and refresh tokens: where they are stored, and when they are renewed."""

import asyncio
import base64
import json
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

from .errors import NotSignedIn, Unavailable, WrongServer
from .types import Tokens

CLOSE_SECONDS = 3.0  # that `close` waits for a refresh, because its answer has the only token that still works
SIGN_INS = 5  # during the refreshes of one call; with more, the program is at fault
TOKEN = re.compile(r"[\w.~+-]+", re.ASCII)
LATEST = 1e15  # milliseconds of a clock, in the year 33658
MARGIN_SECONDS = (
    30.0  # an access token is renewed this long before it expires, or after two thirds of a shorter lifetime
)


class TokenStore(Protocol):
    def load(self) -> Tokens | None: ...

    def save(self, tokens: Tokens | None) -> None: ...


class MemoryTokens:
    """Tokens that end with the program."""

    def __init__(self, tokens: Tokens | None = None) -> None:
        self.tokens = tokens

    def load(self) -> Tokens | None:
        return self.tokens

    def save(self, tokens: Tokens | None) -> None:
        self.tokens = tokens


class FileTokens:
    """Tokens in a file that only its owner may read. Use one file per program: each refresh token works once."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    def load(self) -> Tokens | None:
        try:
            tokens: Tokens = json.loads(self.path.read_text())
        except (FileNotFoundError, ValueError):  # without readable tokens the user signs in again
            return None
        return tokens

    def save(self, tokens: Tokens | None) -> None:
        if tokens is None:
            self.path.unlink(missing_ok=True)
            return
        beside = self.path.with_name(f"{self.path.name}.new")
        with open(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(tokens, file)
        beside.replace(self.path)  # readers see the old or the new tokens, never a part of them


def is_pair(tokens: Any) -> bool:
    """Return whether these are tokens, and the access token is valid in a header."""
    if not isinstance(tokens, dict):
        return False
    access, refresh = tokens.get("accessToken"), tokens.get("refreshToken")
    return isinstance(access, str) and TOKEN.fullmatch(access) is not None and isinstance(refresh, str)


def claims_of(token: str) -> tuple[float, float, str]:
    """Return `exp`, `iat` and `userId` of a JWT without checking its signature; a malformed one is 0 or ""."""
    try:
        part = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError):
        claims = None
    found = claims if isinstance(claims, dict) else {}
    user = found.get("userId")
    return number_of(found.get("exp")), number_of(found.get("iat")), user if isinstance(user, str) else ""


def number_of(value: Any) -> float:
    """Return a number that a clock may have; 0 for anything else."""
    return float(value) if isinstance(value, int | float) and 0 <= value <= LATEST else 0.0


class Session:
    """The tokens of one user. Concurrent callers share one refresh."""

    def __init__(self, store: TokenStore, refresh: Callable[[str], Awaitable[dict[str, Any]]]) -> None:
        self.store = store
        self.refresh = refresh
        self.lock = asyncio.Lock()
        self.finding: set[asyncio.Task[str]] = set()
        # When the newest token expires, by this machine's monotonic clock, because its wall clock may be wrong.
        self.newest: tuple[str, float] = ("", 0.0)

    async def token(self, refused: str | None = None) -> str:
        """Return an access token that stays valid for a while; a new one if `refused` is the current one.

        Raises NotSignedIn. A refresh continues if the caller is cancelled, because a refresh token works once."""
        finding = asyncio.create_task(self._find(refused))
        self.finding.add(finding)
        finding.add_done_callback(self._found)
        return await asyncio.shield(finding)

    async def close(self) -> None:
        """Wait until no refresh is running."""
        if self.finding:
            await asyncio.wait(self.finding, timeout=CLOSE_SECONDS)

    def _found(self, finding: asyncio.Task[str]) -> None:
        self.finding.discard(finding)
        if not finding.cancelled():
            finding.exception()  # the caller may have been cancelled, and asyncio logs errors that nothing retrieves

    async def _find(self, refused: str | None) -> str:
        async with self.lock:
            for _ in range(SIGN_INS):
                tokens = self.store.load()
                if tokens is None:
                    raise NotSignedIn("You are not signed in. Please sign in first.")
                if not is_pair(tokens):
                    raise NotSignedIn("The stored token is malformed. Please sign in again.")
                access, sent = tokens["accessToken"], tokens["refreshToken"]
                if access != refused and self.seconds_to_renewal(access, tokens.get("expiresAt")) > 0:
                    return access
                try:
                    renewed = await self.refresh(sent)
                except NotSignedIn:
                    if self._holds(sent):
                        self.store.save(None)
                        raise
                else:
                    if self._holds(sent):
                        self.keep(renewed)
                        return self.newest[0]
                # A sign-in or sign-out has replaced the tokens meanwhile, so the answer is of the former session.
            raise Unavailable("The stored tokens change too often. Try again in a moment.")

    def _holds(self, refresh_token: str) -> bool:
        tokens = self.store.load()
        return is_pair(tokens) and tokens is not None and tokens["refreshToken"] == refresh_token

    def user_id(self) -> str:
        """Return the id of the user whose tokens are stored; "" without tokens."""
        tokens = self.store.load()
        return claims_of(tokens["accessToken"])[2] if tokens and is_pair(tokens) else ""

    def keep(self, answer: dict[str, Any]) -> None:
        """Store the tokens of a sign-in or refresh. Raises WrongServer if these are not tokens."""
        seconds = answer.get("expiresIn")
        if not is_pair(answer) or not isinstance(seconds, int | float) or not abs(seconds) <= LATEST:
            raise WrongServer("The answer has no tokens: it is not of a Beautiful Encer server. Check the base URL.")
        self.newest = (answer["accessToken"], time.monotonic() + seconds)
        self.store.save(
            {
                "accessToken": answer["accessToken"],
                "refreshToken": answer["refreshToken"],
                "expiresAt": int((time.time() + seconds) * 1000),
            }
        )

    def seconds_to_renewal(self, token: str, expires_at: float | None = None) -> float:
        expires, issued, _ = claims_of(token)
        until = expires if expires_at is None else number_of(expires_at) / 1000
        left = self.newest[1] - time.monotonic() if token == self.newest[0] else until - time.time()
        return float(left - min(MARGIN_SECONDS, (expires - issued) / 3))
