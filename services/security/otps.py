"""One-time codes: six digits from the system's CSPRNG, of which only a keyed hash is kept."""

import hashlib
import hmac
import secrets

from db.setting_types import decode_encryption_key
from settings import Settings


class Otps:
    def __init__(self, settings: Settings) -> None:
        # Its own purpose for the key: this key hashes only codes.
        master = decode_encryption_key(settings.encryption_key.get_secret_value())
        self.key = hashlib.blake2b(b"otp", key=master, digest_size=32).digest()

    def new(self) -> str:
        return f"{secrets.randbelow(1_000_000):06d}"

    def digest(self, email: str, purpose: str, code: str) -> bytes:
        return hmac.digest(self.key, f"{email}:{purpose}:{code}".encode(), "sha256")

    def salt(self, email: str) -> bytes:
        """Return the salt seed of an address, so that one run of bcrypt compares the passwords of all its sign-ups."""
        return hmac.digest(self.key, f"{email}:SALT".encode(), "sha256")
