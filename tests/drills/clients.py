"""What a careful client does: reconnects, joins with what it knows, sends again with the same clientMessageId."""

import asyncio
import json
import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import websockets
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

ANSWER_SECONDS = 5.0
HEARTBEAT_SECONDS = 2.0
BACK_OFF_SECONDS = (0.1, 0.6)
FAILURES = (OSError, TimeoutError, websockets.WebSocketException, HTTPClientError)


@dataclass
class Record:
    """What everybody saw, with times in seconds since the start."""

    began: float = field(default_factory=time.monotonic)
    sent_at: dict[str, float] = field(default_factory=dict)  # clientMessageId -> first try
    acknowledged: dict[str, str] = field(default_factory=dict)  # clientMessageId -> content
    deliveries: list[tuple[float, float, str]] = field(default_factory=list)  # when, sent when, conversation
    reconnects: list[float] = field(default_factory=list)
    refusals: dict[str, int] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)

    def now(self) -> float:
        return time.monotonic() - self.began


@dataclass
class Member:
    """One user in one conversation, with one socket."""

    user_id: str
    token: str
    conversation_id: str
    partner_id: str


class Client:
    def __init__(self, base: str, member: Member, record: Record, http: AsyncHTTPClient, chance: random.Random) -> None:
        self.base = base
        self.member = member
        self.record = record
        self.http = http
        self.chance = chance
        self.position = 0  # everything up to this rev is known
        self.view: dict[int, dict[str, Any]] = {}  # seq -> the message as this client sees it
        self.notified = 0  # received messages that the conversation's notification has told of
        self.live = asyncio.Event()
        self.ws: Any = None
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.numbers = 0
        self.headers = {"Authorization": f"Bearer {member.token}"}

    # -- listening ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            with suppress(*FAILURES):
                await self.converse()
            self.live.clear()
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(OSError("the socket has gone"))
            self.waiting.clear()
            self.record.reconnects.append(self.record.now())
            await asyncio.sleep(self.chance.uniform(*BACK_OFF_SECONDS))

    async def converse(self) -> None:
        url = self.base.replace("http", "ws") + "/ws"
        async with asyncio.timeout(ANSWER_SECONDS):
            self.ws = await websockets.connect(
                url, additional_headers=self.headers, compression=None, proxy=None, ping_interval=None,
                open_timeout=ANSWER_SECONDS, close_timeout=0.2, max_size=None,
            )  # fmt: skip
        reading = asyncio.create_task(self.read())
        try:
            await self.join()
            await self.read_notifications()
            self.live.set()
            while not reading.done():
                await asyncio.wait({reading}, timeout=HEARTBEAT_SECONDS)
                await self.ask("ping")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
            self.ws.transport.abort()

    async def read(self) -> None:
        async for frame in self.ws:
            event = json.loads(frame)
            name, data = event["event"], event["data"]
            if "id" in event:
                future = self.waiting.pop(event["id"], None)
                if future and not future.done():
                    future.set_result(event)
            elif name in ("message_sent", "message_edited"):
                self.see(name, data)
            elif name == "notification_received":
                self.note(data["notification"])
            elif name == "resync" and "conversationId" in data:  # of other things the server tells again by itself
                rejoining = asyncio.ensure_future(self.rejoin())
                rejoining.add_done_callback(lambda task: task.cancelled() or task.exception())  # seen: retrieved

    def see(self, name: str, message: dict[str, Any]) -> None:
        seq, rev = message["seq"], message["rev"]
        where = f"{self.member.user_id[:8]} in {self.member.conversation_id[:8]}"
        if rev <= self.position:
            self.record.violations.append(f"{where}: rev {rev} told again after {self.position}")
        if (name == "message_sent") == (seq in self.view):
            self.record.violations.append(
                f"{where}: {name} of seq {seq}, which is {'' if seq in self.view else 'not '}known"
            )
        self.position = rev
        self.view[seq] = message
        sent = self.record.sent_at.get(message["clientMessageId"])
        if name == "message_sent" and sent is not None and message["senderId"] != self.member.user_id:
            self.record.deliveries.append((self.record.now(), sent, self.member.conversation_id))

    def note(self, notification: dict[str, Any]) -> None:
        if notification["type"] == "NEW_MESSAGE":
            self.notified = max(self.notified, json.loads(notification["metadata"])["count"])

    async def read_notifications(self) -> None:
        """What was told to nobody while this client was away."""
        for notification in (await self.call("GET", "/notifications"))["data"]:
            self.note(notification)

    async def join(self) -> None:
        data = {"conversationId": self.member.conversation_id, "after": self.position}
        answer = await self.ask("join_conversation", data)
        if answer["event"] == "error":
            raise OSError(answer["data"]["code"])  # not ready: connect again
        if not answer["data"]["complete"]:
            await self.refetch(answer["data"]["lastRev"])

    async def rejoin(self) -> None:
        await self.ask("leave_conversation", {"conversationId": self.member.conversation_id})
        await self.join()

    async def refetch(self, last_rev: int) -> None:
        """Too far behind for a replay: read all of it anew."""
        self.view, more, after = {}, True, 0
        while more:
            path = f"/chat/conversations/{self.member.conversation_id}/messages?peek=true&limit=100&after={after}"
            page = await self.call("GET", path)
            self.view.update({message["seq"]: message for message in page["data"]})
            more, after = page["pageInfo"]["hasMore"], max(self.view, default=0)
        self.position = last_rev
        await self.join()

    async def ask(self, event: str, data: dict[str, Any] | None = None) -> dict[str, Any]:
        self.numbers += 1
        number = self.numbers
        future = self.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await self.ws.send(json.dumps({"event": event, "data": data or {}, "id": number}))
                return await future
        finally:
            self.waiting.pop(number, None)

    # -- speaking ----------------------------------------------------------------------------------------------------

    async def send(self, client_message_id: str, content: str) -> None:
        """Until it is acknowledged, by whichever way is open; always with the same id."""
        self.record.sent_at[client_message_id] = self.record.now()
        data = {"content": content, "clientMessageId": client_message_id}
        while True:
            try:
                if self.live.is_set() and self.chance.random() < 0.6:
                    there = {**data, "conversationId": self.member.conversation_id}
                    answer = await self.ask("send_message", there)
                    if answer["event"] == "error":
                        raise OSError(answer["data"]["code"])
                    message = answer["data"]["message"]
                else:
                    path = f"/chat/conversations/{self.member.conversation_id}/messages"
                    message = (await self.call("POST", path, data))["data"]
                if message["content"] != content or message["clientMessageId"] != client_message_id:
                    self.record.violations.append(f"{client_message_id} was acknowledged as another message")
                self.record.acknowledged[client_message_id] = content
                return
            except FAILURES as error:
                name = (str(error) or type(error).__name__).partition(";")[0]
                self.record.refusals[name] = self.record.refusals.get(name, 0) + 1
                await asyncio.sleep(self.chance.uniform(*BACK_OFF_SECONDS))

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = HTTPRequest(
            f"{self.base}/api/v1{path}", method, {**self.headers, "Content-Type": "application/json"},
            None if body is None else json.dumps(body), request_timeout=ANSWER_SECONDS, connect_timeout=ANSWER_SECONDS,
        )  # fmt: skip
        return json.loads((await self.http.fetch(request)).body)

    def cut(self) -> None:
        if self.ws is not None:
            self.ws.transport.abort()
