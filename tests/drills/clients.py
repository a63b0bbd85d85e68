"""A client that reconnects, joins with its last rev, and fetches what a join does not replay."""

import asyncio
import json
import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import websockets
from tornado.httpclient import AsyncHTTPClient, HTTPClientError, HTTPRequest

from db.schemas.shapes import DELETED_MESSAGE

ANSWER_SECONDS = 5.0
HEARTBEAT_SECONDS = 2.0
BACK_OFF_SECONDS = (0.1, 0.6)
FAILURES = (OSError, TimeoutError, websockets.WebSocketException, HTTPClientError)


@dataclass
class Record:
    """What all clients sent and received, with times in seconds since the start."""

    began: float = field(default_factory=time.monotonic)
    sent_at: dict[str, float] = field(default_factory=dict)  # clientMessageId -> first attempt
    acknowledged: dict[str, str] = field(default_factory=dict)  # clientMessageId -> its content, as it was changed last
    changes_tried: Counter[str] = field(default_factory=Counter)  # edits and deletions, by conversation
    changes_acknowledged: Counter[str] = field(default_factory=Counter)
    readings: int = 0
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
    def __init__(self, base: str, member: Member, record: Record, http: AsyncHTTPClient, rng: random.Random) -> None:
        self.base = base
        self.member = member
        self.record = record
        self.http = http
        self.rng = rng
        self.position = 0  # the last rev that this client has received
        self.view: dict[int, dict[str, Any]] = {}  # seq -> the message as this client sees it
        self.unread_notices: dict[str, int] = {}  # unread notification -> how many messages it counts
        self.open_fetches: list[
            set[str]
        ] = []  # for each list that is being fetched: notifications that changed meanwhile
        self.partner_has_read = 0  # up to this seq, as far as this client knows
        self.mine: dict[str, str] = {}  # clientMessageId -> id, of what was sent and not deleted
        self.unedited: list[str] = []  # clientMessageIds of those
        self.has_read = 0
        self.live = asyncio.Event()
        self.fetches: set[asyncio.Task[None]] = set()
        self.ws: Any = None
        self.waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.numbers = 0
        self.headers = {"Authorization": f"Bearer {member.token}"}
        self.where = f"{member.user_id[:8]} in {member.conversation_id[:8]}"

    @property
    def notified(self) -> int:
        """Return the number of unread messages that the received notifications count."""
        return sum(self.unread_notices.values())

    # -- receiving ---------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        while True:
            with suppress(*FAILURES):
                await self.run_socket()
            self.live.clear()
            for future in self.waiting.values():
                if not future.done():
                    future.set_exception(OSError("the socket is closed"))
            self.waiting.clear()
            self.record.reconnects.append(self.record.now())
            await asyncio.sleep(self.rng.uniform(*BACK_OFF_SECONDS))

    async def run_socket(self) -> None:
        url = self.base.replace("http", "ws") + "/ws"
        async with asyncio.timeout(ANSWER_SECONDS):
            self.ws = await websockets.connect(
                url,
                additional_headers=self.headers,
                compression=None,
                proxy=None,
                ping_interval=None,
                open_timeout=ANSWER_SECONDS,
                close_timeout=0.2,
                max_size=None,
            )
        reading = asyncio.create_task(self.read())
        try:
            await self.join()
            await self.fetch_missed()
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
            elif name in ("message_sent", "message_edited", "message_deleted"):
                self.apply_change(name, data)
            elif name == "message_read" and data["userId"] == self.member.partner_id:
                self.partner_has_read = max(self.partner_has_read, data["seq"])
            elif name in ("notification_received", "notification_updated"):
                self.apply_notification(data["notification"])
            elif name in ("notification_read", "notification_deleted"):
                self.remove_notification(data["notificationId"])
            elif name == "resync":
                fetch = asyncio.ensure_future(self.rejoin() if "conversationId" in data else self.fetch_missed())
                self.fetches.add(fetch)
                fetch.add_done_callback(self.fetch_ended)

    def fetch_ended(self, task: asyncio.Task[None]) -> None:
        """Reconnect if the fetch after a resync failed, because a new connection fetches everything."""
        self.fetches.discard(task)
        if not task.cancelled() and task.exception():
            self.cut()

    def apply_change(self, name: str, message: dict[str, Any]) -> None:
        seq, rev = message["seq"], message["rev"]
        if rev <= self.position:
            self.record.violations.append(f"{self.where}: rev {rev} delivered again after {self.position}")
        if (name == "message_sent") == (seq in self.view):
            self.record.violations.append(
                f"{self.where}: {name} of seq {seq}, which is {'' if seq in self.view else 'not '}known"
            )
        self.position = rev
        if name == "message_deleted":
            if seq not in self.view:
                return
            message = {**self.view[seq], "content": DELETED_MESSAGE, "isDeleted": True, "rev": rev}
        self.view[seq] = message
        sent = self.record.sent_at.get(message["clientMessageId"]) if name == "message_sent" else None
        if sent is not None and message["senderId"] != self.member.user_id:
            self.record.deliveries.append((self.record.now(), sent, self.member.conversation_id))

    def apply_notification(self, notification: dict[str, Any]) -> None:
        self.remove_notification(notification["id"])
        if notification["type"] == "NEW_MESSAGE" and not notification["isRead"]:
            self.unread_notices[notification["id"]] = json.loads(notification["metadata"])["count"]

    def remove_notification(self, notification_id: str) -> None:
        self.unread_notices.pop(notification_id, None)
        for changed in self.open_fetches:
            changed.add(notification_id)

    async def fetch_missed(self) -> None:
        """Fetch the notifications and read marks that changed without a socket; no join replays them."""
        changed: set[str] = set()
        self.open_fetches.append(changed)
        try:
            listed = (await self.call("GET", "/notifications?limit=100"))["data"]
        finally:
            self.open_fetches.remove(changed)
        present = {notification["id"]: notification for notification in listed}
        for notification_id in (present.keys() | self.unread_notices.keys()) - changed:
            self.remove_notification(notification_id)
            if notification_id in present:
                self.apply_notification(present[notification_id])
        for conversation in (await self.call("GET", "/chat/conversations"))["data"]:
            for participant in conversation["participants"]:
                if participant["userId"] == self.member.partner_id:
                    self.partner_has_read = max(self.partner_has_read, participant["lastReadSeq"])

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
        """Fetch the whole conversation, because it is too far behind for a replay."""
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
                value: dict[str, Any] = await future
                return value
        finally:
            self.waiting.pop(number, None)

    # -- sending, for acts.py -----------------------------------------------------------------------------------

    async def command(self, event: str, data: dict[str, Any]) -> dict[str, Any]:
        """Send a command. Raises OSError for an error answer."""
        answer = await self.ask(event, data)
        if answer["event"] == "error":
            raise OSError(answer["data"]["code"])
        value: dict[str, Any] = answer["data"]
        return value

    async def call(self, method: str, path: str, body: Any = None) -> dict[str, Any]:
        request = HTTPRequest(
            f"{self.base}/api/v1{path}",
            method,
            {**self.headers, "Content-Type": "application/json"},
            None if body is None else json.dumps(body),
            request_timeout=ANSWER_SECONDS,
            connect_timeout=ANSWER_SECONDS,
            allow_nonstandard_methods=True,
        )
        value: dict[str, Any] = json.loads((await self.http.fetch(request)).body)
        return value

    def cut(self) -> None:
        if self.ws is not None:
            self.ws.transport.abort()
