"""Password hashes by bcrypt, in a small pool of threads of their own so that no request but the asking one waits."""

import asyncio
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

    async def hash(self, password: str) -> str:
        hashed = await self._in_thread(bcrypt.hashpw, password.encode(), bcrypt.gensalt(self.cost))
        return hashed.decode()

    async def matches(self, password: str, password_hash: str | None) -> bool:
        """Whether they belong together; takes as long when there is no hash."""
        known = password_hash is not None
        # A longer password was never accepted; its first 72 bytes must not pass for it.
        fits = len(password.encode()) <= MAX_BYTES
        same = await self._in_thread(
            bcrypt.checkpw, password.encode()[:MAX_BYTES], (password_hash or self.nobody).encode()
        )
        return same and known and fits

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
        return f"Password must be {MIN_BYTES} to {MAX_BYTES} bytes long"
    if password.strip().lower() == email.strip().lower():
        return "Password must not be your e-mail address"
    if password.lower() in COMMON:
        return "This password is among the most common ones; please choose another"
    return None
