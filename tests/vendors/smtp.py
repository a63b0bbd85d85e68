"""Real SMTP servers (aiosmtpd in a thread), and peers that break the protocol."""

import asyncio
import contextlib
import datetime
import email
import ipaddress
import socket
import ssl
from email import policy
from pathlib import Path

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, Envelope, Session
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Inbox:
    """An aiosmtpd handler that stores envelopes and refuses some recipients."""

    def __init__(self, rcpt: str = "", data: str = "", sender: str = "") -> None:
        self.rcpt, self.data, self.sender = rcpt, data, sender
        self.envelopes: list[Envelope] = []
        self.sessions: list[Session] = []

    async def handle_MAIL(self, server, session, envelope, address, options):
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return self.sender or "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        envelope.rcpt_tos.append(address)
        return self.rcpt or "250 OK"

    async def handle_DATA(self, server, session, envelope):
        self.sessions.append(session)
        self.envelopes.append(envelope)
        return self.data or "250 OK"

    @property
    def contents(self) -> list[bytes]:
        return [envelope.original_content or b"" for envelope in self.envelopes]

    @property
    def messages(self):
        return [email.message_from_bytes(content, policy=policy.default) for content in self.contents]


class OldSMTP(SMTP):
    """A server without 8BITMIME, SMTPUTF8 and SIZE, like old relays."""

    async def push(self, status):
        line = status if isinstance(status, str) else status.decode()
        if any(word in line for word in ("8BITMIME", "SMTPUTF8", "SIZE")):
            return
        await super().push(status)


class OldRelay(Controller):
    def factory(self):
        return OldSMTP(self.handler)


@contextlib.contextmanager
def smtp_server(handler, kind=Controller, **options):
    controller = kind(handler, hostname="127.0.0.1", port=free_port(), **options)
    controller.start()
    try:
        yield controller.port
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificate(folder: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """Return (server context, client context that trusts it) for 127.0.0.1."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mail.test")])
    now = datetime.datetime.now(datetime.UTC)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(built.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    return server, ssl.create_default_context(cafile=str(folder / "cert.pem"))


def bodies(message) -> tuple[str, str]:
    return (
        message.get_body(("plain",)).get_content().replace("\r\n", "\n"),
        message.get_body(("html",)).get_content().rstrip("\r\n"),
    )


# Peers that break the protocol, for asyncio.start_server.


async def stay_silent(reader, writer):
    await reader.read()
    writer.close()


async def send_slowly(reader, writer):
    """Send bytes slowly without end, so that no single wait is long."""
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"220-still here\r\n")
            await writer.drain()
            await asyncio.sleep(0.02)


async def reply_late(reader, writer):
    """Accept everything, with each reply just before its timeout."""
    with contextlib.suppress(ConnectionError):
        for reply in (b"220", b"250", b"250", b"250", b"354", b"250"):
            await asyncio.sleep(0.25)
            writer.write(reply + b" all in good time\r\n")
            await reader.read(65536)
    writer.close()


async def flood(reader, writer):
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"2" * 65536)
            await writer.drain()


async def send_garbage(reader, writer):
    writer.write("\x00\xff ようこそ\r\n".encode())
    await reader.read()
    writer.close()


async def disconnect(reader, writer):
    writer.close()


async def refuse_service(reader, writer):
    writer.write(b"554 no service for you\r\n")
    await reader.read()
    writer.close()
