"""Access tokens that the server has not issued."""

from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from server import Instance
from tests.helpers.factories import Person


def forge(instance: Instance, person: Person, **changes: Any) -> str:
    """Return a person's access token with changed claims, secret or algorithm. None omits a claim."""
    secret = changes.pop("secret", instance.settings.jwt_access_secret.get_secret_value())
    algorithm = changes.pop("algorithm", "HS256")
    now = datetime.now(UTC)
    claims = {
        "userId": person.id,
        "role": person.role,
        "sid": str(person.session_id),
        "typ": "access",
        "iat": now,
        "exp": now + timedelta(minutes=5),
        **changes,
    }
    return jwt.encode({key: value for key, value in claims.items() if value is not None}, secret, algorithm=algorithm)
