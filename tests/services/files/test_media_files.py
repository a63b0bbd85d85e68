"""Files on the server's own disk: served with their type, cacheable forever, and no other files of the disk."""

import asyncio
import socket

import pytest

from handlers.media import CHUNK_BYTES, Media
from server import Instance
from tests.helpers.clients import Api
from tests.helpers.factories import People
from tests.helpers.files.forms import PDF, File, name_of, picture, send_form


async def kept(api: Api, people: People) -> str:
    """Upload a picture and return its path."""
    answer = await send_form(api, "/profile/upload-picture", await people.salon(), ("profilePic", File(picture())))
    return "/media/" + name_of(answer.data["profilePic"])


async def test_a_picture(api: Api, people: People, instance: Instance):
    path = await kept(api, people)
    answer = await api.get(path)
    assert answer.status == 200
    assert answer.raw == (instance.settings.data_dir / path[1:]).read_bytes()
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Length"] == str(len(answer.raw))
    assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Content-Disposition" not in answer.headers


async def test_a_pdf_is_downloaded(api: Api, people: People):
    one, other = await people.salon(), await people.influencer()
    conversation_id = await people.connect(one, other)
    url = f"/chat/conversations/{conversation_id}/attachments"
    sent = await send_form(api, url, one, ("file", File(PDF, "見積.pdf", "application/pdf")))
    answer = await api.get("/media/" + name_of(sent.data["fileUrl"]))
    assert answer.raw == PDF
    assert (answer.headers["Content-Type"], answer.headers["Content-Disposition"]) == ("application/pdf", "attachment")
    assert answer.headers["Cache-Control"] == "private, max-age=31536000, immutable"


async def test_a_client_with_the_file_gets_304(api: Api, people: People):
    path = await kept(api, people)
    tag = (await api.get(path)).headers["Etag"]
    answer = await api.get(path, headers={"If-None-Match": tag})
    assert (answer.status, answer.raw) == (304, b"")
    head = await api.call("HEAD", path)
    assert (head.status, head.raw) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0
    answer = await api.get(path)  # on the same connection: no byte of the file is left
    assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    [
        "/media", "/media/", "/media/chat", "/media/chat/", "/media/salon-profiles/", "/media/chat/x.png",
        "/media/chat/../secrets.json", "/media/../secrets.json", "/media/%2e%2e/secrets.json",
        "/media/..%2f/secrets.json", "/media/chat/..%2f..%2fsecrets.json", "/media/chat/%2e%2e%2f%2e%2e%2fsecrets.json",
        "/media/chat/..%5c..%5csecrets.json", "/media//etc/passwd", "/media/%2fetc/passwd", "/media/chat/%00.png",
        "/media/chat/" + "0" * 32 + ".png", "/media/chat/" + "0" * 32 + ".svg", "/media/chat/" + "0" * 4000,
        "/media/other/" + "0" * 32 + ".png", "/media/chat/%ff%fe.png",
    ],
)  # fmt: skip
async def test_nothing_else_is_found(api: Api, instance: Instance, path: str):
    assert (instance.settings.data_dir / "secrets.json").exists()
    answer = await api.get(path)
    assert (answer.status, answer.code) == (404, "NOT_FOUND")
    assert answer.headers["Cache-Control"] == "no-store"


async def test_links_and_drafts_are_not_served(api: Api, people: People, instance: Instance):
    root = instance.settings.data_dir / "media"
    path = root.parent / (await kept(api, people))[1:]
    link = root / "chat" / f"{'1' * 32}.png"
    link.parent.mkdir(exist_ok=True)
    link.symlink_to(instance.settings.data_dir / "secrets.json")
    draft = path.with_name(f".{path.name}.draft")
    draft.write_bytes(b"half")
    assert (await api.get(f"/media/chat/{link.name}")).status == 404
    assert (await api.get(f"/media/salon-profiles/{draft.name}")).status == 404
    link.unlink()
    draft.unlink()


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_it_can_only_be_read(api: Api, people: People, method: str):
    path = await kept(api, people)
    answer = await api.call(method, path)
    assert (answer.status, answer.headers["Allow"]) == (405, "GET, HEAD")
    assert (await api.get(path)).status == 200


async def test_a_slow_reader_uses_little_memory(api: Api, people: People, instance: Instance, monkeypatch):
    """A client that never reads does not make the server hold 10 MB in memory, and does not delay others."""
    path = instance.settings.data_dir / (await kept(api, people))[1:]
    path.write_bytes(picture() + bytes(10 * 2**20))
    url = f"/{path.relative_to(instance.settings.data_dir)}"
    sent = []
    flush = Media.flush

    async def counting(self, *args, **kwargs):
        sent.append(sum(map(len, self._write_buffer)))
        await flush(self, *args, **kwargs)

    monkeypatch.setattr(Media, "flush", counting)
    with socket.create_connection(("127.0.0.1", instance.port)) as lazy:
        lazy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lazy.sendall(f"GET {url} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        while not sent:
            assert (await api.get("/health")).status == 200
        for _ in range(20):  # long enough to have read all of it, if it did not wait
            await asyncio.sleep(0)
            assert (await api.get("/health")).status == 200
        assert sum(sent) < 9 * 2**20
        assert max(sent) <= CHUNK_BYTES
