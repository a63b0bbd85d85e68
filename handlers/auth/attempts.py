"""Counting of failed attempts at passwords, codes and tokens."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from db.errors import DomainError, RateLimited
from db.queries.sessions import knows_network
from handlers.http.base import Handler
from services.security.rate_limit import GRANTED, WAIT_SECONDS, Claim

FAILURES = ("INVALID_CREDENTIALS", "INVALID_OTP", "INVALID_TOKEN", "WRONG_PASSWORD")


class AttemptHandler(Handler):
    @asynccontextmanager
    async def count_failures(self, email: str | None = None) -> AsyncIterator[None]:
        """Count the attempt if it fails: per network, per e-mail and network, and per e-mail."""
        claims = [Claim(f"auth:{self.network}", "limit_auth_ip", self.limit("limit_auth_ip"))]
        if email:
            claims.append(Claim(f"auth:{self.network}", f"limit_auth:{email}", self.limit("limit_auth")))
            claims.append(await self.account_claim(email))
        async with self.reserve_attempt(claims):
            yield

    async def account_claim(self, email: str) -> Claim:
        """Count failures from all networks together. A network that has signed in to the account before has a counter
        of its own, so that other people who guess cannot lock the owner out."""
        limit, name = self.limit("limit_auth_account"), "limit_auth_account"
        if limit and await knows_network(self.db, email, self.services.networks.hashes(self.network)):
            name = f"{name}:{self.network}"
        return Claim(f"account:{email}", name, limit)

    @asynccontextmanager
    async def reserve_attempt(self, claims: Sequence[Claim]) -> AsyncIterator[None]:
        """Run an attempt that counts only if it fails. Attempts beyond the allowance wait for those in flight."""
        reservation = await self.services.rate_limits.reserve(claims)
        self.apply(reservation.verdicts, "Too many failed attempts; please try again later")
        if reservation.state != GRANTED:  # those in flight hold all places
            raise RateLimited(WAIT_SECONDS, "Too many attempts at once; please try again in a moment")
        failed = False
        try:
            yield
        except DomainError as error:
            failed = error.code in FAILURES
            raise
        finally:
            await self.services.rate_limits.settle(reservation, failed=failed)
