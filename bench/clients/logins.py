"""Measures how long a request without work takes while other people log in and upload pictures.

An order is `{"port": …, "seconds": …, "logins": [body, …], "uploads": [file with a whole request, …]}`. Each login and
each upload is repeated until the time is over; a refused login is repeated after the server's Retry-After. The answer
has the delays of GET /health in milliseconds, and the statuses of the other requests.
"""

import asyncio
import time
from collections import Counter
from pathlib import Path
from typing import Any

from bench.clients.orders import run
from bench.clients.posts import Connection, get, post

PAUSE_SECONDS = 0.005  # between two probes
RETRY_AFTER_SECONDS = 2  # what the server asks of a client whose login it refuses because too many wait


async def repeat(port: int, request: bytes, until: float, statuses: Counter[str], kind: str) -> None:
    connection = await Connection.open(port)
    while time.monotonic() < until:
        status = await connection.request(request)
        statuses[f"{kind} {status}"] += 1
        if status == 503:
            await asyncio.sleep(min(RETRY_AFTER_SECONDS, max(0.0, until - time.monotonic())))
    connection.transport.close()


async def probe(port: int, until: float) -> list[float]:
    connection, delays = await Connection.open(port), []
    while time.monotonic() < until:
        began = time.perf_counter()
        await connection.request(get("/health"))
        delays.append((time.perf_counter() - began) * 1e3)
        await asyncio.sleep(PAUSE_SECONDS)
    connection.transport.close()
    return delays


async def act(order: dict[str, Any]) -> dict[str, Any]:
    port, until = order["port"], time.monotonic() + order["seconds"]
    requests = [("login", post("/api/v1/auth/login", body.encode())) for body in order["logins"]]
    requests += [("upload", Path(file).read_bytes()) for file in order["uploads"]]
    statuses: Counter[str] = Counter()
    tasks = [asyncio.create_task(repeat(port, request, until, statuses, kind)) for kind, request in requests]
    delays = await probe(port, until)
    await asyncio.gather(*tasks)
    return {"delays": delays, "statuses": statuses}


if __name__ == "__main__":
    run(act)
