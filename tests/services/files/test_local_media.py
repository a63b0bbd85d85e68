"""Files on disk."""

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from services.files import media as media_module
from services.files.media import LocalMedia, StorageFull
from tests.helpers.files.media import PDF, PNG, PUBLIC_URL, files_under


@pytest.fixture
def local(tmp_path):
    media = LocalMedia(tmp_path / "media", PUBLIC_URL)
    yield media
    media.close()


async def test_a_file_is_kept_under_an_absolute_url_and_found_by_its_name(local):
    url = await local.save("salon-profiles", PNG, "image/png", "png")
    assert url.startswith(f"{PUBLIC_URL}/media/salon-profiles/")
    assert url.endswith(".png")
    assert local.path_of(url.removeprefix(f"{PUBLIC_URL}/media/")).read_bytes() == PNG


async def test_every_url_is_new_and_unguessable(local):
    urls = {await local.save("chat", PDF, "application/pdf", "pdf") for _ in range(20)}
    assert len(urls) == 20
    assert all(len(url.rsplit("/", 1)[1]) == 32 + len(".pdf") for url in urls)


async def test_a_deleted_file_is_gone_and_deleting_it_again_is_fine(local, tmp_path):
    url = await local.save("chat", PNG, "image/png", "png")
    other = await local.save("chat", PNG, "image/png", "png")
    await local.delete(url)
    await local.delete(url)
    assert local.path_of(url.removeprefix(f"{PUBLIC_URL}/media/")) is None
    assert [path.name for path in files_under(tmp_path)] == [other.rsplit("/", 1)[1]]


async def test_other_urls_are_ignored(local, tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(b"x")
    name = "chat/" + "0" * 32 + ".png"
    (tmp_path / "media/chat").mkdir(parents=True)
    (tmp_path / "media" / name).write_bytes(b"x")
    for url in (
        None,
        "",
        f"https://elsewhere.example/media/{name}",
        f"{PUBLIC_URL}.evil.example/media/{name}",
        f"{PUBLIC_URL}/media/../outside.png",
        f"{PUBLIC_URL}/media/chat/../../outside.png",
        f"{PUBLIC_URL}/media/{name}/../{name}",
        f"{PUBLIC_URL}/media/{name}?x",
        f"{PUBLIC_URL}/media/{name}\n",
        f"/media/{name}",
        name,
    ):
        await local.delete(url)
    assert len(files_under(tmp_path)) == 2


@pytest.mark.parametrize(
    "name",
    [
        "",
        ".",
        "..",
        "chat",
        "chat/",
        "../secrets.json",
        "chat/../../secrets.json",
        "chat/..%2f..%2fsecrets.json",
        "..\\secrets.json",
        "/etc/passwd",
        "chat//etc/passwd",
        "other/" + "0" * 32 + ".png",
        "chat/" + "0" * 32 + ".html",
        "chat/" + "0" * 32 + ".png\n",
        "chat/" + "0" * 32 + ".png/",
        "chat/" + "0" * 32 + ".png\0.html",
        "chat/" + "0" * 31 + ".png",
        "chat/" + "٠" * 32 + ".png",
        "chat/." + "0" * 32 + ".png.draft",
    ],
)
def test_only_names_of_ours_lead_to_a_file(local, tmp_path, name):
    (tmp_path / "secrets.json").write_text("{}")
    assert local.path_of(name) is None


async def test_links_out_of_the_root_are_not_followed(local, tmp_path):
    (tmp_path / "secret.png").write_bytes(b"secret")
    folder = tmp_path / "media/chat"
    folder.mkdir(parents=True)
    (folder / ("0" * 32 + ".png")).symlink_to(tmp_path / "secret.png")
    (folder / ("1" * 32 + ".png")).mkdir()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / ("2" * 32 + ".png")).write_bytes(b"secret")
    (tmp_path / "media/salon-profiles").symlink_to(outside)
    for name in (f"chat/{'0' * 32}.png", f"chat/{'1' * 32}.png", f"salon-profiles/{'2' * 32}.png"):
        assert local.path_of(name) is None


async def test_a_root_behind_a_link_is_fine(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "data").symlink_to(tmp_path / "disk")
    media = LocalMedia(tmp_path / "data/media", PUBLIC_URL)
    url = await media.save("chat", PNG, "image/png", "png")
    path = media.path_of(url.removeprefix(f"{PUBLIC_URL}/media/"))
    assert path and path.read_bytes() == PNG
    media.close()


@pytest.mark.parametrize("extension", ["html", "svg", "../png", "", "png/../../x"])
async def test_other_kinds_of_files_are_refused(local, tmp_path, extension):
    with pytest.raises(ValueError, match="not a valid file name"):
        await local.save("chat", b"x", "text/html", extension)
    with pytest.raises(ValueError, match="not a valid file name"):
        await local.save("../elsewhere", b"x", "image/png", "png")
    assert files_under(tmp_path) == []


@pytest.mark.parametrize("broken", ["fsync", "replace"])
async def test_a_file_that_cannot_be_written_leaves_nothing(local, tmp_path, monkeypatch, broken):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*{"fsync": (os, "fsync"), "replace": (Path, "replace")}[broken], fail)
    with pytest.raises(StorageFull):
        await local.save("chat", PNG, "image/png", "png")
    assert files_under(tmp_path) == []


async def test_a_file_is_on_the_disk_before_it_has_its_name(local, monkeypatch):
    steps: list[str] = []
    sync, replace = os.fsync, Path.replace

    def note_sync(file: int) -> None:
        steps.append("sync")
        sync(file)

    def note_name(draft: Path, to: Path) -> Path:
        steps.append("name")
        return replace(draft, to)

    monkeypatch.setattr(os, "fsync", note_sync)
    monkeypatch.setattr(Path, "replace", note_name)
    await local.save("chat", PNG, "image/png", "png")
    assert steps == ["sync", "name", "sync"]


async def test_writing_to_the_disk_blocks_only_a_thread(local, monkeypatch):
    seen: set[int] = set()
    write = media_module.write_durably

    def note_thread(*args: Any) -> None:
        seen.add(threading.get_ident())
        write(*args)

    monkeypatch.setattr(media_module, "write_durably", note_thread)
    await local.save("chat", PNG, "image/png", "png")
    assert seen
    assert threading.get_ident() not in seen
