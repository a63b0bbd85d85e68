"""Revoke TikTok tokens of connections that have ended. They are queued in the transaction that ends the connection."""

import asyncio

import structlog

from db.pool import Queries
from db.queries.social.tiktok_tokens import end_revocation, take_revocation
from services.tiktok.account_tokens import TikTokAccounts

log = structlog.get_logger()

REVOKE_SECONDS = 5.0  # a user waits for the answer


async def revoke_queued(queries: Queries, accounts: TikTokAccounts, revocation_id: str) -> bool:
    """Revoke the tokens of a queued revocation, which stays queued if TikTok fails. Return False if there is none."""
    queued = await take_revocation(queries, revocation_id)
    if queued is None:
        return False
    await accounts.revoke(queued.account_id, queued.access_token, queued.refresh_token)
    await end_revocation(queries, revocation_id)
    return True


async def revoke_now(queries: Queries, accounts: TikTokAccounts, revocations: list[str]) -> None:
    """Revoke right after the commit that queued them, within a few seconds. Housekeeping repeats what fails."""
    try:
        async with asyncio.timeout(REVOKE_SECONDS):
            for revocation_id in revocations:
                await revoke_queued(queries, accounts, revocation_id)
    except Exception as error:
        log.info("tokens are not revoked yet", count=len(revocations), reason=str(error) or "timed out")
