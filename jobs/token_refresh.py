"""Refresh TikTok tokens that expire within a week.

An owner whose token TikTok refuses is notified. Tokens that an outage keeps from being refreshed stay due.
"""

import asyncpg

from db.queries.social.accounts import mark_needs_reconnect
from jobs.run import JobFailed, Run
from jobs.vendor_health import VendorHealth
from realtime.events import NotificationReceived
from services.errors import NeedsReconnect, VendorError
from services.tiktok.account_tokens import RefreshUnderWay

SCHEDULE = "0 2 * * *"
PARALLEL = 4  # a call takes a second; TikTok allows 600 a minute

# Ordered by id, because a refresh changes the expiry. Tokens that were refreshed since $1 are done.
LIST_ENDING = """
    select a.refresh_token, a.id
    from social_media_accounts a join influencers i on i.id = a.influencer_id join users u on u.id = i.user_id
    where a.is_active and a.connection = 'OAUTH' and not a.needs_reconnect
        and a.token_expires_at < now() + interval '7 days'
        and (a.tokens_refreshed_at is null or a.tokens_refreshed_at < $1)
        and u.status = 'ACTIVE' and ($2::uuid is null or a.id > $2)
    order by a.id limit $3
"""


async def run(run: Run) -> None:
    accounts, health = run.services.tiktok, VendorHealth("TikTok")

    async def renew(account: asyncpg.Record) -> str:
        if health.reason_to_end:
            return "leftDue"
        try:
            await accounts.refresh(account["id"])
        except RefreshUnderWay:
            return "skipped"
        except NeedsReconnect:
            health.succeeded()
            await notify_owner(run, account["id"], account["refresh_token"])
            return "needsReconnect"
        except VendorError as error:
            run.log_failure(error)
            health.failed(error)
            return "leftDue"
        health.succeeded()
        return "refreshed"

    await run.for_each(run.due(LIST_ENDING, run.claimed.started_at, key=(None,)), renew, PARALLEL)
    if health.reason_to_end:
        raise JobFailed(health.reason_to_end)


async def notify_owner(run: Run, account_id: str, refresh_token: bytes | None) -> None:
    async with run.db.transaction() as tx:
        notice = await mark_needs_reconnect(tx, account_id, refresh_token)
        if notice:
            tx.after_commit(run.publish, NotificationReceived(*notice))
