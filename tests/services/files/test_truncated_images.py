"""A truncated picture is refused, wherever it was cut: every accepted kind, and every way to encode it."""

import random
import re
import zlib
from typing import Any

import pytest
from PIL import Image

from services.files import image_worker, images
from tests.helpers.files.pictures import encode, halves, noise, pillow_name
from tests.helpers.programs import long_test


def with_comment(progressive_jpeg: bytes) -> bytes:
    """Return the picture with a comment between two scans that contains the end marker."""
    second_scan = progressive_jpeg.index(b"\xff\xda", progressive_jpeg.index(b"\xff\xda") + 2)
    tables = progressive_jpeg.rindex(b"\xff\xc4", 0, second_scan)
    comment = b"\xff\xfe\x00\x08\xff\xd9end!"[:10]
    return progressive_jpeg[:tables] + comment + progressive_jpeg[tables:]


def with_end_in_text(png: bytes) -> bytes:
    """Return the picture with a text before the pixels that contains the last chunk."""
    end = png[-12:]
    body = b"tEXt" + b"Comment\0" + end
    chunk = len(body[4:]).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    return png[:33] + chunk + png[33:]


def flicker(count: int) -> dict[str, Any]:
    """Return options of an animation of noise, so that it contains every byte."""
    frames = [Image.frombytes("L", (12, 9), random.Random(n).randbytes(108)) for n in range(count)]
    return {"save_all": True, "append_images": frames, "duration": 20}


def with_comments(moving_gif: bytes) -> bytes:
    """Return the animation with a comment before each frame that contains the byte that ends a GIF."""
    return moving_gif.replace(b"!\xf9\x04", b"!\xfe\x06a;b;c;\0!\xf9\x04")


WHOLE = {
    "jpeg": encode(noise(), "JPEG"),
    "progressive jpeg": encode(noise(), "JPEG", progressive=True),
    "jpeg with a comment between scans": with_comment(encode(noise(), "JPEG", progressive=True)),
    "jpeg with a thumbnail": encode(noise(), "JPEG", exif=b"Exif\0\0" + encode(halves(), "JPEG")),
    "jpeg with restarts": encode(noise(), "JPEG", restart_marker_blocks=1),
    "png": encode(noise(), "PNG"),
    "png with a text": with_end_in_text(encode(noise(), "PNG")),
    "moving png": encode(noise(12, 9).convert("L"), "PNG", **flicker(5)),
    "webp": encode(noise(), "WEBP"),
    "lossless webp": encode(noise(), "WEBP", lossless=True),
    "webp with exif": encode(noise(), "WEBP", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\0"),
    "moving webp": encode(noise(12, 9), "WEBP", **flicker(5)),
    "gif": encode(noise(), "GIF"),
    "gif with a comment": encode(noise(), "GIF", comment=b"a;b;c;"),
    "moving gif": encode(noise(12, 9).convert("L"), "GIF", **flicker(120)),
    "moving gif with comments": with_comments(encode(noise(12, 9).convert("L"), "GIF", **flicker(5))),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=long_test()) if name == "moving gif" else name for name in WHOLE]
)
def test_no_beginning_of_a_picture_is_whole(name):
    data = WHOLE[name]
    kind = pillow_name(data)
    image_worker.redraw(data, kind)
    image_worker.check_whole(data + b"more", kind)
    for size in range(images.SNIFF_BYTES, len(data)):
        with pytest.raises(image_worker.PictureRefused, match="end is missing"):
            image_worker.check_whole(data[:size], kind)


@pytest.mark.parametrize("name", ["moving gif with comments", "moving webp", "moving png"])
def test_a_moving_picture_does_not_lose_frames(name):
    data = WHOLE[name]
    kind = pillow_name(data)
    ends = [match.end() for match in re.finditer(rb";\0*", data[:-1])]  # the bytes that end a GIF
    for size in (*ends, len(data) - 1, len(data) // 2):
        with pytest.raises(image_worker.PictureRefused):
            image_worker.redraw(data[:size], kind)
