"""The faults that a drill injects; each begins, lasts for a while and ends."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from tests.drills.clients import Client
from tests.drills.proxy import TcpProxy
from tests.drills.stage import Stage

Fault = Callable[[Stage, list[Client], random.Random], AbstractAsyncContextManager[str]]
FAULTS: dict[str, Fault] = {}


def fault(make: Callable[[Stage, list[Client], random.Random], AsyncIterator[str]]) -> Fault:
    made = asynccontextmanager(make)
    FAULTS[make.__name__.replace("_", " ")] = made
    return made


@fault
async def kill_an_instance(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    assert stage.cluster
    instance = chance.choice(stage.cluster.instances)
    instance.signal(signal.SIGKILL)
    yield f"instance {instance.number}, kill -9"
    await asyncio.to_thread(instance.wait_ready)


@fault
async def restart_an_instance(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    assert stage.cluster
    instance = chance.choice(stage.cluster.instances)
    old = instance.process
    instance.signal(signal.SIGTERM)
    yield f"instance {instance.number}, SIGTERM"
    while instance.process is old:
        await asyncio.sleep(0.1)
    await asyncio.to_thread(instance.wait_ready)


@fault
async def freeze_an_instance(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    assert stage.cluster
    instance = chance.choice(stage.cluster.instances)
    instance.signal(signal.SIGSTOP)
    yield f"instance {instance.number}, SIGSTOP"
    instance.signal(signal.SIGCONT)


@fault
async def kill_Redis(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    os.kill(stage.redis_pid(), signal.SIGKILL)
    yield "kill -9"
    await asyncio.to_thread(stage.start_redis)


@fault
async def freeze_Redis(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    pid = stage.redis_pid()
    os.kill(pid, signal.SIGSTOP)
    yield "SIGSTOP"
    os.kill(pid, signal.SIGCONT)


@fault
async def kill_PostgreSQL(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    await asyncio.to_thread(stage.kill_postgres)
    yield "kill -9"
    await asyncio.to_thread(stage.start_postgres)


@fault
async def freeze_PostgreSQL(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    pids = stage.signal_postgres(signal.SIGSTOP)
    yield "SIGSTOP"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@fault
async def cut_clients(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    cut = chance.sample(clients, len(clients) // 2)
    for client in cut:
        client.cut()
    yield f"{len(cut)} sockets reset"


@dataclass(frozen=True)
class Line:
    """A path of connections, with one proxy per instance, or per third of the clients."""

    name: str
    proxies: Callable[[Stage], list[TcpProxy]]
    of: str
    delay_seconds: float


LINES = [
    Line("Redis", lambda stage: stage.redises, "instance", 0.2),
    Line("PostgreSQL", lambda stage: stage.databases, "instance", 0.1),
    Line("clients", lambda stage: stage.fronts, "third", 0.3),
]


def disturb(line: Line, act: Callable[[TcpProxy], None], told: str) -> Fault:
    """Disturb one of the line's proxies, or all."""

    @asynccontextmanager
    async def disturbed(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
        proxies = line.proxies(stage)
        number = chance.randrange(len(proxies) + 1)
        chosen, who = (
            (proxies, "everybody") if number == len(proxies) else ([proxies[number]], f"{line.of} {number + 1}")
        )
        for proxy in chosen:
            act(proxy)
        yield f"{told} {who}"
        for proxy in chosen:
            proxy.heal()

    return disturbed


for line in LINES:
    FAULTS[f"lose {line.name}"] = disturb(line, TcpProxy.hold, "black hole for")
    delay = partial(TcpProxy.delay, seconds=line.delay_seconds)
    FAULTS[f"delay {line.name}"] = disturb(line, delay, f"{line.delay_seconds} s later for")
    if line.name != "clients":  # some clients are cut off by another fault
        FAULTS[f"cut {line.name}"] = disturb(line, TcpProxy.cut, "resets for")
