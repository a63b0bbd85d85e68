"""Read multipart/form-data as it arrives, within bounds of memory (RFC 7578).

python-multipart finds the parts; this module bounds and interprets them.
"""

import logging
import re
import unicodedata
from collections import defaultdict
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import PurePosixPath
from urllib.parse import unquote

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, MultipartState, parse_options_header

MAX_BOUNDARY_BYTES = 70  # RFC 2046, 5.1.1
MAX_NAME_CHARS = 100  # of a field's name; the longest one of our forms is under 30
MAX_FILENAME_CHARS = 255  # the bound of file systems and of the column
MAX_SUFFIX_CHARS = 20  # a longer suffix is not a file type
# Per part: python-multipart accepts 8 headers of 4 KiB each; the rest is delimiters.
MAX_PART_OVERHEAD = 64 * 1024
DEFAULT_FILENAME = "file"
PLAIN_ENCODINGS = {"", "7bit", "8bit", "binary"}  # RFC 7578, 4.7 deprecates others

QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
EXTENDED_FILENAME = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[\w-]*'([^;\s]+)", re.IGNORECASE)
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")  # all but tab
# Marks that change the writing direction make `gpj.exe` look like `exe.jpg`.
UNSAFE_IN_FILENAMES = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")

# It logs a warning for every malformed body, so clients could fill the log.
logging.getLogger("python_multipart").setLevel(logging.CRITICAL)


class FormTooLarge(Exception):
    """The body, a file or a field exceeds its bound (413). The text is for the user."""


class Malformed(Exception):
    """The body is not well-formed multipart/form-data, or has too many parts (400). The text is for the user."""


@dataclass(frozen=True, slots=True)
class UploadedFile:
    """A file with the client's name and media type; neither can be trusted. `filename` is a clean base name."""

    filename: str
    content_type: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """All fields and files by name, in their order. Empty file inputs of browsers are left out."""

    fields: dict[str, list[str]]
    files: dict[str, list[UploadedFile]]


class MultipartReader:
    """`feed` takes the chunks of a body, `finish` returns the form. Both raise Malformed or FormTooLarge."""

    def __init__(
        self,
        content_type: str,
        *,
        max_file_bytes: int,
        max_files: int = 1,
        max_fields: int = 64,
        max_field_bytes: int = 64 * 1024,
    ) -> None:
        self._max_file_bytes = max_file_bytes
        self._max_files = max_files
        self._max_fields = max_fields
        self._max_field_bytes = max_field_bytes
        self._max_parts = max_fields + max_files
        self._room = (
            max_files * max_file_bytes + max_fields * max_field_bytes + (self._max_parts + 2) * MAX_PART_OVERHEAD
        )

        boundary = read_boundary(content_type)
        self._delimiter = b"\r\n--" + boundary
        self._delimiters_left = self._max_parts + 1
        self._parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin_part,
                "on_header_field": lambda data, start, end: self._header_name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._header_value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._end_headers,
                "on_part_data": self._add_data,
                "on_part_end": self._end_part,
            },
        )
        self._fields: defaultdict[str, list[str]] = defaultdict(list)
        self._files: defaultdict[str, list[UploadedFile]] = defaultdict(list)
        self._counts = {"fields": 0, "files": 0, "parts": 0}
        self._fault: Malformed | FormTooLarge | None = None

    def feed(self, chunk: bytes) -> None:
        try:
            self._raise_fault()
            self._check_room(chunk)
            self._parser.write(chunk)
        except FormParserError:
            self._fault = Malformed("The form is not well-formed multipart/form-data. Please send it again.")
            self._raise_fault()
        except (Malformed, FormTooLarge) as fault:
            self._fault = fault
            raise

    def finish(self) -> Form:
        """Return the form. Raise Malformed if its closing boundary is missing."""
        self._raise_fault()
        if self._parser.state != MultipartState.END:
            raise Malformed("The form ends before its closing boundary. Please send it again.")
        return Form(dict(self._fields), dict(self._files))

    def _raise_fault(self) -> None:
        """Raise the first fault again: after a fault the parser would misread what follows."""
        if self._fault is not None:
            raise self._fault from None

    def _check_room(self, chunk: bytes) -> None:
        self._room -= len(chunk)
        if self._room < 0:
            raise FormTooLarge("The form is too large. Please send less.")
        # RFC 2046 forbids a boundary inside a part, and the parser is slow on each, so their number is bounded.
        self._delimiters_left -= chunk.count(self._delimiter)
        if self._delimiters_left < 0:
            raise Malformed("The form has too many parts. Please send fewer.")

    def _begin_part(self) -> None:
        self._headers: dict[str, bytes] = {}
        self._header_name = bytearray()
        self._header_value = bytearray()
        self._count("parts", self._max_parts)

    def _end_header(self) -> None:
        name = self._header_name.decode("ascii").lower()  # the parser accepts only RFC 7230 tokens
        if name in self._headers or CONTROL.search(self._header_value):
            raise Malformed("A part of the form has a malformed header.")
        self._headers[name] = bytes(self._header_value)
        self._header_name.clear()
        self._header_value.clear()

    def _end_headers(self) -> None:
        self._name, self._filename = read_disposition(self._headers.get("content-disposition", b""))
        self._content_type = self._headers.get("content-type", b"").decode("latin-1").strip().lower()
        encoding = self._headers.get("content-transfer-encoding", b"").decode("latin-1").strip().lower()
        if self._content_type.startswith("multipart/") or encoding not in PLAIN_ENCODINGS:
            raise Malformed("Parts of the form must not be nested or encoded.")
        self._limit = self._max_field_bytes if self._filename is None else self._max_file_bytes
        self._content = BytesIO()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._content.tell() + end - start > self._limit:
            kind = "field" if self._filename is None else "file"
            raise FormTooLarge(f"The {kind} “{self._name}” is larger than {in_words(self._limit)}.")
        self._content.write(data[start:end])

    def _end_part(self) -> None:
        content = self._content.getvalue()
        self._content = BytesIO()
        if self._filename is None:
            self._count("fields", self._max_fields)
            self._fields[self._name].append(decode(content))
        elif self._filename or content:
            self._count("files", self._max_files)
            filename = clean_filename(self._filename)
            self._files[self._name].append(UploadedFile(filename, self._content_type, content))

    def _count(self, kind: str, limit: int) -> None:
        self._counts[kind] += 1
        if self._counts[kind] > limit:
            raise Malformed(f"The form has more than {limit} {kind.rstrip('s') if limit == 1 else kind}.")


def read_boundary(content_type: str) -> bytes:
    try:
        media_type, options = parse_options_header(content_type)
    except ValueError:
        media_type, options = b"", {}
    boundary = options.get(b"boundary", b"")
    if media_type != b"multipart/form-data" or CONTROL.search(boundary) or not 0 < len(boundary) <= MAX_BOUNDARY_BYTES:
        raise Malformed("Content-Type must be multipart/form-data with a boundary of 1 to 70 characters.")
    return boundary


def read_disposition(header: bytes) -> tuple[str, str | None]:
    """Return the part's field name and, for a file, the name from the client (perhaps '')."""
    disposition, options = parse_options_header(header.decode("latin-1"))
    name = decode(options.get(b"name", b""))
    if disposition != b"form-data" or not 0 < len(name) <= MAX_NAME_CHARS:
        raise Malformed("A part of the form has no name.")
    # RFC 7578 forbids the extended notation, but some HTTP libraries send it.
    extended = EXTENDED_FILENAME.search(QUOTED.sub('""', header.decode("latin-1")))
    if extended:
        return name, unquote(extended[2], encoding=extended[1], errors="replace")
    if b"filename" in options:
        return name, unescape(options[b"filename"].decode("utf-8", "replace"))
    return name, None


def unescape(filename: str) -> str:
    """Decode %22, %0D and %0A, the only escapes that browsers write into a file name."""
    return filename.replace("%22", '"').replace("%0D", "").replace("%0A", "")


def clean_filename(filename: str) -> str:
    """Return the base name without characters that could mislead a file system or a reader; at most 255 characters."""
    name = unicodedata.normalize("NFC", filename).replace("\\", "/").rpartition("/")[2]
    name = UNSAFE_IN_FILENAMES.sub("", name).strip(" .")
    if len(name) > MAX_FILENAME_CHARS:
        suffix = PurePosixPath(name).suffix
        kept = suffix if len(suffix) <= MAX_SUFFIX_CHARS else ""
        name = name[: MAX_FILENAME_CHARS - len(kept)] + kept
    return name or DEFAULT_FILENAME


def in_words(size: int) -> str:
    return f"{size / 2**20:.3g} MB" if size >= 2**20 else f"{size / 2**10:.3g} KB"


def decode(content: bytes) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("The form's text must be UTF-8.") from None
