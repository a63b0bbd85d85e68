"""`make settings` writes the table of settings in README.md from settings.py."""

import re
import sys
from datetime import timedelta
from pathlib import Path

from pydantic.fields import FieldInfo

from services.logs import write_out
from services.mail.choice import sender_faults
from settings import UNIT_SECONDS, Limit, Settings, SettingsError, load_settings

README = Path(__file__).parents[1] / "README.md"
BEGIN = "<!-- settings: `make settings` writes this table from settings.py -->\n"
END = "<!-- end of settings -->\n"


def write_duration(seconds: float) -> str:
    """Write a duration as settings have it, in the largest unit of which it is a whole number: `15m`, `250ms`."""
    for unit, length in sorted(UNIT_SECONDS.items(), key=lambda each: -each[1]):
        count = round(seconds / length, 6)
        if count.is_integer():
            return f"{count:.0f}{unit}"
    raise ValueError("shorter than a millisecond")


def write_value(value: object) -> str:
    """Write a value as it stands in an env file."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case timedelta():
            return write_duration(value.total_seconds())
        case Limit(hits, period, burst):
            return f"{hits}/{write_duration(period)}" + (f"+{burst}" if burst else "")
        case list():
            return ",".join(map(str, value))
    return str(value)


def required_in_production() -> set[str]:
    """Return the settings that a start in production misses; `email_sender` stands for any way to send mails."""
    try:
        load_settings(sender_faults, _env_file=None, app_env="production", email_sender="console")
    except SettingsError as error:
        return {line.partition(":")[0] for line in str(error).splitlines()}
    return set()


def default_of(name: str, field: FieldInfo, required: set[str]) -> str:
    shown = "" if field.is_required() else write_value(field.default)
    marks = [f"`{shown}`".replace(",", "`, `")] if shown else []
    return "; ".join([*marks, *(["**required in production**"] if name in required else [])])


def settings_table() -> str:
    required = required_in_production()
    rows = [
        f"| `{name}` | {default_of(name, field, required)} | {field.description} |"
        for name, field in ((name.upper(), field) for name, field in Settings.model_fields.items())
    ]
    return "\n".join(["", "| setting | default | meaning |", "|---|---|---|", *rows, "", ""])


def with_table(readme: str) -> str:
    """Return the text with a current table between the two markers."""
    pattern = re.compile(f"({re.escape(BEGIN)}).*?({re.escape(END)})", re.DOTALL)
    return pattern.sub(lambda found: found[1] + settings_table() + found[2], readme)


def main() -> int:
    README.write_text(with_table(README.read_text()))
    write_out("README.md has the current table of settings.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
