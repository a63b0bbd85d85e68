"""`.venv/bin/python -m services.new_secrets` prints new secrets, as lines for an env file.

It needs the standard library alone, so `make secrets` runs it before anything is installed. Passwords of databases have
letters and digits only, because they are part of URLs.
"""

import base64
import secrets
import sys

# The name of each secret, and how its 32 random bytes are written.
SECRETS = ("JWT_ACCESS_SECRET", "JWT_REFRESH_SECRET", "ENCRYPTION_KEY", "POSTGRES_PASSWORD", "REDIS_PASSWORD")


def new_secret(name: str) -> str:
    if name == "ENCRYPTION_KEY":
        return base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32)


def main() -> int:
    for name in SECRETS:
        sys.stdout.write(f"{name}={new_secret(name)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
