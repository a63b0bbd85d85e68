"""Update accounts whose data is older than a week: public profiles by scraping, TikTok accounts by its API."""

import asyncio
from datetime import UTC, datetime

import asyncpg

from db.queries.social.accounts import mark_needs_reconnect, postpone_sync, sync_account
from jobs.run import JobFailed, Run
from jobs.vendor_health import VendorHealth, refuses_credentials
from realtime.events import NotificationReceived
from services.errors import NeedsReconnect, VendorError, VendorRateLimited
from services.slots import Busy
from services.social.profiles import SocialProfile
from services.tiktok.account_tokens import RefreshUnderWay

SCHEDULE = "0 3 * * *"
PARALLEL = 8  # half of the scrapes that an instance may run at once; the other half serves waiting users
BUSY_SECONDS = 15.0  # wait before a busy vendor is called again: about the duration of a scrape
BUSY_TRIES = 20  # five minutes in total; then the account stays due for the next night
LONGEST_WAIT_SECONDS = 60.0  # a vendor that asks for a longer wait is not called again this night
SHARED_SECONDS = 86_400.0  # a result that another caller fetched within a day is new enough

LIST_DUE = """
    select a.platform, a.username, a.connection, a.refresh_token, a.sync_failures, a.next_sync_at, a.id
    from social_media_accounts a join influencers i on i.id = a.influencer_id join users u on u.id = i.user_id
    where a.is_active and not a.needs_reconnect and a.next_sync_at <= $1 and a.connection = any ($2)
        and u.status = 'ACTIVE' and ($3::timestamptz is null or (a.next_sync_at, a.id) > ($3, $4::uuid))
    order by a.next_sync_at, a.id limit $5
"""


class Sync:
    """One run: the health of its vendors, and how one account is synced."""

    def __init__(self, run: Run) -> None:
        self.run = run
        self.services = run.services
        self.health = {"PUBLIC": VendorHealth("Apify"), "OAUTH": VendorHealth("TikTok")}

    def possible(self) -> list[str]:
        """Return the kinds of accounts whose vendor is configured; the others stay due."""
        configured = {
            "PUBLIC": self.services.scrapes.actors.configured,
            "OAUTH": self.services.tiktok.oauth.configured,
        }
        return [kind for kind, is_configured in configured.items() if is_configured]

    async def sync(self, account: asyncpg.Record) -> str:
        health = self.health[account["connection"]]
        if health.reason_to_end:
            return "leftDue"
        try:
            profile, fetched_at = await self.fetch_with_retries(account)
        except (RefreshUnderWay, Busy):
            return "skipped"
        except NeedsReconnect as error:
            health.succeeded()
            await self.notify_owner(account["id"], error.refused or account["refresh_token"])
            return "needsReconnect"
        except VendorError as error:
            self.run.log_failure(error)
            health.failed(error, failed_before=account["sync_failures"] > 0)
            if refuses_credentials(error) or isinstance(error, VendorRateLimited):
                return "leftDue"
            await postpone_sync(self.run.db, account["id"])
            return "failed"
        health.succeeded()
        return await self.store(account, profile, fetched_at)

    async def fetch_with_retries(self, account: asyncpg.Record) -> tuple[SocialProfile, datetime]:
        """Fetch, and wait while the vendor is busy: a small plan runs fewer scrapes at once than there are workers."""
        for _ in range(BUSY_TRIES - 1):
            try:
                return await self.fetch(account)
            except VendorRateLimited as error:
                if (error.retry_after or 0) > LONGEST_WAIT_SECONDS:
                    raise
                await asyncio.sleep(max(BUSY_SECONDS, error.retry_after or 0))
        return await self.fetch(account)

    async def fetch(self, account: asyncpg.Record) -> tuple[SocialProfile, datetime]:
        if account["connection"] == "OAUTH":
            return await self.services.tiktok.fetch(account["id"]), datetime.now(UTC)
        found = await self.services.scrapes.fetch(account["platform"], account["username"], max_age=SHARED_SECONDS)
        return found.profile, found.finished_at

    async def store(self, account: asyncpg.Record, profile: SocialProfile, fetched_at: datetime) -> str:
        try:
            async with self.run.db.transaction() as tx:
                stored = await sync_account(
                    tx, account["id"], account["connection"], profile.model_dump_json(), fetched_at
                )
        except Exception:
            await postpone_sync(self.run.db, account["id"])
            raise
        return "synced" if stored is not None else "skipped"

    async def notify_owner(self, account_id: str, refresh_token: bytes | None) -> None:
        async with self.run.db.transaction() as tx:
            notice = await mark_needs_reconnect(tx, account_id, refresh_token)
            if notice:
                tx.after_commit(self.run.publish, NotificationReceived(*notice))


async def run(run: Run) -> None:
    sync = Sync(run)
    due = run.due(LIST_DUE, run.claimed.started_at, sync.possible())
    await run.for_each(due, sync.sync, PARALLEL)
    reason_to_end = [health.reason_to_end for health in sync.health.values() if health.reason_to_end]
    if reason_to_end:
        raise JobFailed("; ".join(reason_to_end))
