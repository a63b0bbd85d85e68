"""A mail, its form as an RFC 5322 message, and the errors of sending it."""

import re
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from typing import NamedTuple

import idna

from services.mail.rendering import LONE_SURROGATES, one_line

# RFC 5321, 4.5.3.1: the longest path.
ADDRESS_MAX = 254
SUBJECT_MAX = 200
# One bare mailbox, without characters that could end it, add a second one or start a header.
MAILBOX = re.compile(r"[^\s\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff@<>()\[\],;:\\\"]+")
MESSAGE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
BODY_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class MailError(Exception):
    """A mail was not sent. The text may be logged: it contains no secret, code or body."""


class TemporaryMailError(MailError):
    """The failure may be temporary, or the operator can repair it: the mail is sent again with back-off."""


class PermanentMailError(MailError):
    """The mail server will never accept this mail: do not retry."""


class Mail(NamedTuple):
    """One mail to one bare address, such as `hanako@example.jp`."""

    to: str
    subject: str
    text: str
    html: str


def parse_recipient(text: str) -> Address:
    """Read a bare address; the domain becomes ASCII, as mail servers want it. Raises PermanentMailError."""
    local, at, domain = text.rpartition("@")
    if len(text) > ADDRESS_MAX or not (at and MAILBOX.fullmatch(local) and MAILBOX.fullmatch(domain)):
        raise PermanentMailError("the recipient is not an e-mail address")
    try:
        ascii_domain = domain if domain.isascii() else idna.encode(domain, uts46=True).decode()
        return Address(username=local, domain=ascii_domain)
    except ValueError:
        raise PermanentMailError("the recipient is not an e-mail address") from None


def parse_from(text: str) -> Address:
    """Read EMAIL_FROM, `Name <name@example.com>` or a bare address. Raises ValueError."""
    addresses = policy.SMTP.header_factory("From", one_line(text)).addresses
    try:
        if one_line(text) != text.strip():
            raise ValueError("control characters")
        (address,) = addresses
        bare = parse_recipient(address.addr_spec)
        bare.addr_spec.encode("ascii")  # many servers refuse a sender that needs SMTPUTF8
    except (PermanentMailError, ValueError):
        raise ValueError("must look like Name <name@example.com>") from None
    return Address(one_line(address.display_name), bare.username, bare.domain)


def check_message_id(message_id: str) -> str:
    """Check a message id, which becomes part of a header, an HTTP header and a file name."""
    if not MESSAGE_ID.fullmatch(message_id):
        raise ValueError("message_id must be 1 to 128 of A-Z a-z 0-9 . _ -")
    return message_id


def clean_body(text: str) -> str:
    """Return text that can be encoded and printed: without control characters other than newlines and tabs."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return LONE_SURROGATES.sub("\ufffd", BODY_CONTROLS.sub("", lines))


def clean_subject(text: str) -> str:
    return one_line(text, SUBJECT_MAX)


def compose(mail: Mail, message_id: str, sender: Address) -> EmailMessage:
    """Return the mail as a message with a text and an HTML part. Repeated sends have the same Message-ID."""
    message = EmailMessage(policy.SMTP)
    message["From"] = sender
    message["To"] = parse_recipient(mail.to)
    message["Subject"] = clean_subject(mail.subject)
    message["Message-ID"] = f"<{check_message_id(message_id)}@{sender.domain}>"
    message["Date"] = datetime.now(UTC)
    message["Auto-Submitted"] = "auto-generated"  # prevents automatic out-of-office replies
    # Base64 works with servers without 8BITMIME, and is short for Japanese.
    message.set_content(clean_body(mail.text), cte="base64")
    message.add_alternative(clean_body(mail.html), subtype="html", cte="base64")
    return message
