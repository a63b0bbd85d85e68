"""Mails over SMTP: delivery, refusals, encryption, and servers that misbehave."""

import asyncio
import ssl
import time

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult

from services.mail import smtp as mail_service
from services.mail.senders import PermanentMailError, TemporaryMailError
from services.mail.smtp import SmtpSender
from tests.helpers.mail.mails import FROM, GENEROUS, MAIL, SHORT, smtp
from tests.vendors.smtp import (
    Inbox,
    OldRelay,
    bodies,
    disconnect,
    flood,
    free_port,
    make_certificate,
    refuse_service,
    reply_late,
    send_garbage,
    send_slowly,
    smtp_server,
    stay_silent,
)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    return make_certificate(tmp_path_factory.mktemp("tls"))


async def test_smtp_delivers_japanese_and_emoji_whole():
    inbox = Inbox()
    with smtp_server(inbox) as port:
        await smtp(port).send(MAIL, "0192-abc")
    (envelope,), (message,) = inbox.envelopes, inbox.messages
    assert (envelope.mail_from, envelope.rcpt_tos) == ("no-reply@encer.example", ["hanako@example.jp"])
    assert message["Subject"] == "ようこそ 🎉"
    assert message["From"].addresses[0].display_name == "美容 Encer"
    assert message["Message-ID"] == "<0192-abc@encer.example>"
    assert message["Date"].datetime.tzinfo is not None
    assert bodies(message) == (MAIL.text, MAIL.html)
    assert inbox.contents[0].isascii()


async def test_smtp_message_id_is_the_same_at_each_try():
    inbox = Inbox(data="451 try later")
    with smtp_server(inbox) as port:
        for _ in range(2):
            with pytest.raises(TemporaryMailError, match="451"):
                await smtp(port).send(MAIL, "row-7")
        inbox.data = ""
        await smtp(port).send(MAIL, "row-7")
    assert [message["Message-ID"] for message in inbox.messages] == ["<row-7@encer.example>"] * 3


@pytest.mark.parametrize(
    ("refusal", "error"),
    [
        ({"rcpt": "550 5.1.1 no such user"}, PermanentMailError),
        ({"data": "554 5.7.1 looks like spam"}, PermanentMailError),
        ({"rcpt": "450 4.2.1 greylisted"}, TemporaryMailError),
        ({"data": "452 4.3.1 disk full"}, TemporaryMailError),
        # The cause is our address or account, not the mail, so the mail waits until the operator corrects the cause.
        ({"sender": "550 5.7.1 sender not allowed"}, TemporaryMailError),
    ],
)
async def test_smtp_refusals(refusal, error):
    inbox = Inbox(**refusal)
    with smtp_server(inbox) as port, pytest.raises(error) as caught:
        await smtp(port).send(MAIL, "id")
    (response,) = refusal.values()
    assert response[:3] in str(caught.value)
    assert "012345" not in str(caught.value)


async def test_smtp_server_is_down():
    with pytest.raises(TemporaryMailError, match="SMTP"):
        await smtp(free_port()).send(MAIL, "id")


async def test_smtp_host_does_not_resolve():
    with pytest.raises(TemporaryMailError, match="SMTP"):
        await SmtpSender("no-such-host.invalid", 587, FROM, timeout=GENEROUS).send(MAIL, "id")


@pytest.mark.parametrize(
    "peer", [stay_silent, send_slowly, reply_late, flood, send_garbage, disconnect, refuse_service]
)
async def test_smtp_servers_that_break_the_protocol_are_left_in_time(peer):
    server = await asyncio.start_server(peer, "127.0.0.1", 0)
    try:
        started = time.monotonic()
        with pytest.raises(TemporaryMailError):
            await smtp(server.sockets[0].getsockname()[1], timeout=SHORT).send(MAIL, "id")
        assert time.monotonic() - started < SHORT + 2
    finally:
        server.close()


async def test_smtp_a_mail_that_was_accepted_is_sent_even_if_quit_hangs(monkeypatch):
    """Otherwise it would be sent again."""
    monkeypatch.setattr(mail_service, "QUIT_TIMEOUT", 0.05)
    inbox, response = Inbox(), asyncio.Event()

    class SmtpWithoutQuit(SMTP):
        async def smtp_QUIT(self, arg):
            loop.call_soon_threadsafe(response.set)
            await asyncio.sleep(GENEROUS)

    class ControllerWithoutQuit(Controller):
        def factory(self):
            return SmtpWithoutQuit(self.handler)

    loop = asyncio.get_running_loop()
    with smtp_server(inbox, ControllerWithoutQuit) as port:
        await smtp(port).send(MAIL, "id")
        await asyncio.wait_for(response.wait(), GENEROUS)
    assert len(inbox.envelopes) == 1


async def test_smtp_starttls_is_used_where_offered(certificate):
    server_tls, client_tls = certificate
    inbox = Inbox()
    with smtp_server(inbox, tls_context=server_tls) as port:
        await smtp(port, tls_context=client_tls).send(MAIL, "id")
    assert inbox.sessions[0].ssl is not None


async def test_smtp_starttls_with_an_unknown_certificate_sends_nothing(certificate):
    inbox = Inbox()
    with smtp_server(inbox, tls_context=certificate[0]) as port, pytest.raises(TemporaryMailError, match="SMTP"):
        await smtp(port, tls_context=ssl.create_default_context()).send(MAIL, "id")
    assert inbox.envelopes == []


async def test_smtp_tls_from_the_first_byte(certificate):
    server_tls, client_tls = certificate
    inbox = Inbox()
    with smtp_server(inbox, ssl_context=server_tls) as port:
        await smtp(port, tls=True, tls_context=client_tls).send(MAIL, "id")
    assert len(inbox.envelopes) == 1


@pytest.mark.parametrize(("password", "welcome"), [("pässword", True), ("wrong", False)])
async def test_smtp_signs_in(certificate, password, welcome):
    def authenticate(server, session, envelope, mechanism, data):
        return AuthResult(success=data.password == "pässword".encode(), handled=False)

    server_tls, client_tls = certificate
    inbox = Inbox()
    options = {"tls_context": server_tls, "authenticator": authenticate, "auth_required": True}
    with smtp_server(inbox, **options) as port:
        sender = smtp(port, user="encer", password=password, tls_context=client_tls)
        if welcome:
            await sender.send(MAIL, "id")
        else:  # temporary: the mail is not the cause
            with pytest.raises(TemporaryMailError, match="535") as caught:
                await sender.send(MAIL, "id")
            assert password not in str(caught.value)
    assert len(inbox.envelopes) == welcome


def test_smtp_a_password_never_travels_in_clear():
    remote = SmtpSender("mail.example.com", 587, FROM, "user", "password")
    assert remote.options["start_tls"] is True
    assert remote.options["validate_certs"] is True
    assert SmtpSender("mail.example.com", 587, FROM).options["start_tls"] is None  # if the server offers it
    assert SmtpSender("mail.example.com", 465, FROM, "user", "password").options["use_tls"] is True


async def test_smtp_international_addresses():
    inbox = Inbox()
    with smtp_server(inbox, enable_SMTPUTF8=True) as port:
        await smtp(port).send(MAIL._replace(to="花子@例え.jp"), "id")
        await smtp(port).send(MAIL._replace(to="anna@straße.de"), "id")
    assert [e.rcpt_tos for e in inbox.envelopes] == [["花子@xn--r8jz45g.jp"], ["anna@xn--strae-oqa.de"]]
    assert inbox.messages[0]["Subject"] == MAIL.subject


async def test_smtp_old_relays_get_ascii_and_no_international_address():
    inbox = Inbox()
    with smtp_server(inbox, OldRelay) as port:
        await smtp(port).send(MAIL._replace(to="anna@例え.jp"), "id")
        with pytest.raises(PermanentMailError, match="SMTPUTF8"):
            await smtp(port).send(MAIL._replace(to="花子@example.jp"), "id")
    (envelope,), (message,) = inbox.envelopes, inbox.messages
    assert envelope.mail_options == []
    assert bodies(message) == (MAIL.text, MAIL.html)
