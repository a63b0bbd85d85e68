"""Forms with files as browsers send them, sample pictures, and the files that the server has stored."""

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from PIL import Image

from server import Instance
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import Person

BOUNDARY = "----WebKitFormBoundaryx3kX9"
PDF = b"%PDF-1.7\n1 0 obj << >> endobj\ntrailer << >>\nstartxref\n9\n%%EOF\n"


class File(NamedTuple):
    data: bytes
    name: str = "me.png"
    content_type: str = "image/png"


def encode_form(fields: list[tuple[str, str | File]]) -> bytes:
    parts = []
    for name, value in fields:
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"'
        if isinstance(value, File):
            head += f'; filename="{value.name}"\r\nContent-Type: {value.content_type}'
        # A browser writes each newline of a text as CR LF.
        data = value.data if isinstance(value, File) else value.replace("\n", "\r\n").encode()
        parts.append(head.encode() + b"\r\n\r\n" + data + b"\r\n")
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


async def send_form(
    api: Api, path: str, user: Person, *fields: tuple[str, str | File], method: str = "POST", cut: int | None = None
) -> Answer:
    """Send a form. `cut` is the number of bytes of the body that are sent."""
    headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
    return await api.call(method, path, user=user, raw=encode_form(list(fields))[:cut], headers=headers)


def picture(kind: str = "PNG", colour: str = "red", size: tuple[int, int] = (40, 30), **options: Any) -> bytes:
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, kind, **options)
    return out.getvalue()


def huge_picture() -> bytes:
    """Return a PNG of a few bytes that declares a size of 40,000 × 40,000 pixels."""
    small = picture()
    head = b"IHDR" + struct.pack(">II", 40_000, 40_000) + small[24:29]
    return small[:12] + head + struct.pack(">I", zlib.crc32(head)) + small[33:]


BAD_FILES = {
    "empty": b"",
    "truncated": picture(size=(300, 300))[:-20],
    "polyglot": picture() + b"<script>alert(1)</script>",
    "huge": huge_picture(),
    "svg": b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>',
    "wrongly named": b"GIF? no, just text",
    "html": b"<!doctype html><script>alert(1)</script>",
    "program": b"\x7fELF" + bytes(200),
}


def kept_files(instance: Instance) -> set[str]:
    """Return the names of all files under DATA_DIR/media, also of unfinished ones."""
    root: Path = instance.settings.data_dir / "media"
    return {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}


def name_of(url: str) -> str:
    return urlsplit(url).path.removeprefix("/media/")
