"""Proof of ownership of a public profile: the owner puts a code into its bio."""

import secrets
import unicodedata

PREFIX = "encer-"
# Without letters and digits that look alike: the code is typed on a phone.
ALPHABET = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"
LENGTH = 8


def new_code() -> str:
    return PREFIX + "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))


def shows_code(biography: str | None, code: str) -> bool:
    """Return whether the bio contains the code in any letter case and width, but not as a part of a longer word."""
    text = unicodedata.normalize("NFKC", biography or "").casefold()
    wanted = code.casefold()
    start = text.find(wanted)
    while start >= 0:
        before, after = text[start - 1 : start], text[start + len(wanted) : start + len(wanted) + 1]
        if not is_code_letter(before) and not is_code_letter(after):
            return True
        start = text.find(wanted, start + 1)
    return False


def is_code_letter(text: str) -> bool:
    # Japanese may follow without a space; it cannot be a part of another code.
    return text.isascii() and text.isalnum()
