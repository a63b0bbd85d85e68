"""Sign-ups that wait for their code (contract §3, Auth).

Up to three sign-ups wait per e-mail address. Each has its own name, role, password and code, so that one person cannot
replace the password of another person's sign-up. The account shows the newest one. Entering a code gives the account
the values of the sign-up that the code was mailed for, and deletes the others. Callers hold the lock of the address
(db/queries/otps.py).
"""

from datetime import datetime
from typing import NamedTuple

import asyncpg

from db.pool import Queries, Transaction
from db.queries.otps import OTP_ATTEMPTS, OTP_MINUTES

MAX_SIGN_UPS = 3  # per address
SALT_CHARS = 29  # of a bcrypt hash: version, cost and salt


class NewSignUp(NamedTuple):
    name: str
    email: str
    role: str
    phone_no: str | None
    password_hash: str
    network: str  # of the request
    device: str


class SignUp(NamedTuple):
    """A waiting sign-up, as its mail describes it."""

    id: str  # random and known to its client alone: the `signUpToken`
    user_id: str
    name: str
    role: str
    device: str
    created_at: datetime


SHOWN = "s.id, s.user_id, s.name, s.role, s.device, s.created_at"

# An unverified account has no owner yet. It shows the newest sign-up, which an admin may confirm.
UPSERT_ACCOUNT = """
    insert into users (name, email, role, password_hash, terms_accepted_at) values ($1, $2, $3, $4, now())
    on conflict (lower(email)) do update
    set name = excluded.name, role = excluded.role, password_hash = excluded.password_hash,
        terms_accepted_at = excluded.terms_accepted_at, updated_at = now()
    where users.email_verified_at is null
    returning id
"""

UPSERT_PROFILE = """
    with no_influencer as (delete from influencers where user_id = $1 and $2 <> 'INFLUENCER'),
        no_salon as (delete from salons where user_id = $1 and $2 <> 'SALON'),
        influencer as (
            insert into influencers (user_id, phone_no) select $1, $3 where $2 = 'INFLUENCER'
            on conflict (user_id) do update set phone_no = excluded.phone_no, updated_at = now()
        )
    insert into salons (user_id, phone_no) select $1, $3 where $2 = 'SALON'
    on conflict (user_id) do update set phone_no = excluded.phone_no, updated_at = now()
"""

# Keep the latest of other networks: a network replaces its own sign-up, so that it cannot displace all others. Hashes
# with another salt could not be compared in the same run of bcrypt (services/security/passwords.py).
DELETE_OLDEST_SIGN_UPS = f"""
    delete from sign_ups
    where user_id = $1 and id not in (
        select id from sign_ups
        where user_id = $1 and network <> $2 and left(password_hash, {SALT_CHARS}) = left($3, {SALT_CHARS})
        order by created_at desc limit {MAX_SIGN_UPS - 1}
    )
"""

ADD_SIGN_UP = f"""
    insert into sign_ups as s
        (user_id, name, role, phone_no, password_hash, network, device, code_hash, code_expires_at)
    values ($1, $2, $3, $4, $5, $6, $7, $8, now() + interval '{OTP_MINUTES} minutes')
    returning {SHOWN}
"""

FIND_SIGN_UP = f"""
    select {SHOWN} from sign_ups s join users u on u.id = s.user_id
    where lower(u.email) = $1 and ($2::text is null or s.id::text = $2)
    order by s.created_at desc limit 1
"""

FIND_BY_PASSWORD = f"""
    select {SHOWN} from sign_ups s where s.user_id = $1 and s.password_hash = $2 order by s.created_at desc limit 1
"""

HAS_VALID_CODE = f"""
    select exists (
        select from sign_ups
        where user_id = $1 and password_hash = $2 and code_expires_at > now() and attempts < {OTP_ATTEMPTS}
    )
"""

RENEW_CODE = f"""
    update sign_ups set code_hash = $2, attempts = 0, code_expires_at = now() + interval '{OTP_MINUTES} minutes'
    where id = $1
"""

FIND_BY_CODE = f"""
    select s.id from sign_ups s join users u on u.id = s.user_id
    where lower(u.email) = $1 and s.code_hash = $2 and ($3::text is null or s.id::text = $3)
        and s.code_expires_at > now() and s.attempts < {OTP_ATTEMPTS}
"""

COUNT_WRONG_CODE = f"""
    update sign_ups s set attempts = s.attempts + 1
    from users u
    where u.id = s.user_id and lower(u.email) = $1 and s.code_expires_at > now() and s.attempts < {OTP_ATTEMPTS}
    returning s.id, {OTP_ATTEMPTS} - s.attempts as attempts_left
"""

CONFIRM = """
    update users u
    set name = s.name, role = s.role, password_hash = s.password_hash, terms_accepted_at = s.created_at,
        email_verified_at = now(), updated_at = now()
    from sign_ups s
    where s.id = $1 and u.id = s.user_id and u.email_verified_at is null
    returning u.id, u.role, s.phone_no
"""

DELETE_SIGN_UPS = "delete from sign_ups where user_id = $1"


def as_sign_up(row: asyncpg.Record | None) -> SignUp | None:
    return SignUp(*row) if row else None


async def add_sign_up(tx: Transaction, new: NewSignUp, code_digest: bytes) -> SignUp | None:
    """Store a sign-up and show it in the account; return None if a verified account has the address."""
    user_id = await tx.fetchval(UPSERT_ACCOUNT, new.name, new.email, new.role, new.password_hash)
    if user_id is None:
        return None
    await tx.execute(UPSERT_PROFILE, user_id, new.role, new.phone_no)
    await tx.execute(DELETE_OLDEST_SIGN_UPS, user_id, new.network, new.password_hash)
    added = await tx.fetchrow(
        ADD_SIGN_UP, user_id, new.name, new.role, new.phone_no, new.password_hash, new.network, new.device, code_digest
    )
    return as_sign_up(added)


async def find_sign_up(tx: Transaction, email: str, token: str | None) -> SignUp | None:
    """Return the sign-up with this token, or without one the newest of the address."""
    return as_sign_up(await tx.fetchrow(FIND_SIGN_UP, email, token))


async def find_by_password(tx: Transaction, user_id: str, password_hash: str) -> SignUp | None:
    """Return the newest sign-up of an account that has this password."""
    return as_sign_up(await tx.fetchrow(FIND_BY_PASSWORD, user_id, password_hash))


async def has_valid_code(queries: Queries, user_id: str, password_hash: str) -> bool:
    """Return whether the code of a sign-up with this password is still valid."""
    value: bool = await queries.fetchval(HAS_VALID_CODE, user_id, password_hash)
    return value


async def renew_code(tx: Transaction, sign_up_id: str, digest: bytes) -> None:
    """Give a sign-up a new code; the former code becomes invalid."""
    await tx.execute(RENEW_CODE, sign_up_id, digest)


async def confirm_by_code(tx: Transaction, email: str, digest: bytes, token: str | None) -> str | None:
    """Confirm the sign-up that this code was mailed for; return its role, None if the code is wrong."""
    found = await tx.fetch(FIND_BY_CODE, email, digest, token)
    if len(found) != 1:  # two sign-ups may have the same code: it is unknown which one is meant
        return None
    confirmed = await tx.fetchrow(CONFIRM, found[0]["id"])
    if confirmed is None:
        return None
    await tx.execute(UPSERT_PROFILE, confirmed["id"], confirmed["role"], confirmed["phone_no"])
    await delete_sign_ups(tx, confirmed["id"])
    value: str | None = confirmed["role"]
    return value


async def count_wrong_code(tx: Transaction, email: str) -> dict[str, int]:
    """Count a wrong code on all valid codes of the address; return the attempts left by sign-up token."""
    return {row["id"]: row["attempts_left"] for row in await tx.fetch(COUNT_WRONG_CODE, email)}


async def delete_sign_ups(queries: Queries, user_id: str) -> None:
    await queries.execute(DELETE_SIGN_UPS, user_id)
