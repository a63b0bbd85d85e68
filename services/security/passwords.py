"""Password hashes by bcrypt, in separate threads, so that the event loop never waits for them."""

import hmac
from collections.abc import Sequence
from pathlib import Path

import bcrypt

from services.metrics import BCRYPT_REFUSED
from services.security.priority_threads import PriorityThreads, TooBusy

MIN_BYTES = 8
MAX_BYTES = 72  # bcrypt ignores further bytes
THREADS = 2  # bcrypt uses a whole core while it runs
WAIT_SECONDS = 2  # work that would wait longer is refused, and the client retries
# Seconds for a hash of cost 12; the time doubles with each step. Only the first estimate of waiting times uses it.
COST_12_SECONDS = 0.25
# The 10,000 most common passwords, one on each line (tools/common_passwords.py writes the file). It is searched as one
# text, because a set takes a megabyte, and only sign-ups and new passwords need it.
COMMON = f"\n{Path(__file__).with_name('common_passwords.txt').read_text()}"


class Passwords:
    def __init__(self, cost: int) -> None:
        self.cost = cost
        # Hashed with if there is no account, so that a missing account takes as long as a wrong password.
        self.spare_salt = bcrypt.gensalt(cost).decode()
        self.threads = PriorityThreads(
            "bcrypt", THREADS, WAIT_SECONDS, work_seconds=COST_12_SECONDS * 2.0 ** (cost - 12)
        )

    async def hash(self, password: str, salt_seed: bytes | None = None) -> str:
        """Return the bcrypt hash of a new password; checks of passwords go first. Raises TooBusy.

        Hashes of one `salt_seed` have the same salt, so that `find` can compare them all."""
        salt = bcrypt.gensalt(self.cost) if salt_seed is None else self._salt(salt_seed)
        hashed = await self._bcrypt(password.encode(), salt, urgent=False)
        return hashed.decode()

    async def _bcrypt(self, password: bytes, salt: bytes, *, urgent: bool) -> bytes:
        try:
            return await self.threads.run(bcrypt.hashpw, password, salt, urgent=urgent)
        except TooBusy:
            BCRYPT_REFUSED.inc()
            raise

    def _salt(self, seed: bytes) -> bytes:
        # bcrypt's alphabet contains the hexadecimal digits; its 22nd character holds two bits only. 84 bits of a keyed
        # hash are enough to keep the salts of addresses apart.
        return f"$2b${self.cost:02d}${seed.hex()[:21]}.".encode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Return whether the password matches. It takes as long without a hash. Raises TooBusy."""
        return await self.find(password, [password_hash] if password_hash else []) is not None

    async def find(self, password: str, hashes: Sequence[str]) -> str | None:
        """Return the one of `hashes`, which have one salt, that matches this password. bcrypt runs once for any
        number of hashes, so the time reveals nothing. Raises TooBusy."""
        # A longer password was never accepted; its first 72 bytes alone must not match.
        given, fits = password.encode()[:MAX_BYTES], len(password.encode()) <= MAX_BYTES
        salt = hashes[0] if hashes else self.spare_salt
        hashed = await self._bcrypt(given, salt.encode(), urgent=True)
        same = [each for each in hashes if hmac.compare_digest(each.encode(), hashed)]
        return same[0] if same and fits else None

    @property
    def waiting(self) -> int:
        return self.threads.waiting

    def close(self) -> None:
        self.threads.close()


def weakness(password: str, email: str) -> str | None:
    """Return a sentence that says why this password is not accepted, or None."""
    if not MIN_BYTES <= len(password.encode()) <= MAX_BYTES:
        return f"Password must be {MIN_BYTES} to {MAX_BYTES} bytes long; a Japanese character has 3 bytes"
    if password.strip().lower() == email.strip().lower():
        return "Password must not be your e-mail address"
    if f"\n{password.lower()}\n" in COMMON:
        return "This password is among the most common ones; please choose another"
    return None
