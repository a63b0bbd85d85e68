"""Files that are refused: other content, damaged pictures, pictures that are too large."""

import re
import zipfile
import zlib
from io import BytesIO

import pytest
from PIL import Image

from db.errors import UnsupportedMediaType
from services.files import image_worker
from services.files.images import BadImage, accept_attachment, accept_picture
from tests.helpers.files.pictures import PICTURE_KINDS as KINDS
from tests.helpers.files.pictures import count_frames, encode, halves, noise, pillow_name, redraw


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        b"\0" * 1000,
        b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
        b"<?xml version='1.0'?><svg/>",
        b"<!DOCTYPE html><html></html>",
        b"\n\x89PNG\r\n\x1a\n",
        b"BM" + b"\0" * 100,
        b"II*\0" + b"\0" * 100,
        b"\0\0\0\x20ftypheic" + b"\0" * 100,
        b"\0\0\0\x20ftypavif" + b"\0" * 100,
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"GIF88a" + b"\0" * 100,
        b"MZ" + b"\0" * 100,
        b"PK\x03\x04" + b"\0" * 100,
        b" %PDF-1.7 %%EOF",
    ],
)
@pytest.mark.parametrize("accept", [accept_picture, accept_attachment])
async def test_other_content_is_unsupported(data, accept):
    with pytest.raises(UnsupportedMediaType):
        await accept(data)


@pytest.mark.parametrize("accept", [accept_picture, accept_attachment])
async def test_an_empty_file_is_bad(accept):
    with pytest.raises(BadImage, match="empty"):
        await accept(b"")


@pytest.mark.parametrize("head", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF\xff\0\0\0WEBP"])
@pytest.mark.parametrize("tail", [b"", b"\0" * 100, b"=1;alert(document.cookie);//"])
def test_a_beginning_alone_is_bad(head, tail):
    kind = pillow_name(head)
    with pytest.raises(image_worker.PictureRefused):
        image_worker.redraw(head + tail, kind)


@pytest.mark.parametrize("animated", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_truncated_picture_is_bad(kind, animated):
    options = {"save_all": True, "append_images": [noise(), noise()]} if animated and kind != "JPEG" else {}
    data = encode(noise(), kind, **options)
    image_worker.redraw(data, kind)
    for cut in {1, 2, 5, 12, 13, 50, len(data) // 3, len(data) // 2, len(data) - 40}:
        with pytest.raises(image_worker.PictureRefused):
            image_worker.redraw(data[:-cut], kind)


def test_the_end_of_a_thumbnail_is_not_taken_for_the_end_of_the_picture():
    data = encode(halves(300, 300), "JPEG", exif=b"Exif\0\0" + encode(halves(), "JPEG"))
    assert data.count(b"\xff\xd9") == 2
    image_worker.redraw(data, "JPEG")
    with pytest.raises(image_worker.PictureRefused, match="end"):
        image_worker.redraw(data[:-2], "JPEG")


@pytest.mark.parametrize("real", KINDS)
@pytest.mark.parametrize("claimed", KINDS)
def test_magic_and_content_must_agree(real, claimed):
    if real != claimed:
        with pytest.raises(image_worker.PictureRefused):
            image_worker.redraw(encode(noise(), real), claimed)


def zipped() -> bytes:
    out = BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("Evil.class", b"\xca\xfe\xba\xbe")
    return out.getvalue()


@pytest.mark.parametrize(
    "tail", [zipped(), b"<script>alert(1)</script>", b"<HTML><body>", b"<?php system($_GET[0]);", b"Rar!\x1a\x07\0"]
)
@pytest.mark.parametrize("kind", KINDS)
def test_a_picture_with_other_content_after_it_is_bad(kind, tail):
    with pytest.raises(image_worker.PictureRefused):
        image_worker.redraw(encode(noise(), kind) + tail, kind)


def test_a_picture_with_other_content_inside_is_bad():
    for comment in (b"<script>alert(1)</script>", b"%PDF-1.4 1 0 obj"):
        with pytest.raises(image_worker.PictureRefused, match="also of another kind"):
            image_worker.redraw(encode(noise(), "JPEG", comment=comment), "JPEG")


def chunk(name: bytes, data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + name + data + zlib.crc32(name + data).to_bytes(4, "big")


def png_of_zeros(width: int, height: int, *, most: int = 10**7) -> bytes:
    """Return an RGBA picture that has at most `most` bytes of its pixels."""
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x06\0\0\0"
    rows = zlib.compress(b"\0" * min(height * (4 * width + 1), most), 1)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def with_size(data: bytes, kind: str, width: int, height: int) -> bytes:
    """Return the same file with another declared size."""
    if kind == "PNG":
        return png_of_zeros(width, height)
    if kind == "GIF":
        return data[:6] + width.to_bytes(2, "little") + height.to_bytes(2, "little") + data[10:]
    marker = re.search(rb"\xff[\xc0\xc2]\0.\x08", data, re.DOTALL)
    assert marker, "the picture is no JPEG"
    start_of_frame = marker.end()
    return data[:start_of_frame] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + data[start_of_frame + 4 :]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF"])
@pytest.mark.parametrize("size", [(40_000, 40_000), (8_000, 6_251)])
def test_a_bomb_is_refused_before_it_is_decoded(kind, size, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    with pytest.raises(image_worker.PictureRefused, match=r"too large|50 million pixels"):
        image_worker.redraw(with_size(encode(noise(), kind), kind, *size), kind)


async def test_a_bomb_of_40000_by_40000_pixels_is_bad():
    with pytest.raises(BadImage, match="too large"):
        await accept_picture(png_of_zeros(40_000, 40_000))


async def test_the_largest_picture_that_is_accepted_fits_the_worker():
    side = int(image_worker.MAX_PIXELS**0.5)
    assert (await accept_picture(png_of_zeros(side, side, most=10**9)))[3:] == (2048, 2048)


def test_a_webp_of_the_largest_size_is_refused():
    with pytest.raises(image_worker.PictureRefused, match="50 million"):
        image_worker.redraw(encode(Image.new("RGB", (16383, 4000)), "WEBP", method=0, lossless=True), "WEBP")


def test_frames_count_by_number_and_by_pixels(monkeypatch):
    def animation(count):
        frames = [Image.new("L", (10, 10), number % 256) for number in range(count)]
        return encode(frames[0], "GIF", save_all=True, append_images=frames[1:])

    monkeypatch.setattr(image_worker, "MAX_FRAMES", 20)
    assert count_frames(redraw(animation(20), "GIF")) == 20
    with pytest.raises(image_worker.PictureRefused, match="20 frames"):
        image_worker.redraw(animation(21), "GIF")
    monkeypatch.setattr(image_worker, "MAX_PIXELS", 1000)
    assert count_frames(redraw(animation(10), "GIF")) == 10
    with pytest.raises(image_worker.PictureRefused):
        image_worker.redraw(animation(11), "GIF")


def test_a_frame_that_is_larger_than_its_gif_is_bad():
    frames = [Image.new("L", (10, 10), 1), Image.new("L", (10, 10), 2)]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    second = data.rfind(b",\0\0\0\0\x0a\0\x0a\0")
    with pytest.raises(image_worker.PictureRefused, match="frame"):
        image_worker.redraw(data[: second + 5] + b"\xff\xff\x0a\0" + data[second + 9 :], "GIF")
