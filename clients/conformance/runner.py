"""Run one scenario: clients of both languages chat during faults, then their views are compared with the database."""

import asyncio
import json
import random
import signal
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jwt

from clients.conformance.checks import Findings, check_sent, check_view
from clients.conformance.local import LocalEnvironment
from clients.conformance.program import Program, Refused
from tests.drills.environment import Environment

SCENARIOS = Path(__file__).parent / "scenarios"
LANGUAGES = ("python", "typescript")
CATCH_UP_SECONDS = 90.0  # until all clients have caught up
# Simulates many messages while a client is closed; the counter of the conversation is raised too.
FILL = """
    with added as (
        insert into messages (conversation_id, sender_id, seq, rev, content, message_type)
        select $1, $2, c.last_rev + n, c.last_rev + n, 'filled ' || n, 'TEXT'
        from conversations c, generate_series(1, $3::int) n where c.id = $1 returning seq
    )
    update conversations set last_rev = last_rev + $3, last_seq = last_rev + $3, updated_at = clock_timestamp()
    where id = $1 and (select count(*) from added) > 0
"""
LOCK = "select id from conversations where id = $1 for update"
RENEWALS = "select coalesce(sum(generation - 1), 0) from sessions"
LAST_REV = "select last_rev from conversations where id = $1"


@dataclass
class ChatClient:
    who: str
    user_id: str
    conversation_id: str
    program: Program
    disconnected: bool = False
    in_use: asyncio.Lock = field(default_factory=asyncio.Lock)  # a program is not closed while it sends
    keys: list[str] = field(default_factory=list)  # of confirmed messages that are not deleted
    confirmed: set[str] = field(default_factory=set)


@dataclass
class Result:
    findings: Findings
    counts: Counter[str]
    seconds: float
    errors: list[str]

    @property
    def clean(self) -> bool:
        return self.findings.clean and not self.errors


class Runner:
    def __init__(self, environment: Environment | LocalEnvironment, scenario: dict[str, Any], seed: int) -> None:
        self.environment = environment
        self.scenario = scenario
        self.rng = random.Random(seed)
        self.programs: dict[str, Program] = {}
        self.chat_clients: list[ChatClient] = []
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.faults = sorted(scenario["faults"], key=lambda fault: int(fault["at"]))
        self.running_faults: list[asyncio.Task[None]] = []

    async def run(self) -> Result:
        began = time.monotonic()
        try:
            await self.environment.start()
            self.programs = {language: await Program(language).start() for language in LANGUAGES}
            await self.start_clients()
            await asyncio.gather(*(self.send_messages(chat_client) for chat_client in self.chat_clients))
            await asyncio.gather(*self.running_faults)
            findings = await self.compare()
            return Result(findings, self.counts, time.monotonic() - began, self.errors)
        finally:
            for program in self.programs.values():
                await program.stop()
            await self.environment.stop()

    async def start_clients(self) -> None:
        """Start the clients: in each conversation one uses Python, the other one TypeScript."""
        tokens = self.environment.tokens
        first_token_seconds = self.scenario.get("firstTokenSeconds", self.scenario["tokenSeconds"])
        for number, member in enumerate(await self.environment.add_members(self.scenario["conversations"])):
            claims = jwt.decode(member.token, options={"verify_signature": False})
            pair = {
                "accessToken": tokens.access(member.user_id, claims["role"], claims["sid"], first_token_seconds),
                "refreshToken": tokens.refresh(claims["sid"], 1),
            }
            program = self.programs[LANGUAGES[number % 2]]
            chat_client = ChatClient(
                f"{program.language} {number // 2}", member.user_id, member.conversation_id, program
            )
            await program.ask(
                "open",
                chat_client.who,
                base=self.environment.base(number),
                tokens=pair,
                conversation=member.conversation_id,
            )
            self.chat_clients.append(chat_client)

    # -- sending -----------------------------------------------------------------------------------------------------

    async def send_messages(self, chat_client: ChatClient) -> None:
        number = 0
        while self.counts["messages"] < self.scenario["messages"]:
            self.inject_due_faults()
            async with chat_client.in_use:
                if not chat_client.disconnected:
                    number += 1
                    await self.send_next(chat_client, number)
            await asyncio.sleep(self.rng.uniform(0, 2 * self.scenario["pause"]))

    async def send_next(self, chat_client: ChatClient, number: int) -> None:
        await self.send(chat_client, f"{chat_client.who} {number}")
        try:
            if number % self.scenario["editEvery"] == 0:
                await self.change(chat_client, "edit", text=f"{chat_client.who} {number}, edited")
            if number % self.scenario["deleteEvery"] == 0:
                await self.change(chat_client, "delete")
        except Refused as error:  # the network was down for longer than REST calls are retried
            self.counts[f"changes refused: {str(error).split()[1]}"] += 1

    async def send(self, chat_client: ChatClient, text: str) -> None:
        key = f"{chat_client.who} {len(chat_client.confirmed)} {self.rng.random()}"[:64]
        self.counts["messages"] += 1
        try:
            await chat_client.program.ask("send", chat_client.who, text=text, key=key)
        except Refused as error:
            self.errors.append(str(error))
            return
        chat_client.confirmed.add(key)
        chat_client.keys.append(key)

    async def change(self, chat_client: ChatClient, act: str, **data: str) -> None:
        if not chat_client.keys:
            return
        key = self.rng.choice(chat_client.keys)
        if act == "delete":
            chat_client.keys.remove(key)
        await chat_client.program.ask(act, chat_client.who, key=key, **data)
        self.counts[f"{act}s"] += 1

    # -- faults ------------------------------------------------------------------------------------------------------

    def inject_due_faults(self) -> None:
        while self.faults and self.faults[0]["at"] <= self.counts["messages"]:
            fault = self.faults.pop(0)
            self.counts[f"{fault['do']}s"] += 1
            self.running_faults.append(asyncio.create_task(getattr(self, fault["do"])(fault)))

    async def cut(self, _: dict[str, Any]) -> None:
        for front in self.environment.client_proxies:
            front.cut()

    async def black_hole(self, fault: dict[str, Any]) -> None:
        """Discard all frames, then cut the connections."""
        for front in self.environment.client_proxies:
            front.freeze()
        await asyncio.sleep(fault["seconds"])
        for front in self.environment.client_proxies:
            front.cut()
            front.restore()

    async def delay(self, fault: dict[str, Any]) -> None:
        for front in self.environment.client_proxies:
            front.delay(fault["seconds"])
        await asyncio.sleep(fault["for"])
        for front in self.environment.client_proxies:
            front.restore()

    async def restart(self, fault: dict[str, Any]) -> None:
        await self.environment.restart(fault["instance"])

    async def kill(self, fault: dict[str, Any]) -> None:
        assert isinstance(self.environment, Environment)
        await self.environment.restart(fault["instance"], signal.SIGKILL)

    async def disconnect(self, fault: dict[str, Any]) -> None:
        """Close one client while the other one sends more than a replay contains."""
        pair = self.chat_clients[2 * fault["conversation"] : 2 * fault["conversation"] + 2]
        absent, other = sorted(pair, key=lambda chat_client: chat_client.program.language != fault["language"])
        async with absent.in_use:
            absent.disconnected = True
            await absent.program.ask("disconnect", absent.who)
        if "fill" in fault:
            conn = await self.environment.connect()
            async with conn.transaction():  # the other client may be sending
                await conn.execute(LOCK, absent.conversation_id)
                await conn.execute(FILL, absent.conversation_id, other.user_id, fault["fill"])
            await conn.close()
        for number in range(fault.get("messages", 0)):
            await self.send(other, f"{other.who} continues {number}")
        await absent.program.ask("reconnect", absent.who)
        absent.disconnected = False

    # -- the end -----------------------------------------------------------------------------------------------------

    async def compare(self) -> Findings:
        findings, conn = Findings(), await self.environment.connect()
        try:
            for chat_client in self.chat_clients:
                await self.wait_until_caught_up(conn, chat_client)
                report = await chat_client.program.ask("report", chat_client.who)
                await check_view(conn, chat_client.conversation_id, chat_client.who, report, findings)
                await check_sent(conn, chat_client.conversation_id, chat_client.confirmed, findings)
            self.counts["renewals"] = await conn.fetchval(RENEWALS)
        finally:
            await conn.close()
        return findings

    async def wait_until_caught_up(self, conn: Any, chat_client: ChatClient) -> None:
        """Wait until the client has seen the newest change."""
        last, deadline = await conn.fetchval(LAST_REV, chat_client.conversation_id), time.monotonic() + CATCH_UP_SECONDS
        while (state := await chat_client.program.ask("state", chat_client.who))["rev"] < last:
            if state["state"] == "ended" or time.monotonic() > deadline:
                self.errors.append(f"{chat_client.who} has not caught up: {state}, not rev {last}")
                return
            await asyncio.sleep(0.1)


def load(name: str) -> dict[str, Any]:
    scenario: dict[str, Any] = json.loads((SCENARIOS / f"{name}.json").read_text())
    return scenario
