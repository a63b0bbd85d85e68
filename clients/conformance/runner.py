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
from clients.conformance.program import Program, Refused
from services.security.tokens import Tokens
from settings import load_settings
from tests.drills.stage import Stage

SCENARIOS = Path(__file__).parent / "scenarios"
LANGUAGES = ("python", "typescript")
SETTLE_SECONDS = 90.0  # until all clients have caught up
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
LAST_REV = "select last_rev from conversations where id = $1"


@dataclass
class Talker:
    who: str
    user_id: str
    conversation_id: str
    program: Program
    asleep: bool = False
    busy: asyncio.Lock = field(default_factory=asyncio.Lock)  # a program is not closed while it sends
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
    def __init__(self, folder: Path, scenario: dict[str, Any], seed: int) -> None:
        self.scenario = scenario
        self.chance = random.Random(seed)
        self.stage = Stage(folder, ACCESS_TOKEN_EXPIRES_IN=f"{scenario['tokenSeconds']}s")
        self.programs: dict[str, Program] = {}
        self.talkers: list[Talker] = []
        self.counts: Counter[str] = Counter()
        self.errors: list[str] = []
        self.faults = sorted(scenario["faults"], key=lambda fault: int(fault["at"]))
        self.striking: list[asyncio.Task[None]] = []

    async def run(self) -> Result:
        began = time.monotonic()
        try:
            await self.stage.set()
            self.programs = {language: await Program(language).start() for language in LANGUAGES}
            await self.seat()
            await asyncio.gather(*(self.talk(talker) for talker in self.talkers))
            await asyncio.gather(*self.striking)
            findings = await self.compare()
            return Result(findings, self.counts, time.monotonic() - began, self.errors)
        finally:
            for program in self.programs.values():
                await program.stop()
            await self.stage.strike()

    async def seat(self) -> None:
        """Start the clients: in each conversation one uses Python, the other one TypeScript."""
        keys = {name.lower(): value for name, value in self.stage.secrets.items()}
        tokens = Tokens(load_settings(data_dir=self.stage.folder / "data", **keys))
        for number, member in enumerate(await self.stage.people(self.scenario["conversations"])):
            claims = jwt.decode(member.token, options={"verify_signature": False})
            pair = {
                "accessToken": tokens.access(
                    member.user_id, claims["role"], claims["sid"], int(self.scenario["tokenSeconds"])
                ),
                "refreshToken": tokens.refresh(claims["sid"], 1),
            }
            program = self.programs[LANGUAGES[number % 2]]
            talker = Talker(f"{program.language} {number // 2}", member.user_id, member.conversation_id, program)
            await program.ask(
                "open", talker.who, base=self.stage.base(number), tokens=pair, conversation=member.conversation_id
            )
            self.talkers.append(talker)

    # -- talking -----------------------------------------------------------------------------------------------------

    async def talk(self, talker: Talker) -> None:
        number = 0
        while self.counts["messages"] < self.scenario["messages"]:
            self.strike_what_is_due()
            async with talker.busy:
                if not talker.asleep:
                    number += 1
                    await self.say(talker, number)
            await asyncio.sleep(self.chance.uniform(0, 2 * self.scenario["pause"]))

    async def say(self, talker: Talker, number: int) -> None:
        await self.send(talker, f"{talker.who} {number}")
        try:
            if number % self.scenario["editEvery"] == 0:
                await self.change(talker, "edit", text=f"{talker.who} {number}, edited")
            if number % self.scenario["deleteEvery"] == 0:
                await self.change(talker, "delete")
        except Refused as error:  # the network was down for longer than REST calls are retried
            self.counts[f"changes refused: {str(error).split()[1]}"] += 1

    async def send(self, talker: Talker, text: str) -> None:
        key = f"{talker.who} {len(talker.confirmed)} {self.chance.random()}"[:64]
        self.counts["messages"] += 1
        try:
            await talker.program.ask("send", talker.who, text=text, key=key)
        except Refused as error:
            self.errors.append(str(error))
            return
        talker.confirmed.add(key)
        talker.keys.append(key)

    async def change(self, talker: Talker, act: str, **data: str) -> None:
        if not talker.keys:
            return
        key = self.chance.choice(talker.keys)
        if act == "delete":
            talker.keys.remove(key)
        await talker.program.ask(act, talker.who, key=key, **data)
        self.counts[f"{act}s"] += 1

    # -- faults ------------------------------------------------------------------------------------------------------

    def strike_what_is_due(self) -> None:
        while self.faults and self.faults[0]["at"] <= self.counts["messages"]:
            fault = self.faults.pop(0)
            self.counts[f"{fault['do']}s"] += 1
            self.striking.append(asyncio.create_task(getattr(self, fault["do"])(fault)))

    async def cut(self, _: dict[str, Any]) -> None:
        for front in self.stage.fronts:
            front.cut()

    async def swallow(self, fault: dict[str, Any]) -> None:
        """Discard all frames, then cut the connections."""
        for front in self.stage.fronts:
            front.hold()
        await asyncio.sleep(fault["seconds"])
        for front in self.stage.fronts:
            front.cut()
            front.heal()

    async def delay(self, fault: dict[str, Any]) -> None:
        for front in self.stage.fronts:
            front.delay(fault["seconds"])
        await asyncio.sleep(fault["for"])
        for front in self.stage.fronts:
            front.heal()

    async def restart(self, fault: dict[str, Any], number: int = signal.SIGTERM) -> None:
        """Stop an instance; the stage starts it again."""
        assert self.stage.cluster
        instance = self.stage.cluster.instances[fault["instance"]]
        instance.signal(number)
        await asyncio.to_thread(instance.wait)
        while not instance.alive:
            await asyncio.sleep(0.1)
        await asyncio.to_thread(instance.wait_ready)

    async def kill(self, fault: dict[str, Any]) -> None:
        await self.restart(fault, signal.SIGKILL)

    async def sleep(self, fault: dict[str, Any]) -> None:
        """Close one person's program while the other one sends more than a replay contains."""
        pair = self.talkers[2 * fault["conversation"] : 2 * fault["conversation"] + 2]
        sleeper, other = sorted(pair, key=lambda talker: talker.program.language != fault["language"])
        async with sleeper.busy:
            sleeper.asleep = True
            await sleeper.program.ask("sleep", sleeper.who)
        if "fill" in fault:
            conn = await self.stage.connect()
            async with conn.transaction():  # the other one may be sending
                await conn.execute(LOCK, sleeper.conversation_id)
                await conn.execute(FILL, sleeper.conversation_id, other.user_id, fault["fill"])
            await conn.close()
        for number in range(fault.get("messages", 0)):
            await self.send(other, f"{other.who} sleeps not {number}")
        await sleeper.program.ask("wake", sleeper.who)
        sleeper.asleep = False

    # -- the end -----------------------------------------------------------------------------------------------------

    async def compare(self) -> Findings:
        findings, conn = Findings(), await self.stage.connect()
        try:
            for talker in self.talkers:
                await self.settle(conn, talker)
                report = await talker.program.ask("report", talker.who)
                await check_view(conn, talker.conversation_id, talker.who, report, findings)
                await check_sent(conn, talker.conversation_id, talker.confirmed, findings)
        finally:
            await conn.close()
        return findings

    async def settle(self, conn: Any, talker: Talker) -> None:
        """Wait until the client has seen the newest change."""
        last, deadline = await conn.fetchval(LAST_REV, talker.conversation_id), time.monotonic() + SETTLE_SECONDS
        while (state := await talker.program.ask("state", talker.who))["rev"] < last:
            if state["state"] == "ended" or time.monotonic() > deadline:
                self.errors.append(f"{talker.who} has not caught up: {state}, not rev {last}")
                return
            await asyncio.sleep(0.1)


def load(name: str) -> dict[str, Any]:
    scenario: dict[str, Any] = json.loads((SCENARIOS / f"{name}.json").read_text())
    return scenario
