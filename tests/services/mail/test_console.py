"""Mails to the console and to files, and which sender the settings choose."""

import email
import io
import stat
import threading
from email import policy

import pytest

from services.mail import senders as mail_service
from services.mail.choice import sender_from_settings
from services.mail.senders import ConsoleSender, ResendSender, TemporaryMailError
from services.mail.smtp import SmtpSender
from settings import SettingsError, load_settings
from tests.helpers.mail.mails import FROM, GENEROUS, MAIL
from tests.vendors.smtp import bodies


async def test_console_shows_the_code_and_keeps_a_file(tmp_path, capsys):
    folder = tmp_path / "data" / "mail"
    sender = ConsoleSender(folder, FROM)
    await sender.send(MAIL, "row-1")
    shown = capsys.readouterr().out
    (path,) = folder.iterdir()
    assert all(part in shown for part in (MAIL.to, MAIL.subject, MAIL.text.rstrip(), str(path)))
    assert path.name.endswith("-row-1.eml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    message = email.message_from_bytes(path.read_bytes(), policy=policy.default)
    assert message["Message-ID"] == "<row-1@encer.example>"
    assert bodies(message) == (MAIL.text, MAIL.html)


async def test_console_keeps_codes_out_of_a_public_servers_log(tmp_path, capsys):
    await ConsoleSender(tmp_path, FROM, show=False).send(MAIL, "row-1")
    shown = capsys.readouterr().out
    assert "012345" not in shown
    assert MAIL.subject not in shown
    assert "row-1" in shown


async def test_console_keeps_a_bounded_number_of_files(tmp_path, monkeypatch):
    monkeypatch.setattr(mail_service, "KEPT_FILES", 3)
    sender = ConsoleSender(tmp_path, FROM)
    for number in range(5):
        await sender.send(MAIL, f"row-{number}")
    assert sorted(path.name[-9:-4] for path in tmp_path.iterdir()) == ["row-2", "row-3", "row-4"]


async def test_console_folder_cannot_be_written(tmp_path):
    (tmp_path / "mail").write_text("a file in the way")
    with pytest.raises(TemporaryMailError, match="mail file"):
        await ConsoleSender(tmp_path / "mail", FROM).send(MAIL, "id")


async def test_console_leaves_nothing_half_written(tmp_path, monkeypatch):
    def full_disk(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", full_disk)
    with pytest.raises(TemporaryMailError, match="No space left"):
        await ConsoleSender(tmp_path, FROM).send(MAIL, "id")
    assert list(tmp_path.iterdir()) == []


async def test_console_works_on_a_terminal_without_japanese(tmp_path, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="latin-1")
    monkeypatch.setattr("sys.stdout", terminal)
    await ConsoleSender(tmp_path, FROM).send(MAIL, "id")
    assert b"012345" in terminal.buffer.getvalue()


async def test_console_does_not_hold_up_the_event_loop(tmp_path, monkeypatch):
    release = threading.Event()
    monkeypatch.setattr(mail_service, "write_out", lambda _: release.wait(GENEROUS))
    try:
        with pytest.raises(TemporaryMailError):
            await ConsoleSender(tmp_path, FROM, timeout=0.1).send(MAIL, "id")
    finally:
        release.set()


# --- choosing a sender


def settings(tmp_path, **values):
    return load_settings(_env_file=None, data_dir=tmp_path, app_env="test", **values)


def test_resend_comes_before_smtp_before_the_console(tmp_path):
    console = sender_from_settings(settings(tmp_path))
    smtp_sender = sender_from_settings(settings(tmp_path, email_host="mail.example.com"))
    resend = sender_from_settings(settings(tmp_path, email_host="mail.example.com", resend_api_key="re_x"))
    assert (type(console), type(smtp_sender), type(resend)) == (ConsoleSender, SmtpSender, ResendSender)
    assert console.destination == f"the console and {tmp_path / 'mail'}"
    assert smtp_sender.destination == "SMTP mail.example.com:587"
    assert resend.destination == "Resend at api.resend.com"


def test_email_sender_chooses_among_what_there_is(tmp_path):
    both = {"email_host": "mail.example.com", "resend_api_key": "re_x"}
    smtp_sender = sender_from_settings(settings(tmp_path, email_sender="smtp", **both))
    console = sender_from_settings(settings(tmp_path, email_sender="console", **both))
    assert (type(smtp_sender), type(console)) == (SmtpSender, ConsoleSender)


def test_a_bad_sender_address_is_said_at_start(tmp_path):
    with pytest.raises(SettingsError, match="EMAIL_FROM: must look like"):
        sender_from_settings(settings(tmp_path, email_from="Encer"))
