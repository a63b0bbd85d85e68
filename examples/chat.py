"""Two people sign up, connect and chat over two instances.

`python examples/chat.py URL URL [MAILS]`

They use the Python client (clients/python). MAILS is the folder into which the server in development writes its mails
(DATA_DIR/mail): the codes are read from there.
"""

import asyncio
import email
import email.policy
import re
import secrets
import sys
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "clients" / "python"))

from encer import Conversation, Encer, Message

MAIL_SECONDS = 10
EVENT_SECONDS = 10
PASSWORD = "tea and biscuits"


async def mailed_code(folder: Path, address: str) -> str:
    """Return the code that was mailed to this address, as soon as the mail is stored."""
    async with asyncio.timeout(MAIL_SECONDS):
        while True:
            for path in sorted(folder.glob("*.eml"), reverse=True):
                mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
                text = mail.get_body(["plain"])
                code = re.search(r"^\s+(\d{6})\s*$", text.get_content() if text else "", re.MULTILINE)
                if mail["To"] == address and code:
                    return code[1]
            await asyncio.sleep(0.1)


class Person:
    def __init__(self, base: str, role: str, name: str) -> None:
        self.encer = Encer(base)
        self.base, self.role, self.name = base, role, name
        self.address = f"{role}-{secrets.token_hex(4)}@example.com"
        self.id = ""
        self.events: asyncio.Queue[tuple[str, Any]] = asyncio.Queue(100)

    async def sign_up(self, mails: Path) -> None:
        about = {"name": self.name, "email": self.address, "password": PASSWORD, "termsAccepted": True}
        await self.encer.rest.send("POST", f"/auth/signup/{self.role}", json=about)
        code = await mailed_code(mails, self.address)
        await self.encer.rest.send("POST", "/auth/verify-otp", json={"email": self.address, "otp": code})
        self.id = (await self.encer.sign_in(self.address, PASSWORD))["id"]
        print(f"{self.name} signed up and in at {self.base}")

    async def join(self, conversation_id: str) -> None:
        self.chat: Conversation = self.encer.conversation(conversation_id)
        for name in ("joined", "message", "read", "typing"):
            self.chat.on(name, partial(self.note, name))
        await self.hear("joined")

    def note(self, name: str, data: Any) -> None:
        self.events.put_nowait((name, data))

    async def hear(self, event: str) -> Any:
        """Return the data of the next event of this name."""
        async with asyncio.timeout(EVENT_SECONDS):
            while True:
                name, data = await self.events.get()
                if name == event:
                    return data

    async def hear_read(self, message: Message) -> None:
        while (await self.hear("read"))["seq"] < message["seq"]:
            pass


async def main(here: str, there: str, mails: Path) -> None:
    hanako, sakura = Person(here, "influencer", "Hanako"), Person(there, "salon", "Salon Sakura")
    await hanako.sign_up(mails)
    await sakura.sign_up(mails)
    request = (await sakura.encer.call("POST", "/connections/request", {"receiverId": hanako.id}))["data"]
    accepted = await hanako.encer.call("PATCH", f"/connections/requests/{request['id']}/accept", {})
    conversation_id = accepted["conversationId"]
    print(f"{sakura.name} asked, {hanako.name} accepted: they are connected\n")

    await hanako.join(conversation_id)
    await sakura.join(conversation_id)
    script = [
        (sakura, hanako, "Hello! We open a second salon in Yokohama in May 🌸"),
        (hanako, sakura, "おめでとうございます! I would love to show it."),
        (sakura, hanako, "Shall we say the 12th?"),
        (hanako, sakura, "The 12th it is."),
    ]
    for speaker, listener, text in script:
        speaker.chat.typing()
        await listener.hear("typing")
        stored = await speaker.chat.send(text)
        heard = await listener.hear("message")
        while heard["id"] != stored["id"]:  # one's own lines are events too
            heard = await listener.hear("message")
        print(f"{heard['sender']['name']:>14}: {heard['content']}")
        listener.chat.read()
        await speaker.hear_read(stored)
    print(f"\n{hanako.name} was on {here}, {sakura.name} on {there}; every line was heard and read on the other one.")
    await hanako.encer.close()
    await sakura.encer.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) == 4 else ".data/mail")))
