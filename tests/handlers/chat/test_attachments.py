"""Files of messages: only the two participants may upload, only while connected, only pictures and PDFs."""

import pytest

from db.pool import Database
from db.queries.conversations import close_conversations
from server import Instance
from settings import Limit
from tests.helpers.clients import Answer, Api
from tests.helpers.factories import People, Person
from tests.helpers.files.forms import BAD_FILES, PDF, File, kept_files, name_of, picture, send_form


async def upload(api: Api, conversation_id: str, person: Person, *files: File, field: str = "file") -> Answer:
    path = f"/chat/conversations/{conversation_id}/attachments"
    return await send_form(api, path, person, *[(field, file) for file in files])


async def pair(people: People) -> tuple[Person, Person, str]:
    salon, hanako = await people.salon(), await people.influencer()
    return salon, hanako, await people.connect(salon, hanako)


@pytest.mark.parametrize(
    ("file", "name", "kind", "extension"),
    [
        (File(picture("PNG"), "a.png"), "a.png", "IMAGE", "png"),
        (File(picture("JPEG"), "写真.JPEG", "image/jpeg"), "写真.JPEG", "IMAGE", "jpg"),
        (File(picture("GIF"), "../../etc/a.gif", "text/html"), "a.gif", "IMAGE", "gif"),
        (File(PDF, "見積 2026.pdf", "application/pdf"), "見積 2026.pdf", "FILE", "pdf"),
        (File(picture("PNG"), "setup.exe", "application/x-msdownload"), "setup.exe.png", "IMAGE", "png"),
    ],
    ids=["png", "jpeg", "path", "pdf", "program"],
)
async def test_a_file_goes_from_upload_to_message(
    api: Api, people: People, instance: Instance, file: File, name: str, kind: str, extension: str
):
    salon, hanako, conversation_id = await pair(people)
    before = kept_files(instance)
    found = (await upload(api, conversation_id, salon, file)).data
    assert (found["fileName"], found["messageType"]) == (name, kind)
    assert found["fileUrl"].endswith(f".{extension}")
    stored = (instance.settings.data_dir / "media" / name_of(found["fileUrl"])).read_bytes()
    assert found["fileSize"] == len(stored)
    assert kept_files(instance) - before == {name_of(found["fileUrl"])}
    path = f"/chat/conversations/{conversation_id}/messages"
    message = (await api.post(path, {"fileUrl": found["fileUrl"], "messageType": kind}, salon)).data
    assert {key: message[key] for key in found} == found
    assert (await api.get(path, hanako)).data == [message]


async def test_a_long_name_keeps_its_extension(api: Api, people: People):
    salon, _, conversation_id = await pair(people)
    for name in ("x" * 300, "x" * 300 + ".html", "x" * 250 + ".html"):
        found = (await upload(api, conversation_id, salon, File(PDF, name, "text/html"))).data
        assert len(found["fileName"]) <= 255
        assert found["fileName"].endswith(".pdf")


async def test_strangers_and_disconnected_users(api: Api, people: People, db: Database, instance: Instance):
    salon, hanako, conversation_id = await pair(people)
    outsider, admin = await people.salon(), await people.admin()
    before = kept_files(instance)
    file = File(picture())
    assert (await upload(api, conversation_id, outsider, file)).status == 404
    assert (await upload(api, "00000000-0000-4000-8000-000000000000", salon, file)).status == 404
    assert (await upload(api, "nonsense", salon, file)).status == 404
    assert (await upload(api, conversation_id, admin, file)).status == 403
    assert (await api.post(f"/chat/conversations/{conversation_id}/attachments")).status == 401
    await close_conversations(db, salon.id)
    answer = await upload(api, conversation_id, hanako, file)
    assert answer.status == 403
    assert "read-only" in answer.body["error"]
    assert kept_files(instance) == before
    assert await db.fetchval("select count(*) from attachments") == 0


async def test_disconnected_while_the_picture_was_processed(
    api: Api, people: People, db: Database, instance, monkeypatch
):
    salon, _, conversation_id = await pair(people)
    before = kept_files(instance)
    save = type(instance.services.media).save

    async def slow_save(*args):
        url = await save(*args)
        await close_conversations(db, salon.id)
        return url

    monkeypatch.setattr(type(instance.services.media), "save", slow_save)
    assert (await upload(api, conversation_id, salon, File(picture()))).status == 403
    assert kept_files(instance) == before
    assert await db.fetchval("select count(*) from attachments") == 0


@pytest.mark.parametrize("kind", [*BAD_FILES, "cut pdf", "zip"])
async def test_bad_files_leave_nothing(api: Api, people: People, db: Database, instance: Instance, kind: str):
    salon, _, conversation_id = await pair(people)
    before = kept_files(instance)
    data = {**BAD_FILES, "cut pdf": PDF[:-10], "zip": b"PK\x03\x04" + bytes(99)}[kind]
    answer = await upload(api, conversation_id, salon, File(data, "a.pdf", "application/pdf"))
    assert answer.status in (400, 415), answer
    assert kept_files(instance) == before
    assert await db.fetchval("select count(*) from attachments") == 0


async def test_requests_without_a_file(api: Api, people: People, instance: Instance):
    salon, _, conversation_id = await pair(people)
    before = kept_files(instance)
    file = File(picture())
    assert (await upload(api, conversation_id, salon)).fields == {"file"}
    assert (await upload(api, conversation_id, salon, file, file)).status == 400
    assert (await upload(api, conversation_id, salon, file, field="profilePic")).fields == {"profilePic"}
    path = f"/chat/conversations/{conversation_id}/attachments"
    assert (await api.post(path, {"file": "x"}, salon)).status == 415
    assert kept_files(instance) == before


async def test_ten_mebibytes(api: Api, people: People):
    salon, _, conversation_id = await pair(people)
    size = 10 * 2**20
    pdf = PDF[:10] + bytes(size - len(PDF)) + PDF[10:]
    assert (await upload(api, conversation_id, salon, File(pdf, "a.pdf"))).data["fileSize"] == size
    assert (await upload(api, conversation_id, salon, File(b"%" + pdf, "a.pdf"))).status == 413


async def test_uploads_share_one_limit(api: Api, people: People, limit):
    limit("limit_upload", Limit(2, 3600))
    salon, _, conversation_id = await pair(people)
    assert (await upload(api, conversation_id, salon, File(picture()))).status == 200
    answer = await send_form(api, "/profile/upload-picture", salon, ("profilePic", File(picture())))
    assert answer.status == 200
    assert (await upload(api, conversation_id, salon, File(picture()))).status == 429


async def test_deleting_a_message_deletes_its_file(api: Api, people: People, db: Database, instance: Instance):
    salon, hanako, conversation_id = await pair(people)
    before = kept_files(instance)
    url = (await upload(api, conversation_id, salon, File(picture()))).data["fileUrl"]
    path = f"/chat/conversations/{conversation_id}/messages"
    first, second = [(await api.post(path, {"fileUrl": url}, salon)).data["id"] for _ in range(2)]
    assert (await api.delete(f"/chat/messages/{first}", salon)).status == 200
    # The other message still shows it.
    assert (await api.get("/media/" + name_of(url))).status == 200
    assert (await api.get(path, hanako)).data[1]["fileUrl"] == url
    assert (await api.delete(f"/chat/messages/{second}", salon)).status == 200
    assert (await api.get("/media/" + name_of(url))).status == 404
    assert kept_files(instance) == before
    assert await db.fetchval("select count(*) from attachments") == 0
