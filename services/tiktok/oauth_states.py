"""The `state` of a sign-in at TikTok: the signed id of a row with user, session and PKCE verifier.

PyJWT is loaded for the first one (services/security/tokens.py).
"""

import hashlib
import hmac
import time
from typing import NamedTuple
from uuid import UUID

from settings import Settings

STATE_SECONDS = 600
ALGORITHM = "HS256"
LABEL = b"beautiful-encer oauth state"
TYPE = "oauth_state"


class StateError(Exception):
    """The state is not signed by this server."""


class StateExpired(StateError):
    """The state is signed by this server, but has expired."""


class OAuthState(NamedTuple):
    id: str
    user_id: str
    session_id: str


def verifier_identity(state_id: str) -> str:
    """Return the identity that the envelope of the PKCE verifier is bound to."""
    return f"oauth_states:{state_id}:verifier"


class OAuthStates:
    def __init__(self, settings: Settings) -> None:
        # Its own key, so that neither a state nor an access token is accepted in place of the other.
        self.key = hmac.digest(settings.jwt_access_secret.get_secret_value().encode(), LABEL, hashlib.sha256)

    def sign(self, state: OAuthState) -> str:
        import jwt

        claims = {"jti": state.id, "sub": state.user_id, "sid": state.session_id, "typ": TYPE}
        return jwt.encode({**claims, "exp": int(time.time()) + STATE_SECONDS}, self.key, algorithm=ALGORITHM)

    def read(self, token: str) -> OAuthState:
        import jwt

        try:
            claims = jwt.decode(token, self.key, algorithms=[ALGORITHM], options={"require": ["exp", "jti", "sub"]})
            if claims["typ"] != TYPE:
                raise StateError
            return OAuthState(str(UUID(claims["jti"])), str(UUID(claims["sub"])), str(UUID(claims["sid"])))
        except jwt.ExpiredSignatureError:
            raise StateExpired from None
        except (jwt.InvalidTokenError, KeyError, ValueError, TypeError, AttributeError):
            raise StateError from None
