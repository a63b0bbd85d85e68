"""Senders of mails: Resend's HTTP API, and the console with files for development. smtp.py has a third one.

One mail is tried many times under one `message_id` (its row in email_outbox). A sender that returns has delivered the
mail to the server. A sender that raises may have delivered it too, if the answer was lost. So delivery is at least
once, and a repetition can be recognised: SMTP repeats the Message-ID, Resend drops a repeated Idempotency-Key for
24 hours.

A refusal of the mail itself (its recipient, its content) is permanent. A refusal of this server (login, sender
address, API key, a wrong URL) is temporary: mails wait in the outbox until the operator repairs it, as long as they
are useful (jobs/outbox.py).
"""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from http import HTTPStatus
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import orjson
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest, HTTPResponse
from tornado.iostream import UnsatisfiableReadError

from services.logs import text_or_json, write_out
from services.mail.messages import (
    Mail,
    MailError,
    PermanentMailError,
    TemporaryMailError,
    check_message_id,
    clean_body,
    clean_subject,
    compose,
    parse_recipient,
)
from services.mail.rendering import Content, Template, TemplateError, one_line, render

__all__ = [
    "ConsoleSender",
    "Content",
    "Mail",
    "MailError",
    "PermanentMailError",
    "ResendSender",
    "Sender",
    "Template",
    "TemplateError",
    "TemporaryMailError",
    "render",
]

# One mail in total, however slow the server is. A relay that scans mails takes seconds, not minutes.
SEND_TIMEOUT = 30.0
REASON_MAX = 200
ANSWER_MAX_BYTES = 64 * 1024
# Number of development mails to keep; older files are deleted.
KEPT_FILES = 500

REFUSED_US = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.FORBIDDEN,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED,
}
# A 422 with one of these names is our fault; others concern the mail.
REFUSED_US_BY_NAME = {"invalid_from_address", "invalid_access"}
TRY_LATER = {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS}


class Sender(Protocol):
    """Sends mails. The start prints `destination`, such as `SMTP mail.example.com:587`."""

    destination: str

    async def send(self, mail: Mail, message_id: str) -> None:
        """Send within bounded time. Raises TemporaryMailError or PermanentMailError."""


class ResendSender:
    """Resend's HTTP API: https://resend.com/docs/api-reference/emails/send-email."""

    def __init__(self, api_url: str, api_key: str, sender: Address, *, timeout: float = SEND_TIMEOUT) -> None:
        self.destination = f"Resend at {urlsplit(api_url).netloc}"
        self.url = f"{api_url}/emails"
        self.api_key = api_key
        self.sender = sender
        self.timeout = timeout

    async def send(self, mail: Mail, message_id: str) -> None:
        # Its own client, with bounded answers, so that mails do not wait behind scrapes in a shared queue.
        client = AsyncHTTPClient(force_instance=True, max_body_size=ANSWER_MAX_BYTES)
        try:
            async with asyncio.timeout(self.timeout):
                answer = await client.fetch(self.request(mail, message_id), raise_error=False)
        except (HTTPClientError, UnsatisfiableReadError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise TemporaryMailError(one_line(f"Resend: {reason}", REASON_MAX)) from None
        finally:
            client.close()
        check_answer(answer)

    def request(self, mail: Mail, message_id: str) -> HTTPRequest:
        # The same bytes in every attempt: Resend refuses a repeated key with another body.
        body = {
            "from": str(self.sender),
            "to": [parse_recipient(mail.to).addr_spec],
            "subject": clean_subject(mail.subject),
            "text": clean_body(mail.text),
            "html": clean_body(mail.html),
            "headers": {"X-Entity-Ref-ID": check_message_id(message_id), "Auto-Submitted": "auto-generated"},
        }
        headers = {
            "Authorization": f"Bearer {self.api_key}",
            "Content-Type": "application/json",
            "Idempotency-Key": message_id,
        }
        return HTTPRequest(
            self.url,
            method="POST",
            headers=headers,
            body=orjson.dumps(body),
            decompress_response=False,  # answers are small, and damaged or endless gzip is avoided
            follow_redirects=False,  # a redirect would send the key and the code to another host
            connect_timeout=self.timeout,
            request_timeout=self.timeout,
        )


def check_answer(answer: HTTPResponse) -> None:
    if 200 <= answer.code < 300:
        return
    name, message = read_refusal(answer.body)
    reason = one_line(f"Resend {answer.code}: {name} {message}", REASON_MAX)
    busy = answer.code == HTTPStatus.CONFLICT and name == "concurrent_idempotent_requests"
    ours = answer.code in REFUSED_US or name in REFUSED_US_BY_NAME
    if 400 <= answer.code < 500 and not (busy or ours or answer.code in TRY_LATER):
        raise PermanentMailError(reason)
    raise TemporaryMailError(reason)


def read_refusal(body: bytes) -> tuple[str, str]:
    """Return Resend's `name` and `message`; a proxy in between may send any other answer."""
    try:
        refusal = orjson.loads(body)
        return str(refusal["name"]), str(refusal["message"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return "", ""


class ConsoleSender:
    """For development: shows each mail on stdout and keeps it as a file that a mail program can open."""

    def __init__(self, folder: Path, sender: Address, *, show: bool = True, timeout: float = SEND_TIMEOUT) -> None:
        """Without `show` only the file has the text, because the log of a public server must not contain codes."""
        self.destination = f"the console and {folder}" if show else str(folder)
        self.folder = folder
        self.sender = sender
        self.show = show
        self.timeout = timeout
        # A paused terminal may block a write forever; it then blocks only this thread.
        self.threads = ThreadPoolExecutor(1, thread_name_prefix="mail-console")

    async def send(self, mail: Mail, message_id: str) -> None:
        message = compose(mail, message_id, self.sender)
        try:
            async with asyncio.timeout(self.timeout):
                await asyncio.get_running_loop().run_in_executor(self.threads, self.deliver, message, mail, message_id)
        except OSError as error:
            raise TemporaryMailError(one_line(f"mail file: {error}", REASON_MAX)) from None

    def deliver(self, message: EmailMessage, mail: Mail, message_id: str) -> None:
        path = write_file(self.folder, message, message_id)
        rule = "─" * 72
        lines = [rule, f"Mail to {message['To']}, kept in {path}"]
        fields = {"to": str(message["To"]), "file": str(path)}
        if self.show:
            text = clean_body(mail.text).rstrip()
            lines += [f"Subject: {message['Subject']}", "", text]
            fields |= {"subject": str(message["Subject"]), "text": text}
        write_out(text_or_json("\n".join([*lines, rule]), "mail", **fields))


def write_file(folder: Path, message: EmailMessage, message_id: str) -> Path:
    """Store the complete message or nothing, readable by its owner only."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{message_id}.eml"
    draft = path.with_suffix(".draft")
    try:
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(message.as_bytes(policy=policy.SMTPUTF8))
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    for old in sorted(folder.glob("*.eml"))[:-KEPT_FILES]:
        old.unlink(missing_ok=True)
    return path
