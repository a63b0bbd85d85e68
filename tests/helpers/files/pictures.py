"""Pictures to upload, drawn and encoded."""

import random
from collections.abc import Iterable
from io import BytesIO
from typing import Any

from PIL import Image, ImageSequence

from services.files import image_worker
from services.files.images import KINDS, sniff

PICTURE_KINDS = ("JPEG", "PNG", "WEBP", "GIF")  # as Pillow names them


def encode(image: Image.Image, kind: str, **options: Any) -> bytes:
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def pillow_name(data: bytes) -> str:
    """Return Pillow's name of the picture format, from the first bytes."""
    content_type = sniff(data)
    assert content_type, data[:16]
    return KINDS[content_type].pillow_name


def count_frames(image: Image.Image) -> int:
    return sum(1 for _ in ImageSequence.Iterator(image))


def noise(width: int = 60, height: int = 40) -> Image.Image:
    return Image.frombytes("RGB", (width, height), random.Random(7).randbytes(3 * width * height))


def halves(width: int = 40, height: int = 20) -> Image.Image:
    """Return a picture with a red left half and a blue right half."""
    image = Image.new("RGB", (width, height), "red")
    image.paste("blue", (width // 2, 0, width, height))
    return image


def redraw(data: bytes, kind: str) -> Image.Image:
    return Image.open(BytesIO(image_worker.redraw(data, kind).data), formats=[kind])


def is_near(pixel: Any, colour: Iterable[int], tolerance: int = 40) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel[:3], colour, strict=True))
