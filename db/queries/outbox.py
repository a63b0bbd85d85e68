"""Mails to be sent, written in the transaction that causes them; jobs/outbox.py sends them."""

from typing import Protocol
from uuid import uuid4

import orjson

from db.pool import Queries

QUEUE_MAIL = "insert into email_outbox (id, recipient, template, payload) values ($1, $2, $3, $4)"


class Encrypts(Protocol):
    def encrypt(self, plaintext: str, identity: str) -> bytes: ...


def payload_identity(mail_id: object) -> str:
    """What the payload's envelope is bound to: it opens in its own row alone."""
    return f"email_outbox:{mail_id}:payload"


async def queue_mail(
    queries: Queries, encryption: Encrypts, recipient: str, template: str, params: dict[str, str]
) -> None:
    """`params` may hold a code: it is stored encrypted, and forgotten once the mail is out."""
    mail_id = uuid4()
    payload = encryption.encrypt(orjson.dumps(params).decode(), payload_identity(mail_id))
    await queries.execute(QUEUE_MAIL, mail_id, recipient, template, payload)
