"""Sends the mails of email_outbox: each claimed by one sender over all instances, retried with back-off.

Exactly once ends where the mail server begins: a sender that dies after the server took the mail and before it noted so
leaves a mail that is sent again, under the same Message-ID, once its claim has run out.
"""

import asyncio
import random
from typing import Any

import asyncpg
import orjson
import structlog

from db.outbox import payload_identity
from db.pool import Database, DatabaseUnavailable
from services.encryption import DecryptionFailed, Encryption
from services.mail import Mail, PermanentMailError, Sender, TemplateError, TemporaryMailError, render
from services.metrics import MAILS

log = structlog.get_logger()

SENDERS = 4  # a slow mail server holds up so many mails of an instance at most
POLL_SECONDS = 2.0  # for retries, and for mails whose sender has died; new ones wake a sender at once
CLAIM_SECONDS = 60  # well above the time that one attempt may take
MAX_ATTEMPTS = 10
FIRST_RETRY_SECONDS = 10.0
LONGEST_RETRY_SECONDS = 3600.0

CLAIM_MAIL = """
    update email_outbox set attempts = attempts + 1, locked_until = now() + make_interval(secs => $1)
    where id = (
        select id from email_outbox
        where sent_at is null and failed_at is null and next_attempt_at <= now()
            and (locked_until is null or locked_until < now())
        order by next_attempt_at limit 1 for update skip locked
    )
    returning id, recipient, template, payload, attempts
"""

MARK_SENT = (
    "update email_outbox set sent_at = now(), payload = null, locked_until = null, last_error = null where id = $1"
)

RETRY_LATER = """
    update email_outbox
    set next_attempt_at = now() + make_interval(secs => $2), locked_until = null, last_error = $3
    where id = $1
"""

GIVE_UP = (
    "update email_outbox set failed_at = now(), payload = null, locked_until = null, last_error = $2 where id = $1"
)


class Outbox:
    def __init__(self, db: Database, encryption: Encryption, sender: Sender) -> None:
        self.db = db
        self.encryption = encryption
        self.sender = sender
        self.woken = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.tasks = [asyncio.create_task(self._work(), name=f"outbox {n}") for n in range(SENDERS)]

    async def stop(self) -> None:
        """A mail that is on its way is not cut off lightly: its claim would have to run out first."""
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    def wake(self) -> None:
        """There is a new mail."""
        self.woken.set()

    async def _work(self) -> None:
        while True:
            try:
                if await self.send_one():
                    continue
            except DatabaseUnavailable:
                pass
            except Exception:
                log.exception("outbox failed")
            self.woken.clear()
            try:
                async with asyncio.timeout(POLL_SECONDS * random.uniform(0.8, 1.2)):
                    await self.woken.wait()
            except TimeoutError:
                pass

    async def send_one(self) -> bool:
        """Claim and send a mail that is due; False if there is none."""
        row = await self.db.fetchrow(CLAIM_MAIL, CLAIM_SECONDS)
        if row is None:
            return False
        outcome = "sent"
        try:
            await self.sender.send(self.compose(row), str(row["id"]))
            await self.db.execute(MARK_SENT, row["id"])
        except TemporaryMailError as error:
            outcome = "failed" if row["attempts"] >= MAX_ATTEMPTS else "retried"
            await self.put_off(row, str(error))
        except (PermanentMailError, TemplateError, DecryptionFailed) as error:
            outcome = "failed"
            await self.db.execute(GIVE_UP, row["id"], str(error)[:200])
        MAILS.labels(outcome).inc()
        log.info("mail", outcome=outcome, template=row["template"], mail=str(row["id"]), attempt=row["attempts"])
        return True

    def compose(self, row: asyncpg.Record) -> Mail:
        params: dict[str, Any] = orjson.loads(self.encryption.decrypt(row["payload"], payload_identity(row["id"])))
        return Mail(row["recipient"], *render(row["template"], params))

    async def put_off(self, row: asyncpg.Record, reason: str) -> None:
        if row["attempts"] >= MAX_ATTEMPTS:
            await self.db.execute(GIVE_UP, row["id"], reason)
            return
        seconds = min(FIRST_RETRY_SECONDS * 2 ** (row["attempts"] - 1), LONGEST_RETRY_SECONDS)
        await self.db.execute(RETRY_LATER, row["id"], seconds * random.uniform(0.8, 1.2), reason)
