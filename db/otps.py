"""One-time codes in the database: at most one alive per account and purpose, tries counted over all instances."""

from typing import Literal, NamedTuple

from db.pool import Queries

Purpose = Literal["VERIFY", "RESET"]

PUT_OTP = """
    insert into otps (user_id, purpose, code_hash, expires_at)
    values ($1, $2, $3, now() + make_interval(mins => $4))
    on conflict (user_id, purpose) do update
    set code_hash = excluded.code_hash, attempts = 0, created_at = now(), expires_at = excluded.expires_at
"""

# A right code dies by '-infinity', which every racing try sees once it has the row's lock; a wrong one is counted.
TRY_OTP = """
    update otps o set
        attempts = o.attempts + (o.code_hash <> $3)::int,
        expires_at = case when o.code_hash = $3 and $5 then '-infinity' else o.expires_at end
    from users u
    where u.id = o.user_id and lower(u.email) = $1 and u.status = 'ACTIVE'
        and o.purpose = $2 and o.expires_at > now() and o.attempts < $4
    returning o.user_id, o.code_hash = $3 as right, $4 - o.attempts as attempts_left
"""

OTP_ALIVE = (
    "select exists (select from otps where user_id = $1 and purpose = $2 and expires_at > now() and attempts < $3)"
)


class Try(NamedTuple):
    user_id: str | None  # whose code it was, if it was right
    attempts_left: int


async def put_otp(queries: Queries, user_id: str, purpose: Purpose, digest: bytes, minutes: int) -> None:
    """A new code; the one before it is dead."""
    await queries.execute(PUT_OTP, user_id, purpose, digest, minutes)


async def try_otp(
    queries: Queries, email: str, purpose: Purpose, digest: bytes, attempts: int, use: bool = True
) -> Try:
    """Compare; a right code is used up unless `use` is False, a wrong one costs an attempt."""
    row = await queries.fetchrow(TRY_OTP, email, purpose, digest, attempts, use)
    if row is None:
        return Try(None, 0)
    return Try(row["user_id"] if row["right"] else None, row["attempts_left"])


async def otp_alive(queries: Queries, user_id: str, purpose: Purpose, attempts: int) -> bool:
    return await queries.fetchval(OTP_ALIVE, user_id, purpose, attempts)
