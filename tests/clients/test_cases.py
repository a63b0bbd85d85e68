"""The cases of cases.json, which describe what both clients do when sockets close, answers fail or time passes."""

import asyncio
import json
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from encer import EncerError, NotSignedIn
from tests.clients.fakes import FakeServer, message, page, run_virtually, settle, token_of
from tests.clients.helpers import loaded
from tools.node.packages import run_node

FOLDER = Path(__file__).parent
CASES = json.loads((FOLDER / "cases.json").read_text())
NODE_SECONDS = 120.0
CASE_MS = 60_000  # a case that hangs fails with its name, and leaves no process behind
SHOWN: dict[str, Any] = {
    "message": lambda data: [data["seq"], data["rev"]],
    "edited": lambda data: [data["seq"], data["rev"]],
    "deleted": lambda data: [data["seq"], data["rev"]],
    "gap": lambda data: [data["after"], data["before"]],
    "typing": lambda data: [data["typing"]],
    "read": lambda data: [data["seq"]],
    "closed": lambda _: [],
    "error": lambda error: [error.code],
}


COMMON = {"conversationId": "c", "messageType": "TEXT", "fileUrl": None}


def test_the_typescript_client():
    tested = run_node("--test", f"--test-timeout={CASE_MS}", FOLDER / "cases.mjs", seconds=NODE_SECONDS)
    assert tested.returncode == 0, tested.stdout + tested.stderr
    assert f"pass {len(CASES)}\n" in tested.stdout


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_the_python_client(case, monkeypatch):
    async def run() -> None:
        await Case(case, monkeypatch).run(case["steps"])

    run_virtually(run)


def pages(lists: list[Any]) -> list[Any]:
    return [
        page([message(**fields) for fields in messages], number < len(lists) - 1)
        for number, messages in enumerate(lists)
    ]


def frame_data(name: str, data: dict[str, Any]) -> dict[str, Any]:
    if name in ("message_sent", "message_edited"):
        return message(**data)
    return {"conversationId": "c", "messageId": f"m{data.get('seq')}", **data}


class Store:
    def __init__(self, items: list[Any], failures: int) -> None:
        self.items = [
            {"userId": item[0], "content": item[1], "queuedAt": number, "clientMessageId": f"stored {number}", **COMMON}
            if isinstance(item, list)
            else item
            for number, item in enumerate(items)
        ]
        self.failures = failures

    def fail(self) -> None:
        self.failures -= 1
        if self.failures >= 0:
            raise OSError("The store fails, as the case says.")

    def load(self) -> list[Any]:
        self.fail()
        return [*self.items]

    def add(self, unsent: Any) -> None:
        self.fail()
        self.items.append(unsent)

    def remove(self, unsent: Any) -> None:
        self.fail()
        self.items = [
            item
            for item in self.items
            if not isinstance(item, dict) or item.get("clientMessageId") != unsent["clientMessageId"]
        ]


class Case:
    def __init__(self, case: dict[str, Any], monkeypatch: Any) -> None:
        self.server = server = FakeServer(monkeypatch)
        server.pages = pages(case.get("first", []))
        server.held = asyncio.Event() if case.get("hold") else None
        self.log: list[list[Any]] = []
        self.sends: list[asyncio.Task[Any]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        server.heartbeat_ms = case.get("heartbeatMs", server.heartbeat_ms)
        self.store = Store(case.get("store", []), case.get("storeFails", 0))
        options: dict[str, Any] = {"send_seconds": case["sendMs"] / 1000} if "sendMs" in case else {}
        if "store" in case:
            options["outbox"] = self.store
        self.encer = server.client(case.get("expired", False), case.get("tokens"), case.get("expiresAt"), **options)
        self.starts = not case.get("offline")
        if case.get("offline"):
            server.refused = 1006
        self.join_on, self.connect_on, self.after = case.get("joinOn"), case.get("connectOn"), case.get("after", 0)
        if self.join_on is None:
            self.join(self.after)
        self.encer.on("state", self.follow)
        self.encer.on("sent", partial(self.note, "sent", lambda stored: [stored["content"]]))
        self.encer.on("failed", partial(self.note, "failed", lambda failed: [failed["error"].code]))

    def note(self, name: str, shown: Any, data: Any) -> None:
        self.log.append([name, *shown(data)])

    def follow(self, state: str) -> None:
        if state == self.join_on:
            self.join(self.after)
        if state == self.connect_on:
            self.encer.connect()

    def join(self, after: int | None) -> None:
        self.chat = self.encer.conversation("c", after=after)
        for name, shown in SHOWN.items():
            self.chat.on(name, partial(self.note, name, shown))

    async def run(self, steps: list[dict[str, Any]]) -> None:
        if self.starts:
            with suppress(NotSignedIn):
                await self.encer.live()
        await settle()
        for step in steps:
            act = next(iter(step))
            await getattr(self, f"step_{act}")(**{"value": step[act], **{k: v for k, v in step.items() if k != act}})
            await settle()
        await self.encer.close()
        await asyncio.gather(*self.sends, *self.tasks, return_exceptions=True)

    async def step_frames(self, value: list[Any]) -> None:
        for name, data in value:
            self.server.socket.emit(name, data if name == "going_away" else frame_data(name, data))

    async def step_close(self, value: int) -> None:
        self.server.socket.end(value)

    async def step_pass(self, value: int) -> None:
        await asyncio.sleep(value / 1000)

    async def step_lastRev(self, value: int) -> None:
        self.server.last_rev = value

    async def step_answers(self, value: dict[str, Any]) -> None:
        self.server.queued.update({name: [*answers] for name, answers in value.items()})

    async def step_always(self, value: dict[str, Any]) -> None:
        self.server.always.update(value)

    async def step_pages(self, value: list[Any]) -> None:
        self.server.pages = pages(value)

    async def step_release(self, value: bool) -> None:
        held = self.server.held or self.server.refresh_held
        assert held
        held.set()

    async def step_do(self, value: str) -> None:
        if value == "leave":
            self.tasks.append(asyncio.create_task(self.chat.leave()))
        else:
            getattr(self.chat, value)()

    async def step_rejoin(self, value: int | None) -> None:
        self.tasks.append(asyncio.create_task(self.chat.leave()))
        await asyncio.sleep(0)
        self.join(value)

    async def step_text(self, value: str) -> None:
        self.server.socket.incoming.put_nowait(value)

    async def step_firstFrame(self, value: str | None) -> None:
        self.server.first_frame = value

    async def step_ready(self, value: str) -> None:
        self.server.ready(self.server.socket, value)

    async def step_drop(self, value: int) -> None:
        self.server.drop = value

    async def step_wake(self, value: bool) -> None:
        self.encer.wake()

    async def step_answerAll(self, value: Any) -> None:
        self.server.answer_all = value

    async def step_try(self, value: str) -> None:
        calls: dict[str, Any] = {"signIn": self.encer.sign_in, "history": self.chat.history, "edit": self.chat.edit}
        arguments: Any = () if value == "history" else ("one", "other")
        self.sends.append(asyncio.create_task(calls[value](*arguments)))

    async def step_refuse(self, value: int) -> None:
        self.server.refused = value

    async def step_version(self, value: str) -> None:
        self.server.version = value

    async def step_rest(self, value: tuple[int, Any]) -> None:
        self.server.rest_answer = value

    async def step_holdRefresh(self, value: bool) -> None:
        self.server.refresh_held = asyncio.Event()

    async def step_send(self, value: str, id: str | None = None, times: int = 1) -> None:
        self.sends.append(asyncio.create_task(self.chat.send(value * times, client_message_id=id)))

    async def step_call(self, value: str, ms: int = 10_000) -> None:
        self.sends.append(asyncio.create_task(self.encer.call(value, "/profile/me", seconds=ms / 1000)))

    async def step_listing(self, value: tuple[int, Any]) -> None:
        self.server.listing = value

    async def step_rows(self, value: list[Any]) -> None:
        self.server.pages = [page(value)]

    async def step_user(self, value: str) -> None:
        self.server.user = value

    async def step_connect(self, value: bool) -> None:
        self.encer.connect()

    async def step_end(self, value: bool) -> None:
        await self.encer.close()

    async def step_signIn(self, value: str) -> None:
        self.server.user = value
        await self.encer.sign_in(value, "password")

    async def step_signOut(self, value: bool) -> None:
        self.tasks.append(asyncio.create_task(self.encer.sign_out()))

    async def step_cancel(self, value: int) -> None:
        self.sends[value].cancel()

    async def step_expect(self, value: dict[str, Any]) -> None:
        for what, expected in value.items():
            if what == "commands":
                for name, (least, most) in expected.items():
                    assert least <= len(self.server.commands(name)) <= most, name
            else:
                assert self.found(what, expected) == expected, what

    def found(self, what: str, expected: Any) -> Any:
        match what:
            case "log":
                names = {name for name, *_ in expected} | SHOWN.keys()
                return [line for line in self.log if line[0] in names]
            case "events":
                return len(self.log)
            case "sends":
                return [self.outcome(send) for send in self.sends]
            case "outcomes":
                return [type(error).__name__ if (error := send.exception()) else "stored" for send in self.sends]
            case "store":
                return [[item["userId"], item["content"]] for item in self.store.items]
            case "calls":
                return self.server.calls
            case "access":
                access = loaded(self.encer.rest.session.store)["accessToken"]
                return next(number for number in range(3) if token_of(number) == access)
            case "refreshToken":
                return loaded(self.encer.rest.session.store)["refreshToken"]
            case "closed":
                return self.server.socket.close_code is not None
            case "state":
                return self.encer.state
            case "error":
                return self.encer.error.code if self.encer.error else None
            case "sockets":
                return len(self.server.sockets)
            case "refreshes":
                return self.server.refreshes
            case "conversations":
                return len(self.encer.conversations)
            case "rev":
                return self.chat.rev
            case "fetched":
                return [query.get("after") for query in self.server.queries]
            case _:
                name, _, field = what.partition(".")
                return [data.get(field) for data in self.server.commands(name)]

    def outcome(self, send: asyncio.Task[Any]) -> str | None:
        if not send.done():
            return None
        if send.cancelled():
            return "!cancelled"
        error = send.exception()
        if error is None:
            return str(send.result()["content"])
        assert isinstance(error, EncerError), error
        return f"!{error.code}"
