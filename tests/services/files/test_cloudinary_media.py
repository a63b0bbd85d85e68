"""Files at Cloudinary (its real SDK against the stand-in), and the choice between it and the disk."""

import asyncio
import socket

import pytest
import urllib3

from services.errors import (
    UnreadableAnswer,
    VendorError,
    VendorRateLimited,
    VendorRefused,
    VendorTimeout,
    VendorUnavailable,
    VendorUnreachable,
)
from services.files import cloudinary_media
from services.files.cloudinary_media import CloudinaryMedia
from services.files.media import LocalMedia
from services.files.stores import media_from_settings
from services.slots import Busy, Slots
from settings import SettingsError, load_settings
from tests.helpers.files.media import PDF, PNG, PUBLIC_URL
from tests.vendors.cloudinary import API_KEY, API_SECRET, CLOUD_NAME, Cloudinary
from tests.vendors.stand_in import Answer


def settings_with(tmp_path, **overrides):
    return load_settings(_env_file=None, app_env="test", data_dir=tmp_path, public_url=PUBLIC_URL, **overrides)


@pytest.fixture
def cloudinary(io_loop):
    async def start():
        return await Cloudinary().__aenter__()

    vendor = io_loop.run_sync(start)
    yield vendor
    io_loop.run_sync(vendor.close)


@pytest.fixture
def cloud(cloudinary, tmp_path):
    media = cloud_at(cloudinary.url, tmp_path)
    yield media
    media.close()


def cloud_at(url, tmp_path, **overrides):
    given = {
        "cloudinary_cloud_name": CLOUD_NAME,
        "cloudinary_api_key": API_KEY,
        "cloudinary_api_secret": API_SECRET,
        "cloudinary_upload_prefix": url,
    }
    media = media_from_settings(settings_with(tmp_path, **given | overrides))
    assert isinstance(media, CloudinaryMedia)
    return media


async def test_a_picture_goes_to_its_folder_and_is_served_from_there(cloud, cloudinary):
    url = await cloud.save("influencer-profiles", PNG, "image/png", "png")
    assert f"/{CLOUD_NAME}/image/upload/" in url
    [(resource_type, public_id)] = cloudinary.assets
    assert (resource_type, public_id[:20]) == ("image", "influencer-profiles/")
    assert cloudinary.assets[resource_type, public_id] == PNG
    assert url.endswith(f"/{public_id}.png")


async def test_a_pdf_is_kept_as_it_is(cloud, cloudinary):
    url = await cloud.save("chat", PDF, "application/pdf", "pdf")
    [(resource_type, public_id)] = cloudinary.assets
    assert resource_type == "raw"
    assert public_id.startswith("chat/")
    assert public_id.endswith(".pdf")
    assert url.endswith(public_id)


@pytest.mark.parametrize(("data", "extension"), [(PNG, "png"), (PDF, "pdf")])
async def test_a_deleted_file_is_forgotten_and_deleting_it_again_is_fine(cloud, cloudinary, data, extension):
    url = await cloud.save("chat", data, "x/y", extension)
    await cloud.save("chat", data, "x/y", extension)
    await cloud.delete(url)
    await cloud.delete(url)
    assert len(cloudinary.assets) == 1
    assert cloudinary.count("destroy") == 2


@pytest.mark.parametrize(
    ("url", "asset"),
    [
        ("https://res.cloudinary.com/test-cloud/image/upload/v1730279999/chat/ID.jpg", ("image", "chat/ID")),
        ("https://res.cloudinary.com/test-cloud/image/upload/chat/ID.jpg", ("image", "chat/ID")),
        ("https://res.cloudinary.com/test-cloud/raw/upload/v1/chat/ID.pdf", ("raw", "chat/ID.pdf")),
        (
            "https://test-cloud-res.cloudinary.com/image/upload/v1/salon-profiles/ID.webp",
            ("image", "salon-profiles/ID"),
        ),
    ],
)
def test_the_urls_of_the_service_itself_are_recognised(cloud, url, asset):
    assert cloud.asset_of(url.replace("ID", "0af" * 10 + "00")) == (asset[0], asset[1].replace("ID", "0af" * 10 + "00"))


async def test_for_other_urls_no_request_is_sent(cloud, cloudinary):
    file = "chat/" + "a" * 32 + ".png"
    for url in (
        None,
        "",
        "nonsense",
        "https://[",
        f"https://evil.example/{CLOUD_NAME}/image/upload/v1/{file}",
        f"https://res.cloudinary.com.evil.example/{CLOUD_NAME}/image/upload/v1/{file}",
        f"https://res.cloudinary.com/other-cloud/image/upload/v1/{file}",
        f"https://res.cloudinary.com/{CLOUD_NAME}/image/upload/v1/elsewhere/{'a' * 32}.png",
        f"https://res.cloudinary.com/{CLOUD_NAME}/image/upload/v1/chat/../{file}",
        f"https://res.cloudinary.com/{CLOUD_NAME}/video/upload/v1/{file}",
        f"https://res.cloudinary.com/{CLOUD_NAME}/image/upload/v1/chat/short.png",
    ):
        await cloud.delete(url)
    assert cloudinary.count("") == 0


async def test_older_files_are_still_served_and_deleted(cloud, cloudinary, tmp_path):
    earlier = LocalMedia(tmp_path / "media", PUBLIC_URL)
    url = await earlier.save("chat", PNG, "image/png", "png")
    earlier.close()
    assert cloud.path_of(url.removeprefix(f"{PUBLIC_URL}/media/")).read_bytes() == PNG
    await cloud.delete(url)
    assert cloud.path_of(url.removeprefix(f"{PUBLIC_URL}/media/")) is None
    assert cloudinary.count("") == 0


FAILURES: list[tuple[str | Answer, type[VendorError]]] = [
    ("bad_signature", VendorRefused),
    ("rate_limited", VendorRateLimited),
    ("too_large", VendorError),
    ("server_error", VendorUnavailable),
    ("bad_gateway", UnreadableAnswer),
    ("nonsense", UnreadableAnswer),
    ("disconnect", VendorUnreachable),
    ((200, "[]"), UnreadableAnswer),
    ((200, '"text"'), UnreadableAnswer),
    ((200, "null"), UnreadableAnswer),
    ((400, {"error": "text"}), UnreadableAnswer),
    ((400, {"error": {}}), UnreadableAnswer),
]


@pytest.mark.parametrize(("failure", "error"), [*FAILURES, ("no_url", UnreadableAnswer)])
async def test_a_failed_upload_has_the_error_of_its_type(cloud, cloudinary, failure, error):
    cloudinary.fail(failure)
    with pytest.raises(VendorError) as raised:
        await cloud.save("chat", PNG, "image/png", "png")
    assert type(raised.value) is error
    assert API_SECRET not in str(raised.value)


@pytest.mark.parametrize(("failure", "error"), [*FAILURES, ((200, {"result": "error"}), UnreadableAnswer)])
async def test_a_failed_deletion_has_the_error_of_its_type(cloud, cloudinary, failure, error):
    url = await cloud.save("chat", PNG, "image/png", "png")
    cloudinary.fail(failure)
    with pytest.raises(VendorError) as raised:
        await cloud.delete(url)
    assert type(raised.value) is error


async def test_wrong_credentials_are_refused(cloudinary, tmp_path):
    media = cloud_at(cloudinary.url, tmp_path, cloudinary_api_secret="wrong")
    with pytest.raises(VendorRefused):
        await media.save("chat", PNG, "image/png", "png")
    media.close()


async def test_a_service_that_is_down_is_unreachable(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        media = cloud_at(f"http://127.0.0.1:{free.getsockname()[1]}", tmp_path)
        with pytest.raises(VendorUnreachable):
            await media.save("chat", PNG, "image/png", "png")
        media.close()


async def test_a_service_that_does_not_answer_times_out(cloud, cloudinary):
    cloud._options["timeout"] = urllib3.Timeout(connect=1, read=0.05)
    cloudinary.fail_with = "hang"
    with pytest.raises(VendorTimeout):
        await cloud.save("chat", PNG, "image/png", "png")


async def test_a_call_that_the_sdk_does_not_end_times_out(cloud, cloudinary, monkeypatch):
    monkeypatch.setattr(cloudinary_media, "CALL_SECONDS", 0.05)
    cloudinary.fail_with = "hang"
    with pytest.raises(VendorTimeout):
        await cloud.save("chat", PNG, "image/png", "png")


async def test_calls_beyond_the_queue_are_refused_as_busy(cloud, cloudinary):
    cloud._slots = Slots(running=1, waiting=1)
    cloud._options["timeout"] = urllib3.Timeout(connect=1, read=0.1)
    cloudinary.fail_with = "hang"
    saves = [cloud.save("chat", PNG, "image/png", "png") for _ in range(3)]
    answers = await asyncio.gather(*saves, return_exceptions=True)
    assert [type(answer) for answer in answers] == [VendorTimeout, VendorTimeout, Busy]


async def test_two_stores_do_not_share_their_credentials(cloud, cloudinary, tmp_path):
    wrong = cloud_at(cloudinary.url, tmp_path, cloudinary_api_secret="wrong")
    answers = await asyncio.gather(
        *(store.save("chat", PNG, "image/png", "png") for store in (cloud, wrong) * 5), return_exceptions=True
    )
    assert [isinstance(answer, str) for answer in answers] == [True, False] * 5
    wrong.close()


def test_without_credentials_files_are_kept_on_disk(tmp_path):
    media = media_from_settings(settings_with(tmp_path))
    assert isinstance(media, LocalMedia)
    media.close()


def test_half_of_the_credentials_are_a_mistake(tmp_path):
    settings = settings_with(tmp_path, cloudinary_cloud_name="x", cloudinary_api_secret="hush")
    with pytest.raises(SettingsError, match="CLOUDINARY_API_KEY") as raised:
        media_from_settings(settings)
    assert "hush" not in str(raised.value)
    assert "CLOUD_NAME" not in str(raised.value)
