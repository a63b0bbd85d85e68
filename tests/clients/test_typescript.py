"""The built TypeScript client in Node, against a real server and against failures. The conformance suite and
the READMEs' programs test the rest."""

import asyncio
import base64
import io
import json
import os
from pathlib import Path

import pytest
from PIL import Image

from clients.build import MAX_BYTES, bundle, compressed
from settings import VERSION
from tests.clients.helpers import LIVES_LONG, SUSPEND, answering, health, loaded, tokens_of
from tests.helpers.factories import PASSWORD
from tests.helpers.servers.tls import Authority
from tools.node.packages import NODE, install_packages

PROGRAM = Path(__file__).with_name("typescript.mjs")
CLIENT = Path(__file__).parents[2] / "clients" / "typescript"
SECONDS = 120.0
SOME_TOKENS = {"accessToken": f"a.{LIVES_LONG}.c", "refreshToken": "none"}


async def node(act: str, base: str, given: object = None, more: str = "", **environment: str):
    """Run one act of typescript.mjs and return its outcome."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        NODE,
        PROGRAM,
        act,
        base,
        json.dumps(given or {}),
        more,
        stdout=pipe,
        stderr=pipe,
        env={**os.environ, **environment},
    )
    async with asyncio.timeout(SECONDS):
        output, failed = await process.communicate()
    assert process.returncode == 0, failed.decode()
    return json.loads(output)


async def test_a_person_chats(api, people):
    hanako, sakura = await people.influencer(), await people.salon()
    conversation_id = await people.connect(hanako, sakura)
    picture = io.BytesIO()
    Image.effect_noise((200, 200), 90).save(picture, "PNG")
    png = base64.b64encode(picture.getvalue()).decode()
    given = {**loaded(tokens_of(api.instance, hanako)), "png": png}
    outcome = await node("chat", api.base, given, conversation_id)
    assert outcome["seen"][:3] == ["message", "edited", "deleted"]
    assert outcome["fileUrl"] and outcome["sent"]
    assert outcome["history"] == [1, 4]
    assert [outcome[name]["code"] for name in ("tooLong", "aborted", "uploadAborted", "closed")] == [
        "VALIDATION_ERROR",
        "ABORTED",
        "ABORTED",
        "CLOSED",
    ]


async def test_an_invalid_base_url():
    outcomes = await node("bases", "none", {"bases": ["", "api.example.com", "ftp://example.com", "http://"]})
    assert {(outcome["code"], outcome["typed"]) for outcome in outcomes} == {("WRONG_SERVER", True)}
    assert outcomes[1]["sentence"] == '"api.example.com" is not a base URL. Write it as https://api.example.com.'


REFUSAL = json.dumps({"error": "This origin may not connect", "message": "No.", "code": "FORBIDDEN"})


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        ([("200 OK", "<html>hello</html>")], "WrongServer"),
        ([health(VERSION), ("404 Not Found", "no such page")], "WrongServer"),
        ([health("7.2.0")], "WrongVersion"),
        ([health(VERSION), ("403 Forbidden", REFUSAL), health(VERSION), ("403 Forbidden", REFUSAL)], "OriginRefused"),
    ],
)
async def test_another_server_version_or_origin(answers, kind):
    async with answering(*answers) as (base, _):
        outcome = await node("end", base, SOME_TOKENS)
    assert (outcome["state"], outcome["kind"]) == ("ended", kind)
    assert outcome["sentence"].endswith(".")


async def test_an_invalid_certificate(tmp_path):
    authority = Authority(tmp_path)
    async with answering(health(VERSION), tls=authority.server("other.example.com")) as (base, asked):
        unknown = await node("end", base, SOME_TOKENS)
        other_name = await node("end", base, SOME_TOKENS, NODE_EXTRA_CA_CERTS=str(authority.root))
    assert {unknown["kind"], other_name["kind"]} == {"CertificateRefused"}
    assert asked == []


async def test_a_suspended_account_and_wrong_credentials(api, db, people):
    hanako = await people.influencer()
    wrong = await node("signIn", api.base, {"email": hanako.email, "password": "wrong password"})
    await db.execute(SUSPEND, hanako.id)
    await api.instance.app.sessions.check_now()
    outcome = await node("end", api.base, tokens_of(api.instance, hanako).load())
    suspended = await node("signIn", api.base, {"email": hanako.email, "password": PASSWORD})
    assert (outcome["state"], outcome["kind"]) == ("ended", "SessionEnded")
    assert [wrong["code"], suspended["code"]] == ["INVALID_CREDENTIALS", "ACCOUNT_SUSPENDED"]


def test_the_browser_file_is_small_and_unused_code_is_left_out(tmp_path):
    assert compressed(CLIENT / "dist" / "encer.js") <= MAX_BYTES
    install_packages()
    entry = tmp_path / "page.js"
    entry.write_text(f'import {{ MemoryTokens }} from "{CLIENT / "src" / "index.ts"}"; console.log(MemoryTokens);')
    bundle(entry, tmp_path / "page.min.js")
    assert compressed(tmp_path / "page.min.js") < MAX_BYTES / 10
