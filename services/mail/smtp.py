"""The sender of mails over SMTP. Only where it is chosen, choice.py loads this module with aiosmtplib."""

import asyncio
import contextlib
import ssl
from email.headerregistry import Address
from ipaddress import ip_address
from typing import Any

import aiosmtplib

from services.mail.messages import Mail, PermanentMailError, TemporaryMailError, compose
from services.mail.rendering import one_line
from services.mail.senders import REASON_MAX, SEND_TIMEOUT

TLS_PORT = 465
REPLY_TIMEOUT = 15.0
# The mail is delivered by then, so a slow QUIT is cut off.
QUIT_TIMEOUT = 2.0


class SmtpSender:
    """Opens one connection per mail: encrypted from the start on port 465, else by STARTTLS if the server offers it."""

    def __init__(
        self,
        host: str,
        port: int,
        sender: Address,
        user: str | None = None,
        password: str | None = None,
        *,
        tls: bool | None = None,
        tls_context: ssl.SSLContext | None = None,
        timeout: float = SEND_TIMEOUT,
    ) -> None:
        self.destination = f"SMTP {host}:{port}"
        self.sender = sender
        self.timeout = timeout
        use_tls = port == TLS_PORT if tls is None else tls
        # A password is never sent unencrypted: an attacker on the network could hide the server's offer of STARTTLS.
        must_encrypt = user is not None and not is_loopback(host)
        self.options: dict[str, Any] = {
            "hostname": host,
            "port": port,
            "username": user,
            "password": password,
            "use_tls": use_tls,
            "start_tls": False if use_tls else (True if must_encrypt else None),
            "tls_context": tls_context,
            # A relay on this machine has a certificate for another name, or a self-signed one.
            "validate_certs": not is_loopback(host),
            "timeout": min(REPLY_TIMEOUT, timeout),
            # Otherwise the library asks DNS for this machine's name before each mail.
            "local_hostname": sender.domain,
        }

    async def send(self, mail: Mail, message_id: str) -> None:
        message = compose(mail, message_id, self.sender)
        client = aiosmtplib.SMTP(**self.options)
        try:
            async with asyncio.timeout(self.timeout):
                await client.connect()
                await client.send_message(message)
            await quit_session(client)
        except aiosmtplib.SMTPNotSupported as error:  # an address such as 花子@example.jp needs SMTPUTF8
            raise PermanentMailError(one_line(f"SMTP: {error.message}", REASON_MAX)) from None
        except aiosmtplib.SMTPRecipientsRefused as error:
            raise smtp_refusal(error.recipients[0]) from None
        except aiosmtplib.SMTPDataError as error:
            raise smtp_refusal(error) from None
        except (aiosmtplib.SMTPException, OSError) as error:
            reason = str(error) or type(error).__name__
            raise TemporaryMailError(one_line(f"SMTP: {reason}", REASON_MAX)) from None
        finally:
            client.close()


def is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


async def quit_session(client: aiosmtplib.SMTP) -> None:
    with contextlib.suppress(aiosmtplib.SMTPException, OSError):
        await client.quit(timeout=QUIT_TIMEOUT)


def smtp_refusal(error: aiosmtplib.SMTPResponseException) -> PermanentMailError | TemporaryMailError:
    reason = one_line(f"SMTP {error.code}: {error.message}", REASON_MAX)
    return PermanentMailError(reason) if 500 <= error.code < 600 else TemporaryMailError(reason)
