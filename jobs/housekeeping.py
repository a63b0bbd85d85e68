"""Deletes what has served its time, a bounded piece at a time, so that no statement holds anything up."""

from jobs.run import Run

SCHEDULE = "30 4 * * *"
BATCH_ROWS = 1000  # a few milliseconds; requests get their turn in between


def oldest(table: str, where: str, key: str = "id") -> str:
    """Delete at most $1 rows."""
    return f"delete from {table} where ({key}) in (select {key} from {table} where {where} limit $1)"


DELETE_OTPS = oldest("otps", "expires_at < now()", "user_id, purpose")

# Ended ones stay a day: every instance must have heard of them, and a re-used refresh token is still recognised.
DELETE_EXPIRED_SESSIONS = oldest("sessions", "expires_at < now()")
DELETE_ENDED_SESSIONS = oldest("sessions", "ended_at < now() - interval '1 day'")

DELETE_SENT_MAILS = oldest("email_outbox", "sent_at < now() - interval '30 days'")
DELETE_FAILED_MAILS = oldest("email_outbox", "failed_at < now() - interval '30 days'")

DELETE_READ_NOTIFICATIONS = oldest("notifications", "is_read and updated_at < now() - interval '90 days'")

DELETE_JOB_RUNS = oldest("job_runs", "status <> 'RUNNING' and started_at < now() - interval '90 days'")

DELETIONS = {
    "otps": DELETE_OTPS,
    "expiredSessions": DELETE_EXPIRED_SESSIONS,
    "endedSessions": DELETE_ENDED_SESSIONS,
    "sentMails": DELETE_SENT_MAILS,
    "failedMails": DELETE_FAILED_MAILS,
    "readNotifications": DELETE_READ_NOTIFICATIONS,
    "jobRuns": DELETE_JOB_RUNS,
}


async def run(run: Run) -> None:
    for name, statement in DELETIONS.items():
        deleted = BATCH_ROWS
        while deleted == BATCH_ROWS:
            await run.check()
            deleted = int((await run.db.execute(statement, BATCH_ROWS)).split()[-1])
            run.counts[name] += deleted
