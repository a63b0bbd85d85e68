"""A mail in Japanese with an emoji and its sender, for the tests of all senders."""

from services.mail.messages import Mail, parse_from
from services.mail.smtp import SmtpSender

FROM = parse_from("美容 Encer <no-reply@encer.example>")
MAIL = Mail(
    "hanako@example.jp", "ようこそ 🎉", "こんにちは 花子さん\n\n    012345\n", "<p>こんにちは <b>花子</b> 🎉</p>"
)
SHORT = 0.4  # seconds that a sender may wait for a server that never answers
GENEROUS = 10.0


def smtp(port: int, **options) -> SmtpSender:
    return SmtpSender("127.0.0.1", port, FROM, **{"timeout": GENEROUS, **options})
