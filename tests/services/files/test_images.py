"""Pictures and attachments that are accepted are cleaned."""

from io import BytesIO

import pytest
from PIL import Image, ImageCms, ImageDraw, ImageSequence, PngImagePlugin

from db.errors import UnsupportedMediaType
from services.files import image_worker
from services.files.images import BadImage, accept_attachment, accept_picture, sniff
from tests.helpers.files.forms import PDF
from tests.helpers.files.pictures import PICTURE_KINDS as KINDS
from tests.helpers.files.pictures import count_frames, encode, halves, is_near, noise, redraw


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
        assert is_near(image.convert("RGB").getpixel((0, 0)), (0, 128, 0))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("size", [(40, 20), (4000, 2000)])
def test_the_orientation_in_exif_is_applied_and_exif_is_gone(kind, size):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held upright: turn clockwise
    exif[0x010F] = "SecretCamera"
    exif.get_ifd(0x8825)[1] = "N"  # GPS
    image = redraw(encode(halves(*size), kind, exif=exif), kind)
    assert image.width < image.height
    assert is_near(image.convert("RGB").getpixel((image.width // 2, 1)), (255, 0, 0))
    assert is_near(image.convert("RGB").getpixel((image.width // 2, image.height - 2)), (0, 0, 255))
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
    assert is_near(image.convert("RGB").getpixel((1, 1)), [expected] * 3, 2) or mode == "1"


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_mode_of_jpeg_is_drawn(mode):
    image = redraw(encode(Image.new("RGB", (30, 30), (200, 200, 200)).convert(mode), "JPEG"), "JPEG")
    assert image.mode in ("L", "RGB")
    assert is_near(image.convert("RGB").getpixel((9, 9)), (200, 200, 200), 5)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
@pytest.mark.parametrize("size", [(50, 50), (2500, 100)])
def test_transparency_survives(kind, size):
    image = Image.new("RGBA", size, (0, 0, 0, 0))
    image.paste((255, 0, 0, 255), (0, 0, size[0] // 2, size[1]))
    image = redraw(encode(image, kind), kind).convert("RGBA")
    assert is_near(image.getpixel((3, 3)), (255, 0, 0))
    opacity = image.getchannel("A")
    assert opacity.getpixel((3, 3)) == 255
    assert opacity.getpixel((image.width - 3, 3)) == 0


def test_colours_of_a_wide_profile_are_brought_to_srgb():
    swapped = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = swapped.find(b"rXYZ"), swapped.find(b"bXYZ")
    swapped[red : red + 4], swapped[blue : blue + 4] = b"bXYZ", b"rXYZ"  # a profile in which red and blue are swapped
    image = redraw(encode(Image.new("RGB", (9, 9), "red"), "PNG", icc_profile=bytes(swapped)), "PNG")
    assert is_near(image.getpixel((4, 4)), (0, 0, 255))


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
        assert is_near(frame.getpixel((number * 8 + 10, 20)), (255, 40 * number, 0))
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
    assert is_near(redraw(mpo, "JPEG").getpixel((5, 5)), (255, 0, 0))


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
