"""The queue of mails: jobs/outbox.py sends its rows. services/mail/queue.py encrypts their contents."""

from uuid import UUID

from db.pool import Queries

ADD_MAIL = "insert into email_outbox (id, recipient, template, payload) values ($1, $2, $3, $4)"


def payload_identity(mail_id: object) -> str:
    """Return the identity that a mail's payload is encrypted for: it cannot be decrypted in another row."""
    return f"email_outbox:{mail_id}:payload"


async def add_mail(queries: Queries, mail_id: UUID, recipient: str, template: str, payload: bytes) -> None:
    """Add a mail; `payload` is encrypted."""
    await queries.execute(ADD_MAIL, mail_id, recipient, template, payload)
