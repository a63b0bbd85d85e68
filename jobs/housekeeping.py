"""Delete expired rows and unused files in small batches, so that no statement blocks others for long."""

import asyncpg
import structlog

from db.queries.social.tiktok_tokens import LIST_REVOCATIONS, MAX_REVOKE_ATTEMPTS
from jobs.outbox import MAX_LOST_SENDERS
from jobs.run import Run
from services.errors import VendorError
from services.slots import Busy
from services.tiktok.revocations import revoke_queued

log = structlog.get_logger()

SCHEDULE = "30 4 * * *"
PARALLEL = 2
BATCH_FILES = 20  # each may be a call to a vendor; an aborted run leaves at most this many files undeleted
BATCH_ROWS = 1000  # a few milliseconds, so that requests are not delayed


def oldest(table: str, where: str, key: str = "id") -> str:
    """Delete at most $1 rows."""
    return f"delete from {table} where ({key}) in (select {key} from {table} where {where} limit $1)"


DELETE_OTPS = oldest("otps", "expires_at < now()", "user_id, purpose")
DELETE_OTP_ATTEMPTS = oldest("otp_attempts", "expires_at < now()", "email, purpose")

# No code was requested for a month; these people can sign up again.
DELETE_SIGN_UPS = oldest("sign_ups", "code_expires_at < now() - interval '30 days'")

# Ended sessions stay a day: every instance must find them, and a reused refresh token must be recognised.
DELETE_EXPIRED_SESSIONS = oldest("sessions", "expires_at < now()")
DELETE_ENDED_SESSIONS = oldest("sessions", "ended_at < now() - interval '1 day'")

DELETE_KNOWN_NETWORKS = oldest("known_networks", "last_used_at < now() - interval '1 year'", "user_id, network_hash")

DELETE_SENT_MAILS = oldest("email_outbox", "sent_at < now() - interval '30 days'")
DELETE_FAILED_MAILS = oldest("email_outbox", "failed_at < now() - interval '30 days'")

# Every sender of these mails died while it sent them.
ABANDON_MAILS = f"""
    update email_outbox set failed_at = now(), payload = null, locked_until = null, last_error = 'every sender died'
    where sent_at is null and failed_at is null and senders_lost + 1 >= {MAX_LOST_SENDERS} and locked_until < now()
"""

DELETE_READ_NOTIFICATIONS = oldest("notifications", "is_read and updated_at < now() - interval '90 days'")

# Every instance reads them within seconds.
DELETE_DELETED_NOTIFICATIONS = oldest("deleted_notifications", "deleted_at < now() - interval '1 day'")

DELETE_JOB_RUNS = oldest("job_runs", "status <> 'RUNNING' and started_at < now() - interval '90 days'")

# Results are used for a week.
DELETE_SCRAPES = oldest("scrape_runs", "finished_at < now() - interval '8 days'")

# Unfinished runs of profiles that were not requested again; a new caller would take them over.
DELETE_LOST_SCRAPES = oldest("scrape_runs", "state = 'RUNNING' and started_at < now() - interval '8 days'")

DELETE_OAUTH_STATES = oldest("oauth_states", "expires_at < now()")

DELETE_REVOCATIONS = oldest("token_revocations", f"attempts >= {MAX_REVOKE_ATTEMPTS}")

# Uploaded and never sent. The row is deleted before the file, so that no message can refer to a missing file.
DELETE_UNSENT_ATTACHMENTS = """
    delete from attachments where url in (
        select url from attachments a
        where a.created_at < now() - interval '7 days'
            and not exists (select from messages m where m.file_url = a.url)
        limit $1
    )
    returning url
"""

DELETIONS = {
    "otps": DELETE_OTPS,
    "otpAttempts": DELETE_OTP_ATTEMPTS,
    "signUps": DELETE_SIGN_UPS,
    "expiredSessions": DELETE_EXPIRED_SESSIONS,
    "endedSessions": DELETE_ENDED_SESSIONS,
    "knownNetworks": DELETE_KNOWN_NETWORKS,
    "sentMails": DELETE_SENT_MAILS,
    "failedMails": DELETE_FAILED_MAILS,
    "readNotifications": DELETE_READ_NOTIFICATIONS,
    "deletedNotifications": DELETE_DELETED_NOTIFICATIONS,
    "jobRuns": DELETE_JOB_RUNS,
    "scrapes": DELETE_SCRAPES,
    "lostScrapes": DELETE_LOST_SCRAPES,
    "oauthStates": DELETE_OAUTH_STATES,
    "revocationsGivenUp": DELETE_REVOCATIONS,
}


async def run(run: Run) -> None:
    await run.db.execute(ABANDON_MAILS)
    await revoke_tokens(run)
    await delete_leftovers(run)
    await delete_files(run)


async def revoke_tokens(run: Run) -> None:
    """Revoke tokens of ended connections that could not be revoked before."""
    tiktok = run.services.tiktok

    async def revoke(row: asyncpg.Record) -> str:
        try:
            return "revoked" if await revoke_queued(run.db, tiktok, row["id"]) else "skipped"
        except VendorError as error:
            run.log_failure(error)
            return "revocationsLeft"

    if tiktok.oauth.configured:
        await run.for_each(run.due(LIST_REVOCATIONS), revoke, PARALLEL)


async def delete_leftovers(run: Run) -> None:
    for name, statement in DELETIONS.items():
        deleted = BATCH_ROWS
        while deleted == BATCH_ROWS:
            await run.check()
            deleted = int((await run.db.execute(statement, BATCH_ROWS)).split()[-1])
            run.counts[name] += deleted


async def delete_files(run: Run) -> None:
    """Delete files of unsent attachments. A file that cannot be deleted stays, and is logged."""
    while True:
        await run.check()
        rows = await run.db.fetch(DELETE_UNSENT_ATTACHMENTS, BATCH_FILES)
        for row in rows:
            try:
                await run.services.media.delete(row["url"])
                run.counts["unsentAttachments"] += 1
            except (VendorError, Busy, OSError) as error:
                log.warning("a file was left behind", url=row["url"], error=repr(error))
                run.counts["filesLeft"] += 1
        if len(rows) < BATCH_FILES:
            return
