"""Sends the mails of email_outbox. One sender over all instances claims a mail; failures are retried with back-off.

A mail is inserted once, in the transaction that causes it. When the mail server has accepted it, that is recorded, with
retries during an outage of the database. One gap remains: if the process dies between the acceptance and the record,
the mail is sent again after its claim expires, with the same Message-ID (and, at Resend, the same idempotency key).
"""

import asyncio
import random
import time
from contextlib import suppress
from typing import Any

import asyncpg
import orjson
import structlog

from db.pool import Database, DatabaseUnavailable
from db.queries.outbox import payload_identity
from db.tasks import end, retrieve, supervise, until_next
from services.mail.rendering import DECLARATIONS
from services.mail.senders import Mail, PermanentMailError, Sender, TemplateError, TemporaryMailError, render
from services.metrics import MAILS, vendor_call
from services.security.encryption import DecryptionFailed, Encryption, UnknownKey

log = structlog.get_logger()

SENDERS = 4  # mails that an instance sends at the same time
POLL_SECONDS = 2.0  # finds retries and mails whose sender has died; a new mail wakes a sender at once
CLAIM_SECONDS = 60.0  # well above the time of one attempt (services/mail/senders.py: SEND_TIMEOUT)
RECORD_SECONDS = 25.0  # part of the claim: to record that a mail is sent while the database is unavailable
RECORD_RETRY_SECONDS = 0.5
STOP_SECONDS = 10.0  # mails that are being sent may finish within this time
MAX_LOST_SENDERS = 10  # ends the retries of a mail whose sender dies every time
RETRY_HOURS = 72.0  # an exceeded quota lasts a day, an outage of a mail server perhaps a weekend
CODE_RETRY_HOURS = 1.0  # the code in the mail has expired by then
FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
REASON_CHARS = 200

CLAIM_MAIL = f"""
    update email_outbox set attempts = attempts + 1, senders_lost = senders_lost + (locked_until is not null)::int,
        locked_until = now() + make_interval(secs => $1)
    where id = (
        select id from email_outbox
        where sent_at is null and failed_at is null and next_attempt_at <= now()
            and (locked_until is null or locked_until < now() and senders_lost + 1 < {MAX_LOST_SENDERS})
        order by next_attempt_at limit 1 for update skip locked
    )
    returning id, recipient, template, payload, attempts, extract(epoch from now() - created_at) / 3600 as hours
"""

# Any sender may record this, even after its claim has expired, because the mail is sent.
MARK_SENT = """
    update email_outbox set sent_at = coalesce(sent_at, now()), failed_at = null, payload = null, locked_until = null,
        last_error = null
    where id = $1
"""

# A failure concerns one attempt ($2). It changes nothing if another sender has claimed the mail since.
RETRY_MAIL = """
    update email_outbox
    set next_attempt_at = now() + make_interval(secs => $3), locked_until = null, last_error = $4
    where id = $1 and attempts = $2 and sent_at is null
"""

FAIL_MAIL = """
    update email_outbox set failed_at = now(), payload = null, locked_until = null, last_error = $3
    where id = $1 and attempts = $2 and sent_at is null
"""


class Outbox:
    """The senders of this instance."""

    def __init__(self, db: Database, encryption: Encryption, sender: Sender) -> None:
        self.db = db
        self.encryption = encryption
        self.sender = sender
        self.woken = asyncio.Event()
        self.workers: list[asyncio.Task[None]] = []
        self.sending: set[asyncio.Task[bool]] = set()

    def start(self) -> None:
        # One sender polls. It wakes the others while mails are due.
        steps = {f"outbox {number}": self._send_or_wait if number else self._send_or_poll for number in range(SENDERS)}
        self.workers = [
            asyncio.create_task(supervise(name, step, (DatabaseUnavailable,)), name=name)
            for name, step in steps.items()
        ]

    async def stop(self) -> None:
        """Claim no more mails, and let those that are being sent finish: a cancelled one may have been delivered."""
        await end(*self.workers)
        if self.sending:
            _, late = await asyncio.wait(self.sending, timeout=STOP_SECONDS)
            await end(*late)

    def wake(self) -> None:
        """Send a new mail at once."""
        self.woken.set()

    async def _send_or_poll(self) -> None:
        if not await self._send():
            with suppress(TimeoutError):
                async with asyncio.timeout(until_next(POLL_SECONDS)):
                    await self.woken.wait()

    async def _send_or_wait(self) -> None:
        if not await self._send():
            await self.woken.wait()

    async def _send(self) -> bool:
        """Claim and send a due mail, even if this is cancelled. Return False if none is due."""
        self.woken.clear()
        sending = asyncio.create_task(self.send_one())
        self.sending.add(sending)
        sending.add_done_callback(self.sending.discard)
        sending.add_done_callback(retrieve)
        return await asyncio.shield(sending)

    async def send_one(self) -> bool:
        """Claim and send a due mail. Return False if none is due."""
        row = await self.db.fetchrow(CLAIM_MAIL, CLAIM_SECONDS)
        if row is None:
            return False
        self.wake()  # another sender may find another one
        outcome = "sent"
        try:
            mail = self.compose(row)
            with vendor_call("mail"):
                await self.sender.send(mail, str(row["id"]))
        except (TemporaryMailError, UnknownKey) as error:
            outcome = await self.retry_later(row, str(error))
        except (PermanentMailError, TemplateError, DecryptionFailed) as error:
            outcome = "failed"
            await self.db.execute(FAIL_MAIL, row["id"], row["attempts"], str(error)[:REASON_CHARS])
        else:
            await self.record_sent(row["id"])
        MAILS.labels(outcome).inc()
        log.info("mail", outcome=outcome, template=row["template"], mail=str(row["id"]), attempt=row["attempts"])
        return True

    async def record_sent(self, mail_id: str) -> None:
        """Record that the mail is sent, with retries, because it is sent again without that record."""
        deadline = time.monotonic() + RECORD_SECONDS
        while True:
            try:
                await self.db.execute(MARK_SENT, mail_id)
                return
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(RECORD_RETRY_SECONDS)

    def compose(self, row: asyncpg.Record) -> Mail:
        params: dict[str, Any] = orjson.loads(self.encryption.decrypt(row["payload"], payload_identity(row["id"])))
        return Mail(row["recipient"], *render(row["template"], params))

    async def retry_later(self, row: asyncpg.Record, reason: str) -> str:
        retry_hours = CODE_RETRY_HOURS if "code" in DECLARATIONS[row["template"]].params else RETRY_HOURS
        if row["hours"] > retry_hours:
            await self.db.execute(FAIL_MAIL, row["id"], row["attempts"], reason[:REASON_CHARS])
            return "failed"
        seconds = min(FIRST_RETRY_SECONDS * 2 ** (row["attempts"] - 1), LONGEST_RETRY_SECONDS)
        seconds *= random.uniform(0.8, 1.2)
        await self.db.execute(RETRY_MAIL, row["id"], row["attempts"], seconds, reason[:REASON_CHARS])
        return "retried"
