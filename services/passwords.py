"""Password hashes by bcrypt, in a small pool of threads of their own so that no request but the asking one waits."""

import asyncio
import hmac
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import bcrypt
from zxcvbn.frequency_lists import FREQUENCY_LISTS

MIN_BYTES = 8
MAX_BYTES = 72  # bcrypt reads no further
THREADS = 2  # bcrypt takes a core for as long as it runs
WAITING = 64  # about ten seconds of work at cost 12; whoever comes after that is better told to come back
COMMON_COUNT = 10_000

COMMON = frozenset(FREQUENCY_LISTS["passwords"][:COMMON_COUNT])


class TooBusy(Exception):
    """More passwords wait to be hashed than can be in reasonable time."""


class Passwords:
    def __init__(self, cost: int) -> None:
        self.cost = cost
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="bcrypt")
        self.waiting = 0
        # Compared with when there is no account, so that its absence takes as long as a wrong password.
        self.nobody = bcrypt.hashpw(b"nobody", bcrypt.gensalt(cost)).decode()

    async def hash(self, password: str, salt_seed: bytes | None = None) -> str:
        """Return the bcrypt hash. Hashes of one `salt_seed` have the same salt, so that `find` can compare them all."""
        salt = bcrypt.gensalt(self.cost) if salt_seed is None else self._salt(salt_seed)
        hashed = await self._in_thread(bcrypt.hashpw, password.encode(), salt)
        return hashed.decode()

    def _salt(self, seed: bytes) -> bytes:
        # bcrypt's alphabet contains the hexadecimal digits; its 22nd character holds two bits only. 84 bits of a keyed
        # hash are enough to keep the salts of addresses apart.
        return f"$2b${self.cost:02d}${seed.hex()[:21]}.".encode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether they belong together; takes as long when there is no hash."""
        return await self.find(password, [password_hash] if password_hash else []) is not None

    async def find(self, password: str, hashes: Sequence[str]) -> str | None:
        """Return the one of `hashes`, which have one salt, that belongs to this password. bcrypt runs once, however
        many there are, also for none: the time does not tell."""
        # A longer password was never accepted; its first 72 bytes must not pass for it.
        fits = len(password.encode()) <= MAX_BYTES
        salt = hashes[0] if hashes else self.nobody
        hashed = await self._in_thread(bcrypt.hashpw, password.encode()[:MAX_BYTES], salt.encode())
        same = [each for each in hashes if hmac.compare_digest(each.encode(), hashed)]
        return same[0] if same and fits else None

    async def _in_thread(self, work, *args: bytes):
        if self.waiting >= WAITING:
            raise TooBusy
        self.waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.threads, work, *args)
        finally:
            self.waiting -= 1

    def close(self) -> None:
        self.threads.shutdown(wait=False, cancel_futures=True)


def weakness(password: str, email: str) -> str | None:
    """Why this password is not accepted, as a sentence, or None."""
    if not MIN_BYTES <= len(password.encode()) <= MAX_BYTES:
        return f"Password must be {MIN_BYTES} to {MAX_BYTES} bytes long; a Japanese character has 3 bytes"
    if password.strip().lower() == email.strip().lower():
        return "Password must not be your e-mail address"
    if password.lower() in COMMON:
        return "This password is among the most common ones; please choose another"
    return None
