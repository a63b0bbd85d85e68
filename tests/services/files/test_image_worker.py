"""The process that redraws a picture: bounded in time, memory and files."""

import asyncio
import os
import subprocess
import sys
from io import BytesIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from services.files import image_worker, images
from services.files.images import BadImage, accept_picture
from services.slots import Busy, Slots
from tests.helpers.files.pictures import PICTURE_KINDS as KINDS
from tests.helpers.files.pictures import encode, halves, noise


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
    start = subprocess.Popen

    def remember(*command, **options):
        workers.append(start(*command, **options))
        return workers[-1]

    monkeypatch.setattr(subprocess, "Popen", remember)
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


async def test_the_worker_has_a_lower_priority_than_the_server(monkeypatch, tmp_path):
    polite = tmp_path / "worker.py"
    polite.write_text("import os, sys; sys.exit(f'priority {os.nice(0)}, session {os.getsid(0)}')")
    monkeypatch.setattr(images, "WORKER", polite)
    with pytest.raises(RuntimeError, match=f"priority {min(os.nice(0) + 10, 19)}, session {os.getsid(0)}\\b"):
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
