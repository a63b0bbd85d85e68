"""Decode an uploaded picture and encode it again, so that only pixels and frames remain.

It runs as one process per picture, because a decoder cannot be interrupted. The process has limits of time and memory,
does not block the server's event loop, and can be killed.
Usage: image_worker.py JPEG|PNG|WEBP|GIF CPU_SECONDS <picture >answer
The answer is a line of JSON, {"width", "height"} or {"fault"}, and then the new picture.
"""

import json
import re
import resource
import sys
from collections.abc import Iterator
from io import BytesIO
from typing import Any, NamedTuple

from PIL import GifImagePlugin, Image, ImageCms, ImageOps

MAX_SIDE = 2048  # pixels of the result
# Pixels of the source over all frames. The largest phone pictures under 10 MB have 48 million.
MAX_PIXELS = 50_000_000
MAX_FRAMES = 500
# Twice 50 million pixels of 4 bytes, and the memory that Python and the libraries map.
MAX_MEMORY_BYTES = 1024**3

JPEG_QUALITY = 85
WEBP_QUALITY = 85
WEBP_ANIMATION_METHOD = 2  # of 0-6; the default 4 takes twice as long for a few per cent
JPEG_END = b"\xff\xd9"
# A JPEG marker that has a length (not start and restarts); FF 00 and FF FF are not markers.
JPEG_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")
GIF_BLOCKS = GIF_EXTENSION, GIF_IMAGE = b"!,"
GIF_END = b";"

# Content that makes the file also a page or a program. Readers look for HTML anywhere, for a PDF in
# the first 1024 bytes, for a zip (jar, docx) in the last 64 KiB. Each is too long to occur in 10 MB by chance.
FOREIGN = (b"<script", b"<iframe", b"<html>", b"<html ", b"<!doctype ", b"<svg xmlns", b"<?php ", b"<?php\n")
ARCHIVES = (b"Rar!\x1a\x07", b"7z\xbc\xaf\x27\x1c")
PDF_HEADER, PDF_REACH = b"%PDF-", 1024
ZIP_DIRECTORY, ZIP_REACH = b"PK\x05\x06\0\0\0\0", 65557

GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY


class PictureRefused(Exception):
    """The picture is refused. The text is a sentence for the user."""


class RedrawnPicture(NamedTuple):
    data: bytes
    width: int
    height: int


def redraw(data: bytes, kind: str) -> RedrawnPicture:
    """Return the picture without metadata, upright, in sRGB, at most MAX_SIDE wide and high. Raises PictureRefused."""
    check_whole(data, kind)
    refuse_foreign(data)
    try:
        with Image.open(BytesIO(data), formats=[kind]) as image:
            frames = list(read_frames(image))
    except PictureRefused:
        raise
    except (MemoryError, Image.DecompressionBombError):
        raise PictureRefused("The picture is too large. Please choose a smaller one.") from None
    except Exception as error:  # Pillow documents no complete list of what it raises for a damaged file
        raise PictureRefused("The picture is damaged. Please choose another one.") from error
    return RedrawnPicture(encode(frames, kind), frames[0].width, frames[0].height)


def check_whole(data: bytes, kind: str) -> None:
    """Follow the parts of the file to its end, because a decoder may read a truncated file as one with fewer frames."""
    if not REACHES_END[kind](data):
        raise PictureRefused("The picture is damaged: its end is missing. Please choose another one.")


def jpeg_reaches_end(data: bytes) -> bool:
    at = 2
    while marker := JPEG_MARKER.search(data, at):
        at = marker.end()
        if marker[0] == JPEG_END:
            return True
        at += int.from_bytes(data[at : at + 2], "big")  # skips a thumbnail in EXIF data, which has its own end marker
    return False


def png_reaches_end(data: bytes) -> bool:
    at, chunk = 8, b""
    while chunk != b"IEND" and at + 8 <= len(data):
        chunk = data[at + 4 : at + 8]
        at += 12 + int.from_bytes(data[at : at + 4], "big")
    return chunk == b"IEND" and at <= len(data)


def webp_reaches_end(data: bytes) -> bool:
    return 8 + int.from_bytes(data[4:8], "little") <= len(data)


def gif_reaches_end(data: bytes) -> bool:
    at = 13 + colour_table_bytes(data[10:11])
    while at < len(data) and data[at] in GIF_BLOCKS:
        header = 2
        if data[at] == GIF_IMAGE:
            header = 11 + colour_table_bytes(data[at + 9 : at + 10])
        at += header
        while at < len(data) and data[at]:  # each of the blocks of data begins with its length, the last one is empty
            at += 1 + data[at]
        at += 1
    return data[at : at + 1] == GIF_END


def colour_table_bytes(flags: bytes) -> int:
    """Return the length of the colour table that the flags of a GIF or of one of its images announce."""
    return 6 << (flags[0] & 7) if flags and flags[0] & 0x80 else 0


REACHES_END = {"JPEG": jpeg_reaches_end, "PNG": png_reaches_end, "WEBP": webp_reaches_end, "GIF": gif_reaches_end}


def refuse_foreign(data: bytes) -> None:
    """Refuse a picture that is also of another kind. Encoding would drop that part, but such a file is an attack."""
    lower = data.lower()
    if (
        any(mark in lower for mark in FOREIGN)
        or any(mark in data for mark in ARCHIVES)
        or PDF_HEADER in data[:PDF_REACH]
        or ZIP_DIRECTORY in data[-ZIP_REACH:]
    ):
        raise PictureRefused("The file is a picture and also of another kind. Please choose another one.")


def read_frames(image: Image.Image) -> Iterator[Image.Image]:
    """Yield each frame of a GIF or WebP, finished; of other formats only the first picture."""
    animated = image.format in ("GIF", "WEBP")
    width, height = image.size
    for number in range(MAX_FRAMES + 1):
        try:
            image.seek(number)
        except EOFError:
            return
        if number == MAX_FRAMES or (number + 1) * width * height > MAX_PIXELS:
            raise PictureRefused(
                f"The picture has more than {MAX_PIXELS // 10**6} million pixels or {MAX_FRAMES} frames."
            )
        if image.size != (width, height):
            raise PictureRefused("The picture is damaged: a frame is too large. Please choose another one.")
        yield finish(image.copy() if animated else image)
        if not animated:
            return


def finish(image: Image.Image) -> Image.Image:
    """Return the frame upright, in sRGB, small enough, and without metadata."""
    if image.format in ("JPEG", "MPO"):
        image.thumbnail((MAX_SIDE, MAX_SIDE))  # before it is loaded: its decoder can skip pixels that are not needed
    image = upright(image)
    # A palette picture that fits keeps its palette: in full colour it would be larger, or lose colours in a GIF.
    if image.mode != "P" or max(image.size) > MAX_SIDE:
        image = to_srgb(plain_mode(image))
        image.thumbnail((MAX_SIDE, MAX_SIDE))
    image.info = {name: image.info[name] for name in ("transparency", "duration", "loop") if name in image.info}
    return image


def upright(image: Image.Image) -> Image.Image:
    image.load()
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # unreadable EXIF data gives no orientation
        return image


def plain_mode(image: Image.Image) -> Image.Image:
    """Convert to one of the modes L, RGB, RGBA and CMYK, which can be scaled and converted."""
    if image.mode.startswith(("I", "F")):  # 16 bits of grey
        return image.point(lambda value: value * (1 / 256)).convert("L")
    if image.has_transparency_data:
        return image.convert("RGBA")
    if image.mode in ("1", "L"):
        return image.convert("L")
    return image if image.mode in ("RGB", "CMYK") else image.convert("RGB")


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert to sRGB: without their colour profile, pictures of phone cameras look faded."""
    profile = image.info.get("icc_profile")
    mode = "RGB" if image.mode == "CMYK" else image.mode
    if profile and mode in ("RGB", "RGBA"):
        try:
            source = ImageCms.ImageCmsProfile(BytesIO(profile))
            return ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode) or image
        except (ImageCms.PyCMSError, OSError, ValueError):
            pass  # an unreadable profile counts as absent
    return image.convert(mode)


def encode(frames: list[Image.Image], kind: str) -> bytes:
    first, *others = frames
    options: dict[str, Any] = {}
    if others:
        durations = [frame.info.get("duration", 0) for frame in frames]
        options = {"save_all": True, "append_images": others, "duration": durations}
        if "loop" in first.info:
            options["loop"] = first.info["loop"]
    if kind == "GIF" and any(frame.has_transparency_data for frame in frames):
        options["disposal"] = 2  # frames are complete: the previous one must not show through
    if kind == "JPEG":
        options["quality"] = JPEG_QUALITY
    if kind == "WEBP":
        options |= {"quality": WEBP_QUALITY, "method": WEBP_ANIMATION_METHOD if others else 4}
    out = BytesIO()
    first.save(out, kind, **options)
    return out.getvalue()


def limit_this_process(cpu_seconds: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))  # it needs no files
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main() -> None:
    limit_this_process(int(sys.argv[2]))
    answer: dict[str, int | str | None]
    try:
        picture = redraw(sys.stdin.buffer.read(), sys.argv[1])
        answer, data = {"width": picture.width, "height": picture.height}, picture.data
    except PictureRefused as refused:
        cause = refused.__cause__
        answer, data = {"fault": str(refused), "cause": repr(cause)[:500] if cause else None}, b""
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + data)


if __name__ == "__main__":
    main()
