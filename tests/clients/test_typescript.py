"""The built TypeScript client in Node, against a real server and without one. The conformance suite, the READMEs'
programs and test_bad_input.py test the rest."""

import base64
import io
import re
from pathlib import Path

from PIL import Image

from clients.build import MAX_BYTES, bundle, compressed
from tests.clients.helpers import loaded, node, tokens_of
from tools.node.packages import install_packages, run_node

UNITS = Path(__file__).with_name("units.mjs")
CLIENT = Path(__file__).parents[2] / "clients" / "typescript"
SECONDS = 120.0
TEST_MS = 60_000


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
    assert [outcome[name]["kind"] for name in ("tooLong", "aborted", "uploadAborted", "closed")] == [
        "TooLarge",
        "Aborted",
        "Aborted",
        "Closed",
    ]


async def test_wrong_credentials(api, people):
    hanako = await people.influencer()
    wrong = await node("signIn", api.base, {"email": hanako.email, "password": "wrong password"})
    assert wrong["kind"] == "WrongCredentials"


def test_units():
    """What only this client has: the stores of the browser, tabs, async listeners, abort signals."""
    tested = run_node("--test", f"--test-timeout={TEST_MS}", UNITS, seconds=SECONDS)
    assert tested.returncode == 0, tested.stdout + tested.stderr


def test_the_browser_file_is_small_and_unused_code_is_left_out(tmp_path):
    size = compressed(CLIENT / "dist" / "encer.js")
    assert size <= MAX_BYTES
    shown = re.findall(r"([\d,]+) bytes minified and gzipped", (CLIENT.parent / "README.md").read_text())
    assert [abs(int(number.replace(",", "")) - size) < 100 for number in shown] == [
        True
    ]  # libraries compress differently
    install_packages()
    entry = tmp_path / "page.js"
    entry.write_text(f'import {{ MemoryTokens }} from "{CLIENT / "src" / "index.ts"}"; console.log(MemoryTokens);')
    bundle(entry, tmp_path / "page.min.js")
    assert compressed(tmp_path / "page.min.js") < MAX_BYTES / 10
