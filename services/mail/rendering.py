"""The mails that the server writes: fixed subjects, and a text and an HTML body from `services/mail/templates`.

Parameters come from unverified users, and the address may belong to another person. So every
parameter becomes one bounded line without control characters, HTML is escaped by the template engine,
and a name cannot contain a link.
"""

import re
from pathlib import Path
from typing import Literal, NamedTuple

from tornado.template import Loader

Template = Literal["verify", "reset", "password_changed", "instagram_reminder"]

FOLDER = Path(__file__).parent / "templates"
# Longer than any normal value (a URL with a token is the longest). Bounds what a user can send to others by mail.
PARAM_MAX = 500
NAME_MAX = 80
UNKNOWN = "unknown"

LINE_BREAKS_AND_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# Overrides and isolates let a name reverse the text after it. Right-to-left letters do not need them.
BIDI_CONTROLS = re.compile(r"[\u202a-\u202e\u2066-\u2069]")
LONE_SURROGATES = re.compile(r"[\ud800-\udfff]")
# Mail programs make links of example.com, https:// and me@example.com, also with full-width dots.
LINK_JOINTS = re.compile(r"(?<=\w)([.．。｡]|://|:)(?=\S)")


class Declaration(NamedTuple):
    subject: str
    params: frozenset[str]
    optional: frozenset[str] = frozenset()  # instances of an earlier version queue the mail without them


DECLARATIONS: dict[Template, Declaration] = {
    "verify": Declaration(
        "Confirm your e-mail address for Beautiful Encer",
        frozenset({"name", "role", "code", "minutes"}),
        frozenset({"signed_up_at", "device"}),
    ),
    "reset": Declaration("Reset your Beautiful Encer password", frozenset({"name", "code", "minutes"})),
    "password_changed": Declaration("Your Beautiful Encer password was changed", frozenset({"name", "changed_at"})),
    "instagram_reminder": Declaration(
        "Show that your Instagram account is yours", frozenset({"name", "username", "code", "url"})
    ),
}

TEXTS = Loader(str(FOLDER), autoescape=None, whitespace="all")
PAGES = Loader(str(FOLDER), autoescape="xhtml_escape")
# Read and compiled at import, so that a broken template fails at start and no mail waits for a file.
BODIES = {template: (TEXTS.load(f"{template}.txt"), PAGES.load(f"{template}.html")) for template in DECLARATIONS}


class TemplateError(ValueError):
    """The mail cannot be rendered. The text names the invalid parameters, never their values."""


class Content(NamedTuple):
    """Subject and bodies of a mail; `Mail(to, *content)` adds the recipient."""

    subject: str
    text: str
    html: str


def one_line(text: str, limit: int = PARAM_MAX) -> str:
    """Return `text` as one line of at most `limit` characters that any header, terminal or page can show."""
    line = LONE_SURROGATES.sub("\ufffd", BIDI_CONTROLS.sub("", text))
    line = LINE_BREAKS_AND_CONTROLS.sub(" ", line).strip()
    return line if len(line) <= limit else line[: limit - 1] + "…"


def unlinked(name: str) -> str:
    """Return a person's name without links for mail programs: `win at evil.com` becomes `win at evil. com`."""
    return LINK_JOINTS.sub(r"\1 ", one_line(name, NAME_MAX))


def render(template: Template, params: dict[str, str]) -> Content:
    """Write one mail. Raises TemplateError if a declared parameter is missing, blank or not text; ignores others."""
    if template not in DECLARATIONS:
        raise TemplateError(f"there is no mail template {one_line(str(template), NAME_MAX)}")
    subject, declared, optional = DECLARATIONS[template]
    given = {key: one_line(params[key]) for key in declared | optional if isinstance(params.get(key), str)}
    faults = sorted(key for key in declared if not given.get(key))
    if faults:
        raise TemplateError(f"{template} lacks {', '.join(faults)}")
    if not given.get("url", "https://").startswith(("https://", "http://")):
        raise TemplateError(f"{template}: url must be http or https")
    given |= {key: UNKNOWN for key in optional if not given.get(key)}
    given["name"] = unlinked(given["name"])
    if "role" in given:
        given["role"] = given["role"].lower()
    text, page = BODIES[template]
    return Content(subject, text.generate(**given).decode(), page.generate(**given).decode())
