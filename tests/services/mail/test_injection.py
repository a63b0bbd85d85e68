"""No text of a user adds a header, a recipient or a second mail, with any sender."""

import email
from email import policy

import pytest

from services.mail.messages import compose, parse_from, parse_recipient
from services.mail.senders import ConsoleSender, PermanentMailError, ResendSender
from tests.helpers.mail.mails import FROM, MAIL, smtp
from tests.vendors.resend import API_KEY, Resend
from tests.vendors.smtp import Inbox, bodies, free_port, smtp_server

HOSTILE = [
    "\nBcc: all@evil.com",
    "\r\nBcc: all@evil.com\r\n\r\nspam",
    "\rBcc: x",
    "\x00",
    "\x0b",
    "\u2028Bcc: x",
    "\x85",
]


@pytest.mark.parametrize("hostile", HOSTILE)
async def test_a_subject_adds_no_header_and_no_recipient(hostile):
    inbox = Inbox()
    with smtp_server(inbox) as port:
        await smtp(port).send(MAIL._replace(subject=f"Hello{hostile} 花子\ud800"), "id")
    (envelope,), (message,) = inbox.envelopes, inbox.messages
    assert envelope.rcpt_tos == [MAIL.to]
    assert message["Bcc"] is None
    assert message["Subject"].startswith("Hello")
    assert sorted(message.keys()) == sorted(compose(MAIL, "id", FROM).keys())
    assert bodies(message) == (MAIL.text, MAIL.html)


@pytest.mark.parametrize(
    "to",
    [f"a@b.com{hostile}" for hostile in HOSTILE]
    + [f"a{hostile}@b.com" for hostile in HOSTILE]
    + ["", "a", "@", "a@", "@b.com", "a@b.com, c@d.com", "a@b.com c@d.com", "a@b@c.com", "A <a@b.com>", "<a@b.com>"]
    + ["a@b.com> SIZE=1", '"a b"@b.com', "a(x)@b.com", "a:b@c.com;", "\u202ea@b.com", "a@\ud800.com", "a@..例え.jp"]
    + ["a" * 250 + "@b.com", "a@xn--\u2066.jp", "=?utf-8?q?a=0ABcc=3Ax?=@b .com"],
)
async def test_a_mail_to_an_invalid_address_is_not_sent(to, tmp_path):
    with pytest.raises(PermanentMailError, match="not an e-mail address"):
        await ConsoleSender(tmp_path, FROM).send(MAIL._replace(to=to), "id")
    with pytest.raises(PermanentMailError, match="not an e-mail address"):
        await smtp(free_port()).send(MAIL._replace(to=to), "id")
    async with Resend() as resend:
        with pytest.raises(PermanentMailError, match="not an e-mail address"):
            await ResendSender(resend.url, API_KEY, FROM).send(MAIL._replace(to=to), "id")
    assert (resend.requests, list(tmp_path.iterdir())) == ([], [])


async def test_a_body_cannot_end_itself():
    """The body contains dots and line ends that would end SMTP's DATA and begin a second mail."""
    inbox = Inbox()
    text = "one\r\n.\r\nMAIL FROM:<x@evil.com>\n.\nthree\r.\rfour\x00\x1b[31m\ttab \ud83d\n"
    with smtp_server(inbox) as port:
        await smtp(port).send(MAIL._replace(text=text), "id")
    assert bodies(inbox.messages[0])[0] == "one\n.\nMAIL FROM:<x@evil.com>\n.\nthree\n.\nfour[31m\ttab \ufffd\n"


@pytest.mark.parametrize("message_id", ["", "a b", "a>\r\nBcc: x", "../../x", ".hidden", "a" * 129, "花"])
async def test_a_message_id_is_plain(message_id, tmp_path):
    for sender in (ConsoleSender(tmp_path, FROM), smtp(1), ResendSender("http://127.0.0.1:1", API_KEY, FROM)):
        with pytest.raises(ValueError, match="message_id"):
            await sender.send(MAIL, message_id)


@pytest.mark.parametrize(
    ("text", "name", "address"),
    [
        ("no-reply@localhost", "", "no-reply@localhost"),
        ("Encer, Inc. <a@b.com>", None, None),
        ('"Encer, Inc." <a@b.com>', "Encer, Inc.", "a@b.com"),
        ("美容、Encer <a@b.com>", "美容、Encer", "a@b.com"),
        ("Encer\r\nBcc: x@y.z <a@b.com>", None, None),
        ("Encer", None, None),
        ("a@b.com, c@d.com", None, None),
        ("花子@example.jp", None, None),
        ("", None, None),
    ],
)
def test_the_sender_address(text, name, address):
    if address is None:
        with pytest.raises(ValueError, match="must look like"):
            parse_from(text)
    else:
        assert (parse_from(text).display_name, parse_from(text).addr_spec) == (name, address)
        written = email.message_from_bytes(compose(MAIL, "id", parse_from(text)).as_bytes(), policy=policy.default)
        assert (written["From"].addresses[0].display_name, written["From"].addresses[0].addr_spec) == (name, address)


def test_recipients_keep_their_spelling_before_the_at():
    assert parse_recipient("Hana.Ko+x@Example.jp").addr_spec == "Hana.Ko+x@Example.jp"
