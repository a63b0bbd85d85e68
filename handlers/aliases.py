"""The web client's spellings (contract §1): each is served by the canonical route's handler."""

# (method, web client's path) → (method, canonical path)
ALIASES: dict[tuple[str, str], tuple[str, str]] = {}
