"""The faults that a drill injects. Each is a context manager: the fault lasts while it is open."""

import asyncio
import os
import random
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial

from tests.drills.clients import Client
from tests.drills.environment import Environment
from tests.drills.proxy import TcpProxy

Fault = Callable[[Environment, list[Client], random.Random], AbstractAsyncContextManager[str]]
FAULTS: dict[str, Fault] = {}


def fault(make: Callable[[Environment, list[Client], random.Random], AsyncIterator[str]]) -> Fault:
    made = asynccontextmanager(make)
    FAULTS[make.__name__.replace("_", " ")] = made
    return made


@fault
async def kill_an_instance(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    assert environment.cluster
    instance = rng.choice(environment.cluster.instances)
    instance.signal(signal.SIGKILL)
    yield f"instance {instance.number}, kill -9"
    await asyncio.to_thread(instance.wait_ready)


@fault
async def restart_an_instance(
    environment: Environment, clients: list[Client], rng: random.Random
) -> AsyncIterator[str]:
    assert environment.cluster
    instance = rng.choice(environment.cluster.instances)
    old = instance.process
    instance.signal(signal.SIGTERM)
    yield f"instance {instance.number}, SIGTERM"
    while instance.process is old:
        await asyncio.sleep(0.1)
    await asyncio.to_thread(instance.wait_ready)


@fault
async def freeze_an_instance(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    assert environment.cluster
    instance = rng.choice(environment.cluster.instances)
    instance.signal(signal.SIGSTOP)
    yield f"instance {instance.number}, SIGSTOP"
    instance.signal(signal.SIGCONT)


@fault
async def kill_Redis(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    os.kill(environment.redis_pid(), signal.SIGKILL)
    yield "kill -9"
    await asyncio.to_thread(environment.start_redis)


@fault
async def freeze_Redis(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    pid = environment.redis_pid()
    os.kill(pid, signal.SIGSTOP)
    yield "SIGSTOP"
    os.kill(pid, signal.SIGCONT)


@fault
async def kill_PostgreSQL(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    await asyncio.to_thread(environment.kill_postgres)
    yield "kill -9"
    await asyncio.to_thread(environment.start_postgres)


@fault
async def freeze_PostgreSQL(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    pids = environment.signal_postgres(signal.SIGSTOP)
    yield "SIGSTOP"
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)


@fault
async def cut_clients(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
    cut = rng.sample(clients, len(clients) // 2)
    for client in cut:
        client.cut()
    yield f"{len(cut)} sockets reset"


@dataclass(frozen=True)
class NetworkPath:
    """A path of connections, with one proxy per instance, or per third of the clients."""

    name: str
    proxies: Callable[[Environment], list[TcpProxy]]
    of: str  # what one proxy serves
    delay_seconds: float


NETWORK_PATHS = [
    NetworkPath("Redis", lambda environment: environment.redis_proxies, "instance", 0.2),
    NetworkPath("PostgreSQL", lambda environment: environment.database_proxies, "instance", 0.1),
    NetworkPath("clients", lambda environment: environment.client_proxies, "third", 0.3),
]


def network_fault(path: NetworkPath, act: Callable[[TcpProxy], None], label: str) -> Fault:
    """Return a fault that calls `act` on one of the path's proxies, or on all."""

    @asynccontextmanager
    async def inject(environment: Environment, clients: list[Client], rng: random.Random) -> AsyncIterator[str]:
        proxies = path.proxies(environment)
        number = rng.randrange(len(proxies) + 1)
        chosen, name = (
            (proxies, f"each {path.of}") if number == len(proxies) else ([proxies[number]], f"{path.of} {number + 1}")
        )
        for proxy in chosen:
            act(proxy)
        yield f"{label} {name}"
        for proxy in chosen:
            proxy.restore()

    return inject


for path in NETWORK_PATHS:
    FAULTS[f"lose {path.name}"] = network_fault(path, TcpProxy.freeze, "black hole for")
    delay = partial(TcpProxy.delay, seconds=path.delay_seconds)
    FAULTS[f"delay {path.name}"] = network_fault(path, delay, f"{path.delay_seconds} s later for")
    if path.name != "clients":  # some clients are cut off by another fault
        FAULTS[f"cut {path.name}"] = network_fault(path, TcpProxy.cut, "resets for")
