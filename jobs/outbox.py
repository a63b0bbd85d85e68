"""Sends the mails of email_outbox: each claimed by one sender over all instances, retried with back-off.

Exactly once ends where the mail server begins. A mail is written once, with what causes it; one sender at a time holds
it; and once the server has taken it that is noted, if need be again and again while the database comes back. What is
left: a process that dies between the server's yes and the note. Its mail is sent again when the claim has run out,
under the same Message-ID (and, at Resend, the same idempotency key), by which it can be told from a new one.
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
from db.tasks import end
from services.mail.rendering import DECLARATIONS
from services.mail.senders import Mail, PermanentMailError, Sender, TemplateError, TemporaryMailError, render
from services.metrics import MAILS, vendor_call
from services.security.encryption import DecryptionFailed, Encryption, UnknownKey

log = structlog.get_logger()

SENDERS = 4  # a slow mail server holds up so many mails of an instance at most
POLL_SECONDS = 2.0  # for retries, and for mails whose sender has died; new ones wake a sender at once
CLAIM_SECONDS = 60.0  # well above the time that one attempt may take (services.mail.SEND_TIMEOUT)
NOTE_SECONDS = 25.0  # of those, for noting that a mail is out while the database is away
NOTE_RETRY_SECONDS = 0.5
STOP_SECONDS = 10.0  # mails that are on their way may arrive within this
MAX_SENDERS_LOST = 10  # a mail that kills its senders, or is sent by each before it dies, is not sent for ever
PATIENCE_HOURS = 72.0  # a used-up quota lasts a day, a mail server that is down perhaps a weekend
CODE_PATIENCE_HOURS = 1.0  # a code is dead by then: its mail would only confuse
FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0
REASON_CHARS = 200

CLAIM_MAIL = f"""
    update email_outbox set attempts = attempts + 1, senders_lost = senders_lost + (locked_until is not null)::int,
        locked_until = now() + make_interval(secs => $1)
    where id = (
        select id from email_outbox
        where sent_at is null and failed_at is null and next_attempt_at <= now()
            and (locked_until is null or locked_until < now() and senders_lost + 1 < {MAX_SENDERS_LOST})
        order by next_attempt_at limit 1 for update skip locked
    )
    returning id, recipient, template, payload, attempts, extract(epoch from now() - created_at) / 3600 as hours
"""

# True whoever says it: the mail is out.
MARK_SENT = """
    update email_outbox set sent_at = coalesce(sent_at, now()), failed_at = null, payload = null, locked_until = null,
        last_error = null
    where id = $1
"""

# The other outcomes are those of one attempt ($2): of a mail that somebody else has taken over they say nothing.
RETRY_LATER = """
    update email_outbox
    set next_attempt_at = now() + make_interval(secs => $3), locked_until = null, last_error = $4
    where id = $1 and attempts = $2 and sent_at is null
"""

GIVE_UP = """
    update email_outbox set failed_at = now(), payload = null, locked_until = null, last_error = $3
    where id = $1 and attempts = $2 and sent_at is null
"""


class Outbox:
    def __init__(self, db: Database, encryption: Encryption, sender: Sender) -> None:
        self.db = db
        self.encryption = encryption
        self.sender = sender
        self.woken = asyncio.Event()
        self.stopping = False
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self._work(), name=f"outbox {n}") for n in range(SENDERS)]

    async def stop(self) -> None:
        """A mail that is on its way is not cut off lightly: nobody could say whether it has arrived."""
        self.stopping = True
        self.woken.set()
        if self.tasks:
            _, late = await asyncio.wait(self.tasks, timeout=STOP_SECONDS)
            await end(*late)

    def wake(self) -> None:
        """There is a new mail."""
        self.woken.set()

    async def _work(self) -> None:
        while not self.stopping:
            self.woken.clear()
            try:
                if await self.send_one():
                    continue
            except DatabaseUnavailable:
                pass
            except Exception:
                log.exception("outbox failed")
            if not self.stopping:
                with suppress(TimeoutError):
                    async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):
                        await self.woken.wait()

    async def send_one(self) -> bool:
        """Claim and send a mail that is due; False if there is none."""
        row = await self.db.fetchrow(CLAIM_MAIL, CLAIM_SECONDS)
        if row is None:
            return False
        outcome = "sent"
        try:
            mail = self.compose(row)
            with vendor_call("mail"):
                await self.sender.send(mail, str(row["id"]))
        except (TemporaryMailError, UnknownKey) as error:
            outcome = await self.put_off(row, str(error))
        except (PermanentMailError, TemplateError, DecryptionFailed) as error:
            outcome = "failed"
            await self.db.execute(GIVE_UP, row["id"], row["attempts"], str(error)[:REASON_CHARS])
        else:
            await self.note_sent(row["id"])
        MAILS.labels(outcome).inc()
        log.info("mail", outcome=outcome, template=row["template"], mail=str(row["id"]), attempt=row["attempts"])
        return True

    async def note_sent(self, mail_id: str) -> None:
        """The one note that must not get lost: without it the mail goes out again."""
        deadline = time.monotonic() + NOTE_SECONDS
        while True:
            try:
                await self.db.execute(MARK_SENT, mail_id)
                return
            except DatabaseUnavailable:
                if time.monotonic() > deadline:
                    raise
            await asyncio.sleep(NOTE_RETRY_SECONDS)

    def compose(self, row: asyncpg.Record) -> Mail:
        params: dict[str, Any] = orjson.loads(self.encryption.decrypt(row["payload"], payload_identity(row["id"])))
        return Mail(row["recipient"], *render(row["template"], params))

    async def put_off(self, row: asyncpg.Record, reason: str) -> str:
        patience = CODE_PATIENCE_HOURS if "code" in DECLARATIONS[row["template"]].params else PATIENCE_HOURS
        if row["hours"] > patience:
            await self.db.execute(GIVE_UP, row["id"], row["attempts"], reason[:REASON_CHARS])
            return "failed"
        seconds = min(FIRST_RETRY_SECONDS * 2 ** (row["attempts"] - 1), LONGEST_RETRY_SECONDS)
        seconds *= random.uniform(0.8, 1.2)
        await self.db.execute(RETRY_LATER, row["id"], row["attempts"], seconds, reason[:REASON_CHARS])
        return "retried"
