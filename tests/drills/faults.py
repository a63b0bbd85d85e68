"""What can go wrong, each as: begin, hold for a while, heal."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress

from tests.drills.clients import Client
from tests.drills.proxy import TcpProxy
from tests.drills.stage import Stage

Fault = Callable[[Stage, list[Client], random.Random], AbstractAsyncContextManager[str]]
FAULTS: dict[str, Fault] = {}


def fault(make: Callable[[Stage, list[Client], random.Random], AsyncIterator[str]]) -> Fault:
    made = asynccontextmanager(make)
    FAULTS[make.__name__.replace("_", " ")] = made
    return made


def proxies_of(proxies: list[TcpProxy], chance: random.Random, one: str = "instance") -> tuple[list[TcpProxy], str]:
    """One instance's, or everybody's."""
    number = chance.randrange(len(proxies) + 1)
    return (proxies, "everybody") if number == len(proxies) else ([proxies[number]], f"{one} {number + 1}")


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
async def cut_Redis(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.redises, chance)
    for proxy in proxies:
        proxy.cut()
    yield f"connections of {who} reset"


@fault
async def lose_Redis(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.redises, chance)
    for proxy in proxies:
        proxy.hold()
    yield f"black hole for {who}"
    for proxy in proxies:
        proxy.heal()


@fault
async def delay_Redis(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.redises, chance)
    for proxy in proxies:
        proxy.delay_seconds = 0.2
    yield f"0.2 s later for {who}"
    for proxy in proxies:
        proxy.heal()


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
async def cut_PostgreSQL(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.databases, chance)
    for proxy in proxies:
        proxy.cut()
    yield f"connections of {who} reset"


@fault
async def lose_PostgreSQL(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.databases, chance)
    for proxy in proxies:
        proxy.hold()
    yield f"black hole for {who}"
    for proxy in proxies:
        proxy.heal()


@fault
async def delay_PostgreSQL(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.databases, chance)
    for proxy in proxies:
        proxy.delay_seconds = 0.1
    yield f"0.1 s later for {who}"
    for proxy in proxies:
        proxy.heal()


@fault
async def lose_clients(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.fronts, chance, "third")
    for proxy in proxies:
        proxy.hold()
    yield f"black hole for {who}"
    for proxy in proxies:
        proxy.heal()


@fault
async def delay_clients(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    proxies, who = proxies_of(stage.fronts, chance, "third")
    for proxy in proxies:
        proxy.delay_seconds = 0.3
    yield f"0.3 s later for {who}"
    for proxy in proxies:
        proxy.heal()


@fault
async def cut_clients(stage: Stage, clients: list[Client], chance: random.Random) -> AsyncIterator[str]:
    cut = chance.sample(clients, len(clients) // 2)
    for client in cut:
        client.cut()
    yield f"{len(cut)} sockets reset"
