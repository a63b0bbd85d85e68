"""Remind owners of unverified Instagram accounts by a mail and a notification: weekly, at most three times."""

import asyncpg

from db.queries.notifications import notify
from jobs.run import Run
from realtime.events import NotificationReceived
from services.mail.queue import queue_mail
from services.social.ownership import new_code

SCHEDULE = "0 10 * * *"
PARALLEL = 4  # it only uses the database; more would take connections from requests

# The condition stands in both statements, because an account may change between them.
UNPROVEN = """
    a.platform = 'INSTAGRAM' and a.is_active and not a.is_verified and a.reminders_sent < 3
    and (a.reminded_at is null or a.reminded_at <= now() - interval '7 days')
    and a.created_at < now() - interval '3 days'
    and u.status = 'ACTIVE' and u.email_verified_at is not null
"""

LIST_UNPROVEN = f"""
    select a.created_at, a.id
    from social_media_accounts a join influencers i on i.id = a.influencer_id join users u on u.id = i.user_id
    where {UNPROVEN} and ($1::timestamptz is null or (a.created_at, a.id) > ($1, $2::uuid))
    order by a.created_at, a.id limit $3
"""

# The reminder is counted in the transaction that writes mail and notification, so a second runner finds no row.
REMIND = f"""
    update social_media_accounts a
    set reminders_sent = a.reminders_sent + 1, reminded_at = now(),
        verification_code = coalesce(a.verification_code, $2)
    from influencers i join users u on u.id = i.user_id
    where a.id = $1 and i.id = a.influencer_id and {UNPROVEN}
    returning u.id as user_id, u.name, u.email, a.username, a.verification_code
"""


async def run(run: Run) -> None:
    url = f"{run.settings.frontend_url[0].rstrip('/')}/social-media"

    async def remind(account: asyncpg.Record) -> str:
        async with run.db.transaction() as tx:
            row = await tx.fetchrow(REMIND, account["id"], new_code())
            if row is None:
                return "skipped"
            params = {"name": row["name"], "username": row["username"], "code": row["verification_code"], "url": url}
            await queue_mail(tx, run.services.encryption, row["email"], "instagram_reminder", params)
            notice = await notify(
                tx,
                row["user_id"],
                "SYSTEM",
                "Show that your Instagram account is yours",
                f"Put the code {row['verification_code']} into the bio of @{row['username']}, then choose “Verify”.",
                metadata={"accountId": account["id"], "platform": "INSTAGRAM", "reason": "UNVERIFIED"},
            )
            tx.after_commit(run.wake_outbox)
            tx.after_commit(run.publish, NotificationReceived(*notice))
        return "reminded"

    await run.for_each(run.due(LIST_UNPROVEN), remind, PARALLEL)
