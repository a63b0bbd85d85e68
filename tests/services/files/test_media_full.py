"""The disk with the media is full: 507, nothing of the upload is kept, and uploads work again when there is space."""

import errno
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from db.pool import Database
from server import Instance
from services.files.media import LocalMedia, StorageFull, write_durably
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import People
from tests.helpers.files.forms import PDF, File, kept_files, picture, send_form
from tests.helpers.programs import needs_small_disk

STEPS = ["mkdir", "fsync", "replace", "fsync of the folder"]
STATE = """
    select array[(select count(*) from attachments), (select count(profile_pic) from influencers),
        (select count(profile_pic) from salons), (select count(*) from users where onboarded_at is not null)]
"""
ONBOARD = [("bio", "hello"), ("categories", "beauty"), ("region", "tokyo"), ("age", "27"), ("gender", "FEMALE")]


def no_room(*_: object, **__: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def fail_at(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if step == "mkdir":
        monkeypatch.setattr(Path, "mkdir", no_room)
    elif step == "replace":
        monkeypatch.setattr(Path, "replace", no_room)
    elif step == "fsync":
        monkeypatch.setattr(os, "fsync", no_room)
    else:
        monkeypatch.setattr("services.files.media.sync_folder", no_room)


@pytest.mark.parametrize("step", STEPS)
def test_nothing_is_kept_of_a_file_on_a_full_disk(tmp_path: Path, monkeypatch, step: str):
    with monkeypatch.context() as patched:
        fail_at(step, patched)
        with pytest.raises(OSError, match="No space"):
            write_durably(tmp_path / "chat" / "a.pdf", PDF)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
async def test_a_full_disk_and_a_used_up_quota_are_logged_once(tmp_path: Path, monkeypatch, code: int):
    media = LocalMedia(tmp_path, "https://api.example.com")

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    with capture_logs() as logs:
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", refuse)
            for _ in range(3):
                with pytest.raises(StorageFull):
                    await media.save("chat", PDF, "application/pdf", "pdf")
        await media.save("chat", PDF, "application/pdf", "pdf")
    assert [entry["event"] for entry in logs] == [
        "the disk with DATA_DIR/media is full",
        "the disk with DATA_DIR/media has room again",
    ]
    media.close()


async def test_another_disk_error_is_not_reported_as_a_full_disk(tmp_path: Path):
    (tmp_path / "chat").write_text("a file where the folder should be")
    media = LocalMedia(tmp_path, "https://api.example.com")
    with pytest.raises(FileExistsError):
        await media.save("chat", PDF, "application/pdf", "pdf")
    media.close()


async def upload_everywhere(api: Api, people: People) -> list[Answer]:
    """Upload to every route that takes a file; return the answers."""
    hanako, salon, newcomer = await people.influencer(), await people.salon(), await people.influencer()
    await people.instance.db.execute("update users set onboarded_at = null where id = $1", newcomer.id)
    conversation_id = await people.connect(hanako, salon)
    photo = ("profilePic", File(picture(size=(300, 300))))
    return [
        await send_form(api, "/profile/upload-picture", salon, photo),
        await send_form(api, "/profile/update", hanako, ("bio", "new"), photo, method="PUT"),
        await send_form(api, "/onboarding/influencer", newcomer, *ONBOARD, photo),
        await send_form(
            api, f"/chat/conversations/{conversation_id}/attachments", hanako, ("file", File(PDF, "a.pdf"))
        ),
    ]


def assert_full(answers: list[Answer]) -> None:
    assert [(answer.status, answer.code) for answer in answers] == [(507, "STORAGE_FULL")] * len(answers)


async def test_each_upload_is_refused_whole(api: Api, people: People, db: Database, instance: Instance, monkeypatch):
    assert [answer.status for answer in await upload_everywhere(api, people)] == [200] * 4
    files, before = kept_files(instance), await db.fetchval(STATE)
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", no_room)
        assert_full(await upload_everywhere(api, people))
    attachments, influencer_pictures, salon_pictures, onboarded = await db.fetchval(STATE)
    assert [attachments, influencer_pictures, salon_pictures] == before[:3]
    assert onboarded == before[3] + 2  # the two earlier users; the new one is not
    assert await db.fetchval("select count(*) from influencers where bio = 'new'") == 1  # of the first round
    assert kept_files(instance) == files


@pytest.fixture
def small_disk() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="encer-"))
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)
    folder.rmdir()


@needs_small_disk()
async def test_a_disk_that_is_really_full(api: Api, people: People, instance: Instance, small_disk: Path, monkeypatch):
    monkeypatch.setattr(instance.services.media, "_root", small_disk)
    filler = small_disk / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass
    assert_full(await upload_everywhere(api, people))
    assert [path for path in small_disk.rglob("*") if path.is_file()] == [filler]
    filler.unlink()
    assert [answer.status for answer in await upload_everywhere(api, people)] == [200] * 4
