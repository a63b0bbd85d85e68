"""The beginning of a message, as lists and notifications show it."""

import regex

PREVIEW_CHARS = 200
CLUSTER = regex.compile(r"\X")  # what a reader sees as one character: a family emoji is seven code points


def preview(text: str) -> str:
    """Return at most PREVIEW_CHARS code points of the text, cut between grapheme clusters (UAX #29)."""
    if len(text) <= PREVIEW_CHARS:
        return text
    end = 0
    for cluster in CLUSTER.finditer(text):
        if cluster.end() > PREVIEW_CHARS:
            break
        end = cluster.end()
    return text[: end or PREVIEW_CHARS]  # no language has a first cluster that long
