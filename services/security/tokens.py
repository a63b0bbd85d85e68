"""Access and refresh tokens: HS256 JWTs by PyJWT. The database knows whether their session is valid.

PyJWT imports cryptography. Together they take 10 MB, so they are loaded for the first token.
"""

import time
from contextlib import suppress
from functools import lru_cache
from typing import Any, Literal, NamedTuple
from uuid import UUID

from settings import Settings

ALGORITHM = "HS256"
LEEWAY_SECONDS = 10  # instances' clocks differ: a token may come from one whose clock is ahead
REMEMBERED = 10_000  # access tokens whose signature has been checked; about 1 KB each
Kind = Literal["access", "refresh"]


class TokenError(Exception):
    """The token is malformed, outdated or of the other kind."""


class TokenForged(TokenError):
    """It is a JWT that was not signed with any of our secrets."""


class TokenExpired(TokenError):
    """The signature is valid, but the token has expired."""


class AccessClaims(NamedTuple):
    user_id: str
    session_id: str
    expires_at: int  # seconds since 1970


class RefreshClaims(NamedTuple):
    session_id: str
    generation: int


class Tokens:
    def __init__(self, settings: Settings) -> None:
        self.access_secret = settings.jwt_access_secret.get_secret_value()
        self.refresh_secret = settings.jwt_refresh_secret.get_secret_value()
        self.access_seconds = int(settings.access_token_expires_in.total_seconds())
        self.refresh_seconds = int(settings.refresh_token_expires_in.total_seconds())
        self._access_claims = lru_cache(REMEMBERED)(self._read_access)

    def access(self, user_id: str, role: str, session_id: str, seconds: int | None = None) -> str:
        """Return an access token that is valid for `seconds`, by default for the time in the settings."""
        claims = {"userId": user_id, "role": role, "sid": session_id}
        return self._sign("access", claims, self.access_secret, seconds or self.access_seconds)

    def refresh(self, session_id: str, generation: int, seconds: int | None = None) -> str:
        """Return the refresh token of one generation of a session; each generation works once."""
        claims = {"sid": session_id, "generation": generation}
        return self._sign("refresh", claims, self.refresh_secret, seconds or self.refresh_seconds)

    def read_access(self, token: str) -> AccessClaims:
        claims = self._access_claims(token)  # a refused token is not cached
        if claims.expires_at <= time.time():
            raise TokenExpired
        return claims

    def _read_access(self, token: str) -> AccessClaims:
        claims = self._verify("access", token, self.access_secret)
        try:
            return AccessClaims(str(UUID(claims["userId"])), str(UUID(claims["sid"])), int(claims["exp"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise TokenError from None

    def read_refresh(self, token: str) -> RefreshClaims:
        claims = self._verify("refresh", token, self.refresh_secret)
        try:
            return RefreshClaims(str(UUID(claims["sid"])), int(claims["generation"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            raise TokenError from None

    def _sign(self, kind: Kind, claims: dict[str, Any], secret: str, seconds: int) -> str:
        import jwt

        now = int(time.time())
        return jwt.encode({**claims, "typ": kind, "iat": now, "exp": now + seconds}, secret, algorithm=ALGORITHM)

    def _verify(self, kind: Kind, token: str, secret: str) -> dict[str, Any]:
        import jwt

        try:
            claims = jwt.decode(
                token, secret, algorithms=[ALGORITHM], leeway=LEEWAY_SECONDS, options={"require": ["exp", "iat"]}
            )
            expired = (
                int(claims["exp"]) <= time.time()
            )  # PyJWT's leeway is needed for `iat` and `nbf`, but also extends `exp`
        except jwt.ExpiredSignatureError:
            raise TokenExpired from None
        except (jwt.InvalidSignatureError, jwt.InvalidAlgorithmError):
            raise (TokenError if self._is_ours(token) else TokenForged) from None
        except (jwt.InvalidTokenError, ValueError):
            raise TokenError from None
        if expired:
            raise TokenExpired
        if claims.get("typ") != kind:
            raise TokenError
        return claims

    def _is_ours(self, token: str) -> bool:
        """Return whether one of our secrets signed it. An access token in place of a refresh token is a mistake
        of the client, not a guess."""
        import jwt

        for secret in (self.access_secret, self.refresh_secret):
            with suppress(jwt.InvalidTokenError):
                jwt.api_jws.PyJWS().decode(token, secret, algorithms=[ALGORITHM])
                return True
        return False
