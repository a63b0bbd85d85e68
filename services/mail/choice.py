"""The sender of mails that the settings choose, and the check of these settings at start."""

from collections.abc import Mapping
from typing import Any

from services.mail.messages import parse_from
from services.mail.senders import ConsoleSender, ResendSender, Sender
from settings import Settings, SettingsError

SENDER_NEEDS = {"resend": "resend_api_key", "smtp": "email_host"}  # in the order in which they are chosen


def choose_sender(values: Mapping[str, Any]) -> str:
    """Return EMAIL_SENDER; if it is not set, what the other settings allow. `values` are settings by name."""
    able = (sender for sender, setting in SENDER_NEEDS.items() if values.get(setting))
    return values.get("email_sender") or next(able, "console")


def sender_faults(values: Mapping[str, Any]) -> list[str]:
    """Check the settings of mails at start, as they are written (settings.load_settings)."""
    faults = []
    production = values.get("app_env") == "production"
    sender, text = choose_sender(values), values.get("email_from")
    needed = SENDER_NEEDS.get(sender)
    if needed and not values.get(needed):
        faults.append(f"{needed.upper()}: is required by EMAIL_SENDER={sender}")
    if production and sender == "console" and not values.get("email_sender"):
        faults.append(
            "EMAIL_SENDER: is required in production. Set RESEND_API_KEY or EMAIL_HOST, or EMAIL_SENDER=console to "
            "send no mail at all"
        )
    if production and not text:
        faults.append("EMAIL_FROM: is required in production")
    try:
        if text:
            parse_from(text)
    except ValueError as error:
        faults.append(f"EMAIL_FROM: {error}")
    return faults


def sender_from_settings(settings: Settings) -> Sender:
    """Return the sender that the settings choose. Raises SettingsError."""
    try:
        sender = parse_from(settings.email_from)
    except ValueError as error:
        raise SettingsError(f"EMAIL_FROM: {error}") from None
    chosen = choose_sender(dict(settings))
    if chosen == "resend" and settings.resend_api_key:
        return ResendSender(settings.resend_api_url, settings.resend_api_key.get_secret_value(), sender)
    if chosen == "smtp" and settings.email_host:
        password = settings.email_pass.get_secret_value() if settings.email_pass else None
        from services.mail.smtp import SmtpSender  # with aiosmtplib, which other servers do not load

        return SmtpSender(settings.email_host, settings.email_port, sender, settings.email_user, password)
    return ConsoleSender(settings.data_dir / "mail", sender, show=not settings.production)
