"""Password hashes by bcrypt, in separate threads, so that the event loop never waits for them."""

import hmac
import time
from collections.abc import Sequence

import bcrypt
from zxcvbn.frequency_lists import FREQUENCY_LISTS

from services.metrics import BCRYPT_REFUSED
from services.security.priority_threads import PriorityThreads, TooBusy

MIN_BYTES = 8
MAX_BYTES = 72  # bcrypt ignores further bytes
THREADS = 2  # bcrypt uses a whole core while it runs
WAIT_SECONDS = 2  # work that would wait longer is refused, and the client retries
COMMON_COUNT = 10_000

COMMON = frozenset(FREQUENCY_LISTS["passwords"][:COMMON_COUNT])


class Passwords:
    def __init__(self, cost: int) -> None:
        self.cost = cost
        began = time.monotonic()
        # Compared if there is no account, so that a missing account takes as long as a wrong password.
        self.dummy_hash = bcrypt.hashpw(b"nobody", bcrypt.gensalt(cost)).decode()
        self.threads = PriorityThreads("bcrypt", THREADS, WAIT_SECONDS, work_seconds=time.monotonic() - began)

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
        salt = hashes[0] if hashes else self.dummy_hash
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
    if password.lower() in COMMON:
        return "This password is among the most common ones; please choose another"
    return None
