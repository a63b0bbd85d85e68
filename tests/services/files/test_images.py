"""Pictures and attachments: normal ones are cleaned, hostile ones are refused."""

import asyncio
import re
import subprocess
import sys
import zipfile
import zlib
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageDraw, ImageSequence, PngImagePlugin

from db.errors import UnsupportedMediaType
from services.files import image_worker, images
from services.files.images import BadImage, accept_attachment, accept_picture, sniff
from services.slots import Busy, Slots
from tests.helpers.pictures import count_frames, encode, halves, noise, pillow_name

KINDS = ("JPEG", "PNG", "WEBP", "GIF")
PDF = b"%PDF-1.7\n1 0 obj << >> endobj\ntrailer << >>\nstartxref\n9\n%%EOF\n"


def redraw(data: bytes, kind: str) -> Image.Image:
    return Image.open(BytesIO(image_worker.redraw(data, kind).data), formats=[kind])


def near(pixel, colour, tolerance=40) -> bool:
    return all(abs(a - b) <= tolerance for a, b in zip(pixel[:3], colour, strict=True))


# --- accepted ---


@pytest.mark.parametrize(
    ("kind", "content_type", "extension"),
    [
        ("JPEG", "image/jpeg", "jpg"),
        ("PNG", "image/png", "png"),
        ("WEBP", "image/webp", "webp"),
        ("GIF", "image/gif", "gif"),
    ],
)
async def test_a_picture_comes_out_as_its_kind(kind, content_type, extension):
    accepted = await accept_picture(encode(noise(), kind))
    assert accepted[1:] == (content_type, extension, 60, 40)
    assert sniff(accepted.data) == content_type
    with Image.open(BytesIO(accepted.data)) as image:
        image.load()
        assert (image.format, image.size) == (kind, (60, 40))


@pytest.mark.parametrize(("size", "result"), [((3000, 1500), (2048, 1024)), ((10, 5000), (4, 2048)), ((1, 1), (1, 1))])
@pytest.mark.parametrize("kind", KINDS)
def test_a_large_picture_is_made_smaller_and_a_small_one_stays(kind, size, result):
    picture = image_worker.redraw(encode(Image.new("RGB", size, "green"), kind), kind)
    with Image.open(BytesIO(picture.data)) as image:
        assert image.size == (picture.width, picture.height) == result
        assert near(image.convert("RGB").getpixel((0, 0)), (0, 128, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(40, 20), (4000, 2000)])
def test_the_orientation_in_exif_is_applied_and_exif_is_gone(kind, size):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    image = redraw(encode(halves(*size), kind, exif=exif), kind)
    assert image.width < image.height
    assert near(image.convert("RGB").getpixel((image.width // 2, 1)), (255, 0, 0))
    assert near(image.convert("RGB").getpixel((image.width // 2, image.height - 2)), (0, 0, 255))
    assert not image.getexif()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
@pytest.mark.parametrize("exif", [b"garbage", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff"])
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_unreadable_exif_does_not_fail_the_picture(kind, exif):
    assert redraw(encode(halves(), kind, exif=b"Exif\0\0" + exif), kind).size == (40, 20)


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_but_pixels_survives(kind):
    secret = b"35.6895N-139.6917E"
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", secret.decode())
    text.add_itxt("XML:com.adobe.xmp", secret.decode())
    all_options: dict[str, dict[str, object]] = {
        "JPEG": {"comment": secret, "xmp": secret, "icc_profile": secret, "exif": b"Exif\0\0" + secret},
        "PNG": {"pnginfo": text, "icc_profile": secret, "exif": secret},
        "WEBP": {"xmp": secret, "icc_profile": secret, "exif": b"Exif\0\0" + secret},
        "GIF": {"comment": secret},
    }
    before = encode(noise(), kind, **all_options[kind]) + secret
    if kind == "GIF":
        before = before.removesuffix(secret)
    picture = image_worker.redraw(before, kind).data
    assert secret in before
    assert secret not in picture
    assert not {"comment", "xmp", "icc_profile", "exif", "Comment"} & set(Image.open(BytesIO(picture)).info)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_of_png_is_drawn(mode):
    grey = Image.new("I;16", (30, 30), 0x8000) if mode == "I;16" else Image.new("L", (30, 30), 128).convert(mode)
    image = redraw(encode(grey, "PNG"), "PNG")
    expected = 255 if mode == "1" else 128  # a picture of one bit has no grey; dithering starts with white or black
    assert near(image.convert("RGB").getpixel((1, 1)), [expected] * 3, 2) or mode == "1"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_mode_of_jpeg_is_drawn(mode):
    image = redraw(encode(Image.new("RGB", (30, 30), (200, 200, 200)).convert(mode), "JPEG"), "JPEG")
    assert image.mode in ("L", "RGB")
    assert near(image.convert("RGB").getpixel((9, 9)), (200, 200, 200), 5)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(50, 50), (2500, 100)])
def test_transparency_survives(kind, size):
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, size[0] // 2, size[1]))
    image = redraw(encode(image, kind), kind).convert("RGBA")
    assert near(image.getpixel((3, 3)), (255, 0, 0))
    opacity = image.getchannel("A")
    assert opacity.getpixel((3, 3)) == 255
    assert opacity.getpixel((image.width - 3, 3)) == 0


def test_colours_of_a_wide_profile_are_brought_to_srgb():
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.find(b"rXYZ"), swapped.find(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"  # a profile in which red and blue are swapped
    image = redraw(encode(Image.new("RGB", (9, 9), "red"), "PNG", icc_profile=bytes(swapped)), "PNG")
    assert near(image.getpixel((4, 4)), (0, 0, 255))


def moving(count: int, size=(60, 60)) -> list[Image.Image]:
    frames = [Image.new("RGBA", size, (0, 0, 0, 0)) for _ in range(count)]
    for number, frame in enumerate(frames):
        ImageDraw.Draw(frame).ellipse((number * 8, 10, number * 8 + 20, 30), (255, 40 * number, 0, 255))
    return frames


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
def test_an_animation_keeps_its_frames_times_and_transparency(kind):
    frames = moving(4)
    options = {"lossless": True} if kind == "WEBP" else {"disposal": 2}
    before = encode(
        frames[0], kind, save_all=True, append_images=frames[1:], duration=[50, 60, 70, 80], loop=3, **options
    )
    image = redraw(before, kind)
    assert image.info["loop"] == 3
    drawn = []
    for frame in ImageSequence.Iterator(image):
        frame.load()
        drawn.append((frame.convert("RGBA"), frame.info["duration"]))
    assert [duration for _, duration in drawn] == [50, 60, 70, 80]
    for number, (frame, _) in enumerate(drawn):
        assert near(frame.getpixel((number * 8 + 10, 20)), (255, 40 * number, 0))
        opacity = frame.getchannel("A")
        assert opacity.getpixel((number * 8 + 22, 20)) == 0
        assert number == 0 or opacity.getpixel((number * 8 - 4, 20)) == 0


def test_a_large_animation_is_made_smaller():
    frames = moving(3, (2500, 100))
    image = redraw(encode(frames[0], "GIF", save_all=True, append_images=frames[1:], disposal=2), "GIF")
    assert (image.size, count_frames(image)) == ((2048, 82), 3)


def test_a_picture_of_several_pictures_gives_its_first():
    mpo = encode(halves(), "MPO", save_all=True, append_images=[noise(40, 20)])
    assert sniff(mpo) == "image/jpeg"
    assert near(redraw(mpo, "JPEG").getpixel((5, 5)), (255, 0, 0))


# --- attachments ---


async def test_a_pdf_is_stored_as_it_is():
    assert await accept_attachment(PDF) == (PDF, "application/pdf", "pdf", None, None)


async def test_a_picture_in_a_message_is_redrawn_like_any_other():
    accepted = await accept_attachment(encode(noise(), "JPEG", comment=b"secret"))
    assert accepted.content_type == "image/jpeg"
    assert b"secret" not in accepted.data


@pytest.mark.parametrize("data", [PDF[:-8], b"%PDF-", PDF + b"x" * 2000])
async def test_a_pdf_without_its_end_is_bad(data):
    with pytest.raises(BadImage, match="PDF"):
        await accept_attachment(data)


async def test_a_pdf_is_not_a_picture():
    with pytest.raises(UnsupportedMediaType):
        await accept_picture(PDF)


# --- refused ---


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


# --- the worker ---


def scan_bomb(size: int) -> bytes:
    """Return a small progressive JPEG with thousands of scans; each one reads all pixels."""
    data = encode(Image.new("RGB", (size, size), "red"), "JPEG", progressive=True)
    start = data.rfind(b"\xff\xda")
    return data[:start] + data[start:-2] * 20_000 + data[-2:]


async def test_a_picture_that_takes_too_much_work_is_bad(monkeypatch):
    monkeypatch.setattr(images, "WORKER_CPU_SECONDS", 1)
    with pytest.raises(BadImage, match="too long to process"):
        await accept_picture(scan_bomb(5000))


async def test_a_picture_on_a_busy_machine_times_out_and_its_process_ends(monkeypatch, started):
    monkeypatch.setattr(images, "WORKER_TIMEOUT_SECONDS", 0.1)
    with pytest.raises(Busy):
        await accept_picture(scan_bomb(5000))
    assert started[0].returncode == -9


async def test_the_loop_is_not_blocked_while_a_picture_is_processed(monkeypatch):
    monkeypatch.setattr(images, "WORKER_CPU_SECONDS", 1)
    drawing = asyncio.ensure_future(accept_picture(scan_bomb(5000)))
    slowest = 0.0
    loop = asyncio.get_running_loop()
    while not drawing.done():
        before = loop.time()
        await asyncio.sleep(0.01)
        slowest = max(slowest, loop.time() - before)
    assert isinstance(drawing.exception(), BadImage)
    assert slowest < 0.5


@pytest.fixture
def started(monkeypatch):
    """Return the list of workers that the test starts."""
    workers = []
    start = asyncio.create_subprocess_exec

    async def remember(*command, **options):
        workers.append(await start(*command, **options))
        return workers[-1]

    monkeypatch.setattr(asyncio, "create_subprocess_exec", remember)
    return workers


async def test_a_cancelled_request_ends_its_process(started):
    drawing = asyncio.ensure_future(accept_picture(scan_bomb(5000)))
    while not started:
        await asyncio.sleep(0)
    drawing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drawing
    assert started[0].returncode == -9


async def test_pictures_beyond_the_queue_are_refused_as_busy(monkeypatch):
    monkeypatch.setattr(images, "SLOTS", Slots(running=1, waiting=1))
    answers = await asyncio.gather(*[accept_picture(encode(noise(), "PNG")) for _ in range(4)], return_exceptions=True)
    assert sorted(type(answer).__name__ for answer in answers) == ["AcceptedFile", "AcceptedFile", "Busy", "Busy"]
    assert isinstance(answers[3], Busy)
    assert (await accept_picture(encode(noise(), "PNG"))).width == 60


async def test_an_error_of_the_worker_is_not_reported_as_a_bad_picture(monkeypatch, tmp_path):
    broken = tmp_path / "worker.py"
    broken.write_text("raise ImportError('no Pillow')")
    monkeypatch.setattr(images, "WORKER", broken)
    with pytest.raises(RuntimeError, match="no Pillow"):
        await accept_picture(encode(noise(), "PNG"))


@pytest.mark.parametrize(
    ("act", "status"),
    [
        ("while True: pass", -9),
        ("bytearray(2 * 1024**3)", 1),
        ("open('written', 'wb', buffering=0).write(b'x')", 1),
    ],
)
def test_the_worker_is_bounded_by_its_limits(act, status, tmp_path):
    script = f"""
import sys; sys.path.insert(0, {str(images.WORKER.parent)!r})
import image_worker; image_worker.limit_this_process(1)
{act}
"""
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=120, cwd=tmp_path)
    assert ended.returncode == status, ended.stderr


SAMPLES = {
    kind: [encode(noise(16, 12), kind), encode(halves(300, 200), kind)]
    + ([encode(noise(9, 9), kind, save_all=True, append_images=[noise(9, 9)] * 3)] if kind != "JPEG" else [])
    for kind in KINDS
}


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_gives_a_picture_or_a_refusal(data):
    kind = data.draw(st.sampled_from(KINDS))
    sample = bytearray(data.draw(st.sampled_from(SAMPLES[kind])))
    reach = data.draw(st.sampled_from([60, 400, len(sample)]))  # a byte of a header more often than one of the pixels
    for _ in range(data.draw(st.integers(1, 6))):
        sample[data.draw(st.integers(0, min(reach, len(sample)) - 1))] = data.draw(st.integers(0, 255))
    try:
        picture = image_worker.redraw(bytes(sample), kind)
    except image_worker.PictureRefused:
        return
    with Image.open(BytesIO(picture.data), formats=[kind]) as image:
        image.load()
        assert max(image.size) <= image_worker.MAX_SIDE
