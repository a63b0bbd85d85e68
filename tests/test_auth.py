"""Sign-up to login, as a newcomer does it."""

import re

from tests.clients import Api

NEWCOMER = {"name": "花子 🌸", "email": "Hanako@Example.com", "password": "a long enough one", "termsAccepted": True}


async def mailed_code(instance, io_loop=None) -> str:
    """The code of the newest mail, as the receiver reads it."""
    mails = sorted((instance.settings.data_dir / "mail").glob("*.eml"), key=lambda path: path.stat().st_mtime_ns)
    return re.search(r"\b(\d{6})\b", mails[-1].read_text())[1]


async def test_sign_up_verify_login(instance, api: Api, db):
    answer = await api.post("/auth/signup/influencer", NEWCOMER)
    assert answer.status == 201, answer
    assert answer.body["userId"] == answer.data["userId"]
    assert answer.data["email"] == "hanako@example.com"
