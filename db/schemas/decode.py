"""Decoding of all JSON that clients send, in bodies, frames and fields of forms, with a bound on the depth."""

import re
from codecs import BOM_UTF8
from typing import Any

import orjson

MAX_DEPTH = 64  # of nested objects and lists; valid requests need four
TOO_DEEP = f"must not nest objects and lists more than {MAX_DEPTH} deep"
# A string, or adjacent brackets that open or close.
TOKEN = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+', re.DOTALL)


class NotJson(ValueError):
    pass


class TooDeep(ValueError):
    """`shallow` is the decoded value, with null for each part that is too deep."""

    def __init__(self, shallow: Any) -> None:
        super().__init__(TOO_DEEP)
        self.shallow = shallow


def decode_json(text: str | bytes) -> Any:
    """Return the decoded value; raises NotJson or TooDeep. A byte order mark is skipped (RFC 8259 §8.1)."""
    text = text.encode(errors="surrogatepass") if isinstance(text, str) else text
    text = text.removeprefix(BOM_UTF8)
    kept = cut_deeper(text) if text.count(b"[") + text.count(b"{") > MAX_DEPTH else text
    try:
        value = orjson.loads(kept)
    except orjson.JSONDecodeError as error:
        raise NotJson("is not valid JSON") from error
    if kept is not text:
        raise TooDeep(value)
    return value


def cut_deeper(text: bytes) -> bytes:
    """Return the text with null for each object or list below MAX_DEPTH, or the text itself if there is none."""
    kept: list[bytes] = []
    depth = start = 0
    for token in TOKEN.finditer(text):
        opens, brackets = text[token.start()] in b"[{", token.end() - token.start()
        if opens:
            if depth <= MAX_DEPTH < depth + brackets:
                kept += [text[start : token.start() + MAX_DEPTH - depth], b"null"]
            depth += brackets
        elif text[token.start()] in b"]}":
            if depth - brackets <= MAX_DEPTH < depth:
                start = token.start() + depth - MAX_DEPTH
            depth -= brackets
    return b"".join([*kept, text[start:]]) if kept else text
