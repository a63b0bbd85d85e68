"""Queue mails in the transaction that causes them. jobs/outbox.py sends them."""

from uuid import uuid4

import orjson

from db.pool import Queries
from db.queries.outbox import add_mail, payload_identity
from services.security.encryption import Encryption


async def queue_mail(
    queries: Queries, encryption: Encryption, recipient: str, template: str, params: dict[str, str]
) -> None:
    """Queue a mail. `params` may hold a code, so they are stored encrypted and deleted once the mail is sent."""
    mail_id = uuid4()
    payload = encryption.encrypt(orjson.dumps(params).decode(), payload_identity(mail_id))
    await add_mail(queries, mail_id, recipient, template, payload)
