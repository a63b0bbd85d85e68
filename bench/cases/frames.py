"""Frames: CPU of a message that is sent by socket, and of its delivery to 1,000 sockets."""

import json
from collections.abc import AsyncIterator
from typing import Any

from bench.data import TEXT
from bench.results import Result, at_least
from bench.setup.environment import Environment
from bench.setup.machine import Meter
from bench.setup.processes import ClientProcess, Measured

SEND, FAN_OUT = NAMES = ("send by socket", "fan-out to 1,000 sockets")
SENDERS = 16  # concurrent ones
SOCKETS = 1_000  # half of them of each user of a conversation
MESSAGES = 20  # in a round of the fan-out
FRAMES = SOCKETS + SOCKETS // 2 + 1  # the message, the receiver's notification, the answer


def send(conversation_id: str, sender_id: str, to_all: bool) -> str:
    """Return a frame for both servers; ours ignores the fields that it does not know."""
    data = {"conversationId": conversation_id, "senderId": sender_id, "content": TEXT, "toAll": to_all}
    return json.dumps({"event": "send_message", "data": data, "id": 7})


class FrameBench:
    def __init__(self, environment: Environment, client: ClientProcess) -> None:
        self.environment, self.client, self.rounds = environment, client, environment.size.rounds
        self.each = environment.size.messages // SENDERS  # messages of each sender in a round
        floor = environment.start_floor("sockets", environment.urls.database_url)
        self.sides = [("ours", environment.start_server(SOCKETS_PER_USER=str(SOCKETS))), ("floor", floor)]

    async def order(self, do: str, group: str, server: Measured, **more: object) -> int:
        answer = await self.client.order(do=do, group=group, port=server.port, **more)
        if answer["lost"]:
            raise SystemExit(f"{group}: {answer['lost']} sockets were closed")
        frames: int = answer["frames"]
        return frames

    async def run(self, name: str, unit: str, target: float, people: list[Any], to_all: bool) -> Result:
        file = self.environment.folder / f"{name}.json"
        file.write_text(json.dumps(people))
        result = Result(name, unit, at_least(target))
        for group, server in self.sides:
            await self.order("open", group, server, file=str(file), count=len(people))
            await self.order("ask", group, server, file=str(file), count=len(people), frames="join")
        for number in range(self.rounds + 1):  # the first one warms
            for group, server in self.sides if number % 2 == 0 else reversed(self.sides):
                before = await self.order("count", group, server)
                with Meter(server.pid) as meter:
                    senders = 1 if to_all else len(people)
                    await self.order("ask", group, server, file=str(file), count=senders, frames="send", atOnce=senders)
                    if to_all:
                        await self.order("frames", group, server, count=before + MESSAGES * FRAMES)
                if number:
                    figures = result.ours if group == "ours" else result.floor
                    figures.append(meter.seconds / (MESSAGES * FRAMES / 1e6 if to_all else self.each * SENDERS / 1e3))
        for group, server in self.sides:
            await self.order("abort", group, server)
        return result


async def measure(environment: Environment, wanted: set[str]) -> AsyncIterator[Result]:
    bench = FrameBench(environment, await environment.start_client("sockets"))
    if SEND in wanted:
        people = [
            {"token": p.token, "frames": {"join": [], "send": [send(p.conversations[0], p.id, False)] * bench.each}}
            for p in environment.socket_people[:SENDERS]
        ]
        yield await bench.run(SEND, "ms", 0.5, people, False)
    if FAN_OUT in wanted:
        pair = environment.pairs[1]
        join = json.dumps({"event": "join_conversation", "data": {"conversationId": pair.conversation_id}, "id": 7})
        messages = [send(pair.conversation_id, pair.influencer.id, True)] * MESSAGES
        people = [
            {"token": person.token, "frames": {"join": [join], "send": messages}}
            for person in (pair.influencer, pair.salon) * (SOCKETS // 2)
        ]
        yield await bench.run(FAN_OUT, "µs a frame", 0.7, people, True)
