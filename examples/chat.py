"""Two people sign up, connect and chat over two instances.

`python examples/chat.py URL URL [MAILS]`

A client author's view: HTTP by the standard library, sockets by the plain `websockets` package. MAILS is the folder
into which the server in development writes its mails (DATA_DIR/mail): the codes are read from there.
"""

import asyncio
import email
import email.policy
import json
import re
import secrets
import sys
import urllib.request
from pathlib import Path
from typing import Any

import websockets

MAIL_SECONDS = 10


def call(base: str, method: str, path: str, body: Any = None, token: str = "") -> Any:
    headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{base}/api/v1{path}", data, headers, method=method)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


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
        self.base, self.role, self.name = base, role, name
        self.address = f"{role}-{secrets.token_hex(4)}@example.com"
        self.token = self.id = ""

    async def sign_up(self, mails: Path) -> None:
        about = {"name": self.name, "email": self.address, "password": "tea and biscuits", "termsAccepted": True}
        call(self.base, "POST", f"/auth/signup/{self.role}", about)
        code = await mailed_code(mails, self.address)
        call(self.base, "POST", "/auth/verify-otp", {"email": self.address, "otp": code})
        login = call(self.base, "POST", "/auth/login", {"email": self.address, "password": about["password"]})
        self.token, self.id = login["accessToken"], login["user"]["id"]
        print(f"{self.name} signed up and in at {self.base}")

    async def join(self, conversation_id: str) -> None:
        url = self.base.replace("http", "ws", 1) + "/ws"
        headers = {"Authorization": f"Bearer {self.token}"}
        self.socket = await websockets.connect(url, additional_headers=headers)
        await self.hear("ready")
        await self.tell("join_conversation", {"conversationId": conversation_id, "after": 0}, id="join")
        await self.hear("ack")

    async def tell(self, event: str, data: dict[str, Any], **more: Any) -> None:
        await self.socket.send(json.dumps({"event": event, "data": data, **more}))

    async def hear(self, event: str) -> dict[str, Any]:
        async with asyncio.timeout(10):
            while True:
                frame = json.loads(await self.socket.recv())
                if frame["event"] == event:
                    value: dict[str, Any] = frame["data"]
                    return value


async def main(here: str, there: str, mails: Path) -> None:
    hanako, sakura = Person(here, "influencer", "Hanako"), Person(there, "salon", "Salon Sakura")
    await hanako.sign_up(mails)
    await sakura.sign_up(mails)
    request = call(sakura.base, "POST", "/connections/request", {"receiverId": hanako.id}, sakura.token)["data"]
    accepted = call(hanako.base, "PATCH", f"/connections/requests/{request['id']}/accept", {}, hanako.token)
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
    for number, (speaker, listener, text) in enumerate(script):
        await speaker.tell("typing_start", {"conversationId": conversation_id})
        await listener.hear("user_typing")
        message = {"conversationId": conversation_id, "content": text, "clientMessageId": f"line-{number}"}
        await speaker.tell("send_message", message, id=number)
        heard = await listener.hear("message_sent")
        print(f"{heard['sender']['name']:>14}: {heard['content']}")
        seen = {"conversationId": conversation_id, "seq": heard["seq"]}
        await listener.tell("mark_read", seen, id=f"read-{number}")
        await speaker.hear("message_read")
    print(f"\n{hanako.name} was on {here}, {sakura.name} on {there}; every line was heard and read on the other one.")
    await hanako.socket.close()
    await sakura.socket.close()


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3] if len(sys.argv) == 4 else ".data/mail")))
