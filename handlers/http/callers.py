"""The caller of a request: the user of its access token."""

from db.errors import NotAuthenticated
from db.queries.sessions import Caller, Sessions
from services.security.tokens import TokenError, TokenExpired, Tokens


async def identify(authorization: str, tokens: Tokens, sessions: Sessions) -> Caller | NotAuthenticated:
    """Return the caller whose access token the Authorization header contains, else the error that refuses it."""
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token:
        return NotAuthenticated()
    try:
        claims = tokens.read_access(token.strip())
    except TokenExpired:
        return NotAuthenticated("Your session has expired; please sign in again", code="TOKEN_EXPIRED")
    except TokenError:
        return NotAuthenticated("Please sign in again", code="INVALID_TOKEN")
    caller = await sessions.caller(claims.session_id, claims.user_id)
    return caller or NotAuthenticated("Please sign in again", code="INVALID_TOKEN")
