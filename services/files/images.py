"""Accept files as pictures and attachments by their content, not by their name or type.

`image_worker` encodes pictures again in a separate process; a PDF is stored as it is.
"""

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import orjson
import structlog

from db.error_codes import ErrorCode
from db.errors import BadRequest, UnsupportedMediaType
from services.slots import Busy, Slots

PICTURE_MAX_BYTES = 5 * 1024 * 1024
ATTACHMENT_MAX_BYTES = 10 * 1024 * 1024

WORKER = Path(__file__).with_name("image_worker.py")
# Two, so that one slow picture does not delay the others. The queue is short, because each entry holds its file.
SLOTS = Slots(running=2, waiting=16)
# The slowest normal picture (50 million pixels) takes about 4 s on a slow core.
WORKER_CPU_SECONDS = 10
NICENESS = "10"  # its priority: lower than that of requests and of password checks
WORKER_TIMEOUT_SECONDS = 30  # a busy machine needs longer for the same work
SNIFF_BYTES = 32  # at the beginning of a file, enough for `sniff`
PDF_END, PDF_END_REACH = b"%%EOF", 1024  # readers look for it here

log = structlog.get_logger()


class BadImage(BadRequest):
    """A file of an accepted kind that is empty, damaged, too large to draw, or also of another kind."""

    code: ErrorCode = "INVALID_FILE"


class AcceptedFile(NamedTuple):
    """A file that may be stored. `width` and `height` are in pixels, None for a PDF; `extension` has no dot."""

    data: bytes
    content_type: str
    extension: str
    width: int | None = None
    height: int | None = None


class Kind(NamedTuple):
    extension: str
    pillow_name: str


KINDS = {
    "image/jpeg": Kind("jpg", "JPEG"),
    "image/png": Kind("png", "PNG"),
    "image/webp": Kind("webp", "WEBP"),
    "image/gif": Kind("gif", "GIF"),
}


def sniff(head: bytes) -> str | None:
    """Return the media type by the first SNIFF_BYTES: JPEG, PNG, WebP, GIF, AVIF or PDF; None for others."""
    if head.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return "image/gif"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    if head[4:12] in (b"ftypavif", b"ftypavis"):
        return "image/avif"
    if head.startswith(b"%PDF-"):
        return "application/pdf"
    return None


async def accept_picture(data: bytes) -> AcceptedFile:
    """Return a picture of a person or salon, encoded again. Raises UnsupportedMediaType, BadImage or Busy."""
    content_type = sniff_whole(data)
    if content_type not in KINDS:
        raise UnsupportedMediaType("Please choose a JPEG, PNG, WebP or GIF picture.")
    return await redraw(data, content_type)


async def accept_attachment(data: bytes) -> AcceptedFile:
    """Return a file of a message: a PDF, or a picture, encoded again. Raises UnsupportedMediaType, BadImage or Busy."""
    content_type = sniff_whole(data)
    if content_type == "application/pdf":
        if PDF_END not in data[-PDF_END_REACH:]:
            raise BadImage("The PDF is damaged: its end is missing. Please choose another one.")
        return AcceptedFile(data, content_type, "pdf")
    if content_type not in KINDS:
        raise UnsupportedMediaType("Please choose a JPEG, PNG, WebP or GIF picture, or a PDF.")
    return await redraw(data, content_type)


def sniff_whole(data: bytes) -> str | None:
    if not data:
        raise BadImage("The file is empty. Please choose another one.")
    return sniff(data[:SNIFF_BYTES])


async def redraw(data: bytes, content_type: str) -> AcceptedFile:
    kind = KINDS[content_type]
    async with SLOTS.take():
        status, answer, errors = await run_worker(data, kind.pillow_name)
    if status < 0:  # killed by its limits, or crashed by the file
        log.info("image_worker_killed", signal=-status, size=len(data), kind=kind.pillow_name)
        raise BadImage("The picture takes too long to process. Please choose a smaller one.")
    if status > 0:
        raise RuntimeError(f"The image worker failed with status {status}: {errors[-2000:].decode(errors='replace')}")
    header, _, picture = answer.partition(b"\n")
    facts = orjson.loads(header)
    if "fault" in facts:
        log.info("image_refused", fault=facts["fault"], cause=facts["cause"], size=len(data), kind=kind.pillow_name)
        raise BadImage(facts["fault"])
    return AcceptedFile(picture, content_type, kind.extension, facts["width"], facts["height"])


async def run_worker(data: bytes, pillow_name: str) -> tuple[int, bytes, bytes]:
    """Return exit status (negative: killed by that signal), standard output and standard error. Raises Busy."""
    # Isolated (-I) from the environment and working folder; in its own process group, so that Ctrl-C does not end it.
    # Not in its own session: Linux may give each session the same share of the CPU (autogroup), whatever its niceness.
    command = ("nice", "-n", NICENESS, sys.executable, "-I", str(WORKER), pillow_name, str(WORKER_CPU_SECONDS))
    pipe = subprocess.PIPE
    # In a thread: there Python does not copy the process (vfork). uvloop forks, which stops the event loop longer.
    start = asyncio.to_thread(subprocess.Popen, command, stdin=pipe, stdout=pipe, stderr=pipe, process_group=0)
    starting = asyncio.create_task(start, name="image worker")
    try:
        process = await asyncio.shield(starting)
        output, errors = await asyncio.to_thread(process.communicate, data, WORKER_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:  # within its limits, but the machine is too busy
        raise Busy from None
    finally:
        process = await starting  # also if the request was cancelled during the start
        process.kill()  # has no effect if it has ended
        await asyncio.to_thread(process.wait)
    return process.returncode, output, errors
