"""One-time codes: their bounds, the count of wrong codes over all instances, and the codes that reset a password.

Wrong codes are counted by address and purpose, for addresses with and without an account alike, so that `attemptsLeft`
does not tell them apart. The counter is also the lock of an address: a transaction that issues or compares a code
starts or locks the counter first, so that these transactions run one after the other.
"""

from typing import Literal

from db.pool import Queries, Transaction

Purpose = Literal["VERIFY", "RESET"]

OTP_MINUTES = 10
OTP_ATTEMPTS = 5

START_ATTEMPTS = f"""
    insert into otp_attempts (email, purpose, expires_at) values ($1, $2, now() + interval '{OTP_MINUTES} minutes')
    on conflict (email, purpose) do update set attempts = 0, expires_at = excluded.expires_at
"""

# Without a code that was just issued, a counter starts with the first wrong code, and ends after the life of a code.
LOCK_ATTEMPTS = f"""
    insert into otp_attempts as a (email, purpose, expires_at)
    values ($1, $2, now() + interval '{OTP_MINUTES} minutes')
    on conflict (email, purpose) do update set
        attempts = case when a.expires_at > now() then a.attempts else 0 end,
        expires_at = case when a.expires_at > now() then a.expires_at else excluded.expires_at end
"""

COUNT_ATTEMPT = f"""
    update otp_attempts set attempts = least(attempts + 1, {OTP_ATTEMPTS}) where email = $1 and purpose = $2
    returning {OTP_ATTEMPTS} - attempts
"""

PUT_RESET_CODE = f"""
    insert into otps (user_id, purpose, code_hash, expires_at)
    values ($1, 'RESET', $2, now() + interval '{OTP_MINUTES} minutes')
    on conflict (user_id, purpose) do update
    set code_hash = excluded.code_hash, attempts = 0, created_at = now(), expires_at = excluded.expires_at
"""

# A used code becomes invalid by '-infinity'; a wrong one is counted.
TRY_RESET_CODE = f"""
    update otps o set
        attempts = o.attempts + (o.code_hash <> $2)::int,
        expires_at = case when o.code_hash = $2 and $3 then '-infinity' else o.expires_at end
    from users u
    where u.id = o.user_id and lower(u.email) = $1 and u.status = 'ACTIVE'
        and o.purpose = 'RESET' and o.expires_at > now() and o.attempts < {OTP_ATTEMPTS}
    returning case when o.code_hash = $2 then o.user_id end
"""


async def start_attempts(tx: Transaction, email: str, purpose: Purpose) -> None:
    """Lock and reset the counter of an address, before a code is issued; also for addresses without an account."""
    await tx.execute(START_ATTEMPTS, email, purpose)


async def lock_attempts(tx: Transaction, email: str, purpose: Purpose) -> None:
    """Lock the counter of an address, before a code is compared."""
    await tx.execute(LOCK_ATTEMPTS, email, purpose)


async def count_attempt(tx: Transaction, email: str, purpose: Purpose) -> int:
    """Count a wrong code; return how many attempts are left."""
    value: int = await tx.fetchval(COUNT_ATTEMPT, email, purpose)
    return value


async def put_reset_code(queries: Queries, user_id: str, digest: bytes) -> None:
    """Store a new code; the former code becomes invalid."""
    await queries.execute(PUT_RESET_CODE, user_id, digest)


async def try_reset_code(tx: Transaction, email: str, digest: bytes, *, use: bool) -> str | None:
    """Return the id of the account with this code, and invalidate the code if `use`; count a wrong code."""
    value: str | None = await tx.fetchval(TRY_RESET_CODE, email, digest, use)
    return value
