"""Encrypted TikTok tokens of connected accounts, and the queue of tokens to revoke.

services/tiktok/account_tokens.py encrypts and decrypts them; this module never sees a plain token.
"""

import asyncio
from datetime import datetime
from typing import NamedTuple

from db.pool import Database, DatabaseUnavailable, Queries

CLAIM_SECONDS = 60.0  # longer than the bound of one refresh
# A refresh invalidates the old tokens, so storing the new ones is retried during a short database outage.
REPLACE_ATTEMPTS = 4
REPLACE_RETRY_SECONDS = 2.0

LOAD_TOKENS = """
    select access_token, refresh_token from social_media_accounts
    where id = $1 and connection = 'OAUTH' and access_token is not null and not needs_reconnect
"""

CLAIM_TOKENS = """
    update social_media_accounts set refresh_claimed_until = now() + make_interval(secs => $2)
    where id = $1 and connection = 'OAUTH' and refresh_token is not null and not needs_reconnect
        and (refresh_claimed_until is null or refresh_claimed_until <= now())
    returning access_token, refresh_token
"""

# Not if the account was connected again meanwhile: its newer tokens stay.
REPLACE_TOKENS = """
    update social_media_accounts
    set access_token = $3, refresh_token = $4, token_expires_at = $5, refresh_expires_at = $6,
        tokens_refreshed_at = now(), refresh_claimed_until = null, updated_at = now()
    where id = $1 and refresh_token = $2
    returning true
"""

RELEASE_TOKENS = "update social_media_accounts set refresh_claimed_until = null where id = $1"


class HeldTokens(NamedTuple):
    access_token: bytes
    refresh_token: bytes


class SealedTokens(NamedTuple):
    access_token: bytes
    refresh_token: bytes
    token_expires_at: datetime
    refresh_expires_at: datetime


class TikTokTokens:
    """Load, claim and replace the tokens of one account. A claim lets one caller over all instances refresh them."""

    def __init__(self, db: Database) -> None:
        self.db = db

    async def load(self, account_id: str) -> HeldTokens | None:
        """Return the usable tokens of an account, or None."""
        row = await self.db.fetchrow(LOAD_TOKENS, account_id)
        return HeldTokens(*row) if row else None

    async def claim(self, account_id: str) -> HeldTokens | None:
        """Return the tokens for refreshing them, or None while another caller refreshes them."""
        row = await self.db.fetchrow(CLAIM_TOKENS, account_id, CLAIM_SECONDS)
        return HeldTokens(*row) if row else None

    async def replace(self, account_id: str, old: HeldTokens, new: SealedTokens) -> bool:
        """Store `new` in place of `old` and end the claim. Return False if the account is gone or connected again."""
        for attempt in range(REPLACE_ATTEMPTS):
            try:
                return bool(await self.db.fetchval(REPLACE_TOKENS, account_id, old.refresh_token, *new))
            except DatabaseUnavailable:
                if attempt + 1 == REPLACE_ATTEMPTS:
                    raise
                await asyncio.sleep(REPLACE_RETRY_SECONDS)
        raise AssertionError("unreachable")

    async def release(self, account_id: str) -> None:
        """End the claim."""
        await self.db.execute(RELEASE_TOKENS, account_id)


MAX_REVOKE_ATTEMPTS = 7  # one each night for a week; later, the tokens expire at TikTok

QUEUE_REVOCATIONS = """
    insert into token_revocations (account_id, access_token, refresh_token)
    select a.id, a.access_token, a.refresh_token
    from social_media_accounts a join influencers i on i.id = a.influencer_id
    where i.user_id = $1 and ($2::uuid is null or a.id = $2) and a.access_token is not null
    returning id
"""

# Counted before the attempt, so that an attempt that crashes its process counts too.
TAKE_REVOCATION = """
    update token_revocations set attempts = attempts + 1 where id = $1
    returning account_id, access_token, refresh_token
"""

END_REVOCATION = "delete from token_revocations where id = $1"

LIST_REVOCATIONS = """
    select created_at, id from token_revocations
    where ($1::timestamptz is null or (created_at, id) > ($1, $2::uuid))
    order by created_at, id limit $3
"""


async def queue_revocations(tx: Queries, user_id: str, account_id: str | None = None) -> list[str]:
    """Queue the tokens of a user's accounts, or of one, for revocation; return the ids of the revocations."""
    return [row["id"] for row in await tx.fetch(QUEUE_REVOCATIONS, user_id, account_id)]


class QueuedRevocation(NamedTuple):
    account_id: str
    access_token: bytes
    refresh_token: bytes | None


async def take_revocation(queries: Queries, revocation_id: str) -> QueuedRevocation | None:
    """Count an attempt and return the tokens to revoke, or None if the revocation does not exist."""
    row = await queries.fetchrow(TAKE_REVOCATION, revocation_id)
    return QueuedRevocation(*row) if row else None


async def end_revocation(queries: Queries, revocation_id: str) -> None:
    """Delete a revocation that the vendor has carried out."""
    await queries.execute(END_REVOCATION, revocation_id)
